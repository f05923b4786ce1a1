"""Settings by the names a user types."""

import inspect
import json

from helpers.made_results import few_shot

from open_clip_mmrl.cli.train import train
from open_clip_mmrl.experiments.results import RunResult
from open_clip_mmrl.report.load.settings import (
    TRAINED,
    WITHOUT_OPTION,
    asked_settings,
    differing,
    option,
    settings_of,
    value_text,
)


def settings(asked=None, /, **changes):
    return settings_of(RunResult.from_json(few_shot("mmrl", "dtd", 4, 1, **changes)), asked or {})


def test_every_option_of_train_has_its_name():
    options = set(inspect.signature(train).parameters)
    assert not options & set(WITHOUT_OPTION)
    assert TRAINED - options - {"variant"} == set(WITHOUT_OPTION)
    assert option("reg_weight") == "--reg-weight" and option("betas") == "--set betas"


def test_only_what_differs_is_named():
    first = settings(train={"epochs": 10, "lr": 0.001, "seed": 1})
    second = settings(train={"epochs": 10, "lr": 0.002, "seed": 2})
    assert differing([first, second]) == ["lr"]
    assert differing([first, settings({"template": "a {}"}, train=first)]) == ["template"]
    plain, aligned = settings(config={"alpha": 0.7}), settings(config={"norm_weight": 0.1})
    assert "norm_weight" in differing([plain, aligned])  # results leave the terms of 0 out


def test_baselines_have_no_settings_of_training_that_could_differ():
    probe = settings_of(RunResult.from_json(few_shot("linear_probe", "dtd", 4, 1)), {})
    trained = settings(train={"epochs": 10, "precision": "amp_fp16"})
    assert "method" in differing([probe, trained])
    assert not {"epochs", "precision"} & set(differing([probe, trained]))


def test_betas_default_goes_by_the_method():
    first = settings(config={"variant": "mmrl", "beta": 1.0})
    second = settings(config={"variant": "mmrl++", "beta": 0.9})
    assert differing([first, second]) == []
    third = settings(config={"variant": "mmrl++", "beta": 0.5})
    assert differing([second, third]) == ["beta"]


def test_run_json_adds_options_by_one_spelling_of_their_places(tmp_path):
    content = {
        "data": "folder:pictures", "data_root": "../sets", "template": "a {}", "train": {"lr": 1},
        "working_folder": "/home/me", "test_fraction": 0.3, "train_images": "abc",
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(content))
    assert asked_settings(tmp_path) == {
        "data": "folder:/home/me/pictures", "data_root": "/home/sets", "template": "a {}",
        "test_fraction": 0.3,
    }  # fmt: skip
    (tmp_path / "run.json").write_text("[")
    assert asked_settings(tmp_path) == {} == asked_settings(tmp_path / "nowhere")


def test_values_read_as_they_are_typed():
    prompts = {"templates": ["the {}"], "classes": {"cat": ["a cat"]}}
    assert [value_text(v) for v in (0.001, True, None, 16, "all", {"n1": "cat"}, prompts)] == [
        "0.001", "yes", None, "16", "all", "1 names", "1 more templates, 1 classes' own",
    ]  # fmt: skip
