"""Fields of `config` and `train` as parameters of their own."""

import numpy as np
import pytest
from sklearn.base import clone

from open_clip_mmrl import FewShotClassifier, MMRLConfig, TrainConfig


def test_fields_are_set_and_read_as_parameters():
    given = {"reg_weight": 0.5, "rep_dim": 8}
    model = FewShotClassifier(config=given)
    assert model.get_params()["config__rep_dim"] == 8
    assert model.get_params()["train__epochs"] is None  # the recipe's
    model.set_params(config__reg_weight=3.0, train__epochs=5)
    assert model.config == {"reg_weight": 3.0, "rep_dim": 8} and model.train == {"epochs": 5}
    assert given == {"reg_weight": 0.5, "rep_dim": 8}
    copy = clone(model)
    assert copy.config == model.config and copy.get_params()["config__reg_weight"] == 3.0
    assert set(copy.get_params(deep=False)) < set(copy.get_params())


def test_whole_configs_stay_whole():
    model = FewShotClassifier(config=MMRLConfig(rep_dim=8), train=TrainConfig(epochs=3))
    model.set_params(config__reg_weight=3.0, train__lr=0.1)
    assert model.config == MMRLConfig(rep_dim=8, reg_weight=3.0)
    assert model.train == TrainConfig(epochs=3, lr=0.1)


@pytest.mark.parametrize("config", [None, {}, {"rep_dim": 8}, MMRLConfig(rep_dim=8)])
def test_all_parameters_set_again_change_nothing(config):
    model = FewShotClassifier(config=config)
    assert model.set_params(**model.get_params()).config == config


def test_the_older_name_of_config_holds_the_fields():
    model = FewShotClassifier(settings={"rep_dim": 8}).set_params(config__reg_weight=3.0)
    assert model.settings == {"rep_dim": 8, "reg_weight": 3.0} and model.config is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config__reg_wieght", "no field 'reg_wieght'. Did you mean reg_weight"),
        ("train__epoch", "no field 'epoch'. Did you mean epochs"),
        ("trian__epochs", "Invalid parameter 'trian'"),
        ("nothing", "Invalid parameter 'nothing'"),
    ],
)
def test_unknown_parameters_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        FewShotClassifier().set_params(**{name: 1})


@pytest.mark.parametrize("name", ["config", "train"])
def test_what_holds_no_fields_is_refused_by_fit(name, make, few):
    model = make(**{name: 3})
    assert model.get_params()[f"{name}__{'alpha' if name == 'config' else 'lr'}"] is None
    with pytest.raises(ValueError, match=f"is 3; give (a dict of fields|an {name})|is 3"):
        model.fit(few.X[:9], np.arange(9) % 3)
