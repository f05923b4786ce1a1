"""Runs of one data set with different settings."""

import json

import pytest
from helpers.made_results import base_to_novel, few_shot, write_runs

from open_clip_mmrl.report.load.collect import collect


def by_hand(name="mine", shots=16, seed=1, lr=0.001, accuracy=80.0, method="mmrl", **changes):
    """Return a result of `train`; None if it lacks what others have."""
    return few_shot(
        method, name, shots, seed,
        settings_source="custom",
        metrics={"accuracy": accuracy},
        zero_shot={"accuracy": 60.0},
        train={"epochs": 10, "lr": lr, "seed": seed, "precision": "fp32"},
        **changes,
    )  # fmt: skip


@pytest.fixture
def compared(tmp_path):
    """The comparisons of results; an "asked" key of a result is its run.json."""

    def build(contents):
        for i, content in enumerate(contents):
            folder = write_runs(tmp_path / f"{i:02}", [content]) / "run0000"
            if "asked" in content:
                (folder / "run.json").write_text(json.dumps(content["asked"]))
        return collect([tmp_path]).compared

    return build


def test_runs_by_hand_are_compared_best_first(compared):
    contents = [by_hand(lr=lr, accuracy=a) for lr, a in ((0.1, 70.0), (0.2, 90.0), (0.3, 80.0))]
    (found,) = compared(contents)
    assert (found.dataset, found.splits, found.differing) == ("mine", ("test",), ["lr"])
    assert [trial.settings["lr"] for trial in found.trials] == [0.2, 0.3, 0.1]
    assert found.trials[0].score("test", "accuracy", frozen=True).mean == 60


def test_seeds_are_averaged_and_nothing_else(compared):
    asked = [{"template": "a {}"}, {"template": "the {}"}]
    contents = [by_hand(seed=1, accuracy=80.0), by_hand(seed=2, accuracy=90.0)]
    contents += [by_hand(seed=seed, asked=asked[seed - 1]) for seed in (1, 2)]
    contents += [by_hand(seed=3, fusion="probabilities")]
    (found,) = compared(contents)
    score = found.trials[0].score("test", "accuracy")
    assert (score.mean, score.seeds) == (85, 2) and score.std > 0
    assert len(found.trials) == 4 and "template" in found.differing


def test_validation_decides_where_there_is_any(compared):
    contents = [
        by_hand(lr=lr, accuracy=a, test_split="val") for lr, a in ((0.1, 70.0), (0.2, 75.0))
    ]
    contents += [by_hand(lr=0.1, accuracy=99.0), by_hand(lr=0.3, accuracy=98.0)]
    (found,) = compared(contents)
    assert found.splits == ("val", "test")
    assert [trial.settings["lr"] for trial in found.trials] == [0.2, 0.1, 0.3]
    both = found.trials[1]
    assert both.score("val", "accuracy").mean == 70 and both.score("test", "accuracy").mean == 99


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"shots": 4}, "shots"),
        ({"method": "mmrl++"}, "method"),
        ({"model": "mmrl-ViT-L-14"}, "model"),
        ({"pretrained": "laion2b"}, "pretrained"),
        ({"fusion": "probabilities"}, "fusion"),
        ({"asked": {"data_root": "/other"}}, "data_root"),
        ({"asked": {"data": "folder:/other/mine"}}, "data"),
        ({"asked": {"test_fraction": 0.3}}, "test_fraction"),
        ({"asked": {"calibrate": True}}, "calibrate"),
        ({"sizes": {"classes": 5, "test": 100}}, "test images"),
    ],
)
def test_whatever_differs_makes_another_trial(compared, changes, name):
    (found,) = compared([by_hand(), by_hand(**changes)])
    assert len(found.trials) == 2 and name in found.differing


def test_data_sets_and_protocols_are_compared_apart(compared):
    contents = [by_hand(name, lr=lr) for name in ("mine", "yours") for lr in (0.1, 0.2)]
    contents += [base_to_novel("mmrl", "mine", s, settings_source="custom") for s in (1, 2)]
    assert [(c.dataset, len(c.trials)) for c in compared(contents)] == [("mine", 2), ("yours", 2)]


def test_a_protocol_is_no_comparison(compared):
    contents = [few_shot(m, "dtd", k, 1) for m in ("mmrl", "mmrl++") for k in (1, 2)]
    assert compared(contents) == ()


def test_of_one_protocol_only_runs_with_one_choice_of_settings_are_averaged(compared, tmp_path):
    """A curve over shots joins no runs that differ in more."""
    contents = [by_hand(shots=k, lr=lr) for k, lr in ((2, 0.1), (4, 0.1), (8, 0.2))]
    compared(contents)
    assert [run.point for run in collect([tmp_path]).runs] == ["2", "4"]
