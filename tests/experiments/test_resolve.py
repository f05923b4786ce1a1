"""A run is checked, as far as its data tell, before anything is computed."""

from collections import Counter
from dataclasses import replace

import pytest
from helpers.runs import make_run

from open_clip_mmrl import TrainConfig
from open_clip_mmrl.data import load_data
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.resolve import _hold_back, data_of, require_tested


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [
        ("base", range(5), "no test images of novel classes"),
        ("base", range(5, 10), "no test images of base classes"),
        ("all", (), "no test images to score"),
    ],
)
def test_a_split_without_images_to_score_is_refused(classes, labels, message):
    digits = load_data("digits")
    data = replace(digits, test=tuple(e for e in digits.test if e.label in labels))
    with pytest.raises(ValueError, match=message):
        require_tested(data, make_run(classes=classes, test_split="test"))


def test_a_folder_without_splits_has_validation_images_where_they_are_scored(tmp_path, write_image):
    for number in range(20):
        folder = tmp_path / ("cat", "dog")[number % 2]
        write_image(folder / f"{number}.png", (10 * number, 0, 0))
    tested, *validated = (
        data_of(make_run(data=f"folder:{tmp_path}", test_split=split, train=TrainConfig(seed=seed)))
        for split, seed in (("test", 1), ("val", 1), ("val", 2))
    )
    files = [[e.image.name for e in (*data.train, *data.val)] for data in (tested, *validated)]
    assert len(tested.train) == 16 and not tested.val
    for data, names in zip(validated, files[1:], strict=True):
        assert len(data.train) == 12 and sorted(names) == sorted(files[0])
        assert [e.image for e in data.test] == [e.image for e in tested.test]
        assert Counter(e.label for e in data.val) == {0: 2, 1: 2}
    assert files[1] == files[2]


def calibrating(**changes):
    return make_run(**{"calibrate": True, "shots": 8, "test_split": "test", **changes})


def hold_back(data, **changes):
    run = calibrating(**changes)
    return _hold_back(data.few_shot(run.shots, run.train.seed).select(run.classes), run)


def names(examples):
    return [id(example.image) for example in examples]


@pytest.mark.parametrize("test_split", ["test", "val"])
def test_images_to_calibrate_with_are_not_trained_on(test_split):
    digits = load_data("digits")
    subset, held_back = hold_back(digits, test_split=test_split)
    assert not set(names(subset.train)) & set(names(held_back.examples))
    if test_split == "test":
        assert held_back.source == "val" and len(subset.train) == 40
        assert set(names(held_back.examples)) <= set(names(digits.val))
    else:
        assert held_back.source == "shots" and len(subset.train) == 30
        assert Counter(e.label for e in held_back.examples) == dict.fromkeys(range(5), 2)


def test_images_are_held_back_by_seed():
    digits = replace(load_data("digits"), val=())
    shots = digits.few_shot(8, seed=1)
    drawn = [_hold_back(shots, calibrating(train=TrainConfig(seed=s)))[1] for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_one_image_is_held_back_of_a_few_and_none_of_one():
    digits = replace(load_data("digits"), val=())
    few = {0: 1, 1: 2, 2: 3}
    train = tuple(
        example
        for label, count in few.items()
        for example in [e for e in digits.train if e.label == label][:count]
    )
    subset, held_back = hold_back(replace(digits, train=train))
    assert Counter(e.label for e in held_back.examples) == {1: 1, 2: 1}
    assert Counter(e.label for e in subset.train) == {0: 1, 1: 1, 2: 2}
    with pytest.raises(UsageError, match="more shots"):
        hold_back(digits, shots=1)


def test_images_to_calibrate_with_are_bounded(monkeypatch):
    monkeypatch.setattr("open_clip_mmrl.experiments.resolve.MAX_HELD_BACK", 20)
    assert len(hold_back(load_data("digits"))[1].examples) == 20
