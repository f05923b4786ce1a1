import json
from pathlib import Path

import pytest

import open_clip_mmrl
from open_clip_mmrl import MMRLConfig
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments import recipes
from open_clip_mmrl.experiments.recipes import SWEEPS, ablated, recipe, target_beta


def test_paper_settings_are_the_maxima_of_the_published_table():
    """Each lambda of MMRL is the column's best in Table 8."""
    file = Path(open_clip_mmrl.__file__).parent / "report" / "load" / "published.json"
    numbers = json.loads(file.read_text())["tables"]["reg_weight"]["numbers"]
    for name in recipes._PAPER:
        best = max(numbers, key=lambda value: numbers[value][name][0])
        assert recipe("mmrl", "base-to-novel", name, "paper").method["reg_weight"] == float(best)


def test_paper_settings_of_a_few_data_sets():
    assert recipe("mmrl", "base-to-novel", "eurosat", "paper").method == {
        "reg_weight": 0.01,
        "rep_dim": 2048,
    }
    assert recipe("mmrl++", "base-to-novel", "dtd", "paper").method == {
        "reg_weight": 7,
        "beta": 0.9,
    }
    assert target_beta("imagenet_sketch", "paper") == 0.7
    assert target_beta("stanford_cars", "paper") == 0.3
    assert target_beta("stanford_cars", "fixed") is None
    assert target_beta("digits", "paper") is None


@pytest.mark.parametrize(
    ("variant", "protocol", "dataset", "lr", "batch", "epochs"),
    [
        ("mmrl", "base-to-novel", "dtd", 1e-3, 4, 10),
        ("mmrl", "ablation", "dtd", 1e-3, 4, 10),
        ("mmrl++", "base-to-novel", "imagenet", 1e-3, 32, 5),
        ("mmrl", "few-shot", "dtd", 1e-3, 32, 50),
        ("mmrl++", "few-shot", "dtd", 2e-3, 32, 100),
        ("mmrl++", "few-shot", "imagenet", 1e-3, 32, 5),
        ("mmrl", "cross-dataset", "imagenet", 1e-3, 32, 1),
    ],
)
def test_training_of_every_protocol(variant, protocol, dataset, lr, batch, epochs):
    train = recipe(variant, protocol, dataset, "paper").train
    assert (train.lr, train.batch_size, train.epochs) == (lr, batch, epochs)


def test_one_setting_for_all_and_for_transfer():
    assert recipe("mmrl", "few-shot", "dtd", "fixed").method == {}
    assert recipe("mmrl", "cross-dataset", "imagenet").method == {"reg_weight": 0.2}
    assert recipe("mmrl++", "domain-generalization", "imagenet", "paper").method == {
        "reg_weight": 0.1,
        "beta": 0.9,
    }
    assert recipe("mmrl", "base-to-novel", "dtd", "demo") == recipes.demo("mmrl")
    of_plus = recipes.demo("mmrl++")
    assert of_plus.method == {**recipes.demo("mmrl").method, "beta": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coop", "few-shot"), "method is 'coop'"),
        (("mmrl", "fewshot"), "protocol is 'fewshot'; it has to be one of"),
        (("mmrl", "few-shot", "dtd", "best"), "settings is 'best'; it has to be one of"),
        (
            ("mmrl", "few-shot", "digits", "paper"),
            "no paper settings for 'digits'",
        ),
    ],
)
def test_unknown_words_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        recipe(*arguments)


def test_every_point_of_every_sweep_is_a_config():
    for sweep, values in SWEEPS.items():
        for value in values:
            MMRLConfig.from_dict(ablated(sweep, value))
    assert ablated("variant", "w/o DS1") == {}


@pytest.mark.parametrize(
    ("sweep", "value", "message"),
    [
        ("gamma", 1, "sweep is 'gamma'; it has to be one of variant, rep_dim"),
        ("variant", "w/o X", "variant is 'w/o X'; it has to be one of full, w/o L"),
        ("alpha", "high", "alpha is 'high'"),
    ],
)
def test_points_that_do_not_exist(sweep, value, message):
    with pytest.raises(UsageError, match=message):
        ablated(sweep, value)


def test_changed_names_unknown_fields():
    with pytest.raises(UsageError, match=r"no field 'epoch'.*epochs"):
        recipes.changed(recipes.demo("mmrl").train, epoch=3)
