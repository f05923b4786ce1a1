import random
import shutil

import numpy as np
import pytest
from PIL import Image

from open_clip_mmrl.data import FolderOptions, Trained, load_data
from open_clip_mmrl.data.test_split import DrawnSplit


@pytest.fixture
def flat(tmp_path):
    root = tmp_path / "flat"
    for name in ("cat", "dog"):
        for number in range(10):
            write(root / name / f"{number}.png")
    return root


def write(path):
    """Write an image of noise, different for every path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = [*f"{path.parent.name}/{path.name}".encode()]
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def paths(examples, root):
    return {example.image.relative_to(root).as_posix() for example in examples}


def read(root, **options):
    return load_data(f"folder:{root}", folder=FolderOptions(**options))


def test_a_fifth_of_every_class_is_tested_by_hashes_of_paths(flat, tmp_path):
    data = read(flat)
    test = paths(data.test, flat)
    assert len(data.train) == 16 and len(data.test) == 4 and data.val == ()
    assert not test & paths(data.train, flat)
    assert data.drawn.test == tuple(sorted(test))
    moved = shutil.move(flat, tmp_path / "elsewhere")
    assert paths(read(moved).test, moved) == test
    write(moved / "cat" / "new.png")
    assert len(paths(read(moved).test, moved) ^ test) <= 2


def test_the_fraction_is_rounded_and_leaves_one_image_on_each_side(flat):
    assert len(read(flat, test_fraction=0.01).test) == 2
    assert len(read(flat, test_fraction=0.99).train) == 2
    with pytest.raises(ValueError, match=r"test_fraction is 1\.5.*as in 0\.2"):
        read(flat, test_fraction=1.5)
    shutil.copytree(flat, flat / "train")
    shutil.move(flat / "cat", flat / "test" / "cat")
    shutil.move(flat / "dog", flat / "test" / "dog")
    with pytest.raises(ValueError, match="has a test split of its own, test"):
        read(flat, test_fraction=0.5)


def test_copies_between_given_splits_are_named(flat, caplog):
    divided = flat.parent / "divided"
    shutil.copytree(flat, divided / "train")
    for name in ("cat", "dog"):
        (divided / "test" / name).mkdir(parents=True)
        (divided / "test" / name / "own.png").write_bytes(f"{name}, not in train".encode())
    read(divided)
    assert not caplog.records
    shutil.copy(flat / "cat" / "0.png", divided / "test" / "dog")
    read(divided)
    (message,) = caplog.messages
    assert "1 image is a copy" in message and "test/dog/0.png = train/cat/0.png" in message


def test_copies_stay_on_one_side_and_are_named_once(flat, caplog):
    for number in range(10):
        shutil.copy(flat / "cat" / f"{number}.png", flat / "cat" / f"copy of {number}.png")
    data = read(flat)
    contents = [{e.image.read_bytes() for e in side} for side in (data.train, data.test)]
    assert not contents[0] & contents[1]
    (message,) = caplog.messages
    assert "10 images are copies" in message and "copy of 0.png = cat/0.png" in message


def test_an_image_in_two_classes_is_named_and_never_tested(flat, caplog):
    for number in range(9):
        shutil.copy(flat / "cat" / f"{number}.png", flat / "dog" / f"cat{number}.png")
    assert paths(read(flat).test, flat) & {f"cat/{n}.png" for n in range(10)} == {"cat/9.png"}
    assert "same image is in two classes" in caplog.text and "dog/cat0.png" in caplog.text


def test_all_classes_of_one_image_are_named_with_the_remedy(flat):
    write(flat / "eel" / "0.png")
    write(flat / "fox" / "0.png")
    shutil.copy(flat / "fox" / "0.png", flat / "fox" / "1.png")
    with pytest.raises(ValueError, match=r"two different images.*eel \(1 image\), fox \(2 .*Add"):
        read(flat)


def test_an_adapter_is_scored_on_what_it_was_not_trained_on(flat, caplog):
    drawn = read(flat).drawn
    header = DrawnSplit.from_json(drawn.header())
    assert header.train == () and DrawnSplit.from_json(drawn.to_json()) == drawn
    for split in (drawn, header):
        data = read(flat, trained=Trained(split=split))
        assert data.train == () and paths(data.test, flat) == set(drawn.test)
    write(flat / "cat" / "new.png")
    assert paths(read(flat, trained=Trained(split=drawn)).test, flat) == set(drawn.test)
    assert "not scored: 1 image that came after the training" in caplog.text
    with pytest.raises(ValueError, match=r"changed since.*Put the run's split\.json next to"):
        read(flat, trained=Trained(split=header))


def test_a_test_image_that_became_a_training_image_is_refused(flat):
    drawn = read(flat).drawn
    shutil.copy(flat / drawn.train[0], flat / drawn.test[0])
    with pytest.raises(ValueError, match=f"{drawn.test[0]} was trained on"):
        read(flat, trained=Trained(split=drawn))


def test_all_images_of_another_folder_are_scored(flat, tmp_path):
    drawn, other = read(flat).drawn, tmp_path / "other"
    for name in ("cat", "dog"):
        write(other / name / f"{random.Random(1).random()}.png")
    assert len(read(other, trained=Trained(split=drawn)).test) == 2
    assert len(read(flat, trained=Trained()).test) == 20


@pytest.mark.parametrize("change", [{"samples": [1]}, {"train": [1]}, {"digest": 1}])
def test_damaged_records_are_refused(flat, change):
    with pytest.raises(ValueError, match=f"'{next(iter(change))}'"):
        DrawnSplit.from_json({**read(flat).drawn.to_json(), **change})
