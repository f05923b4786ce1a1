import json

import pytest
from helpers.runs import go, write_folder

from open_clip_mmrl.config import METHODS, PEERS, USUAL_METHODS
from open_clip_mmrl.experiments.experiment import Experiment
from open_clip_mmrl.experiments.protocols import plan
from open_clip_mmrl.experiments.results import RunResult
from open_clip_mmrl.experiments.run_spec import TrainConfig
from open_clip_mmrl.peers import tip_adapter


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    names = ("one", "two", "three", "four")
    spec = write_folder(tmp_path_factory.mktemp("images"), dict.fromkeys(names, 2))
    return {"data": spec, "test_split": "test", "train": TrainConfig(epochs=1, batch_size=4)}


@pytest.fixture(scope="module")
def frozen(tmp_path_factory, given):
    return go(tmp_path_factory.mktemp("zeroshot"), method="zeroshot", **given)


@pytest.mark.parametrize("method", PEERS[1:])
def test_a_peer_has_the_scores_of_the_others_and_no_adapter(
    tmp_path, given, frozen, method, monkeypatch
):
    monkeypatch.setattr(tip_adapter, "VIEWS", 1)
    found = go(tmp_path / method, method=method, **given)
    assert found.zero_shot == frozen.metrics
    assert (
        found.generalized.keys() == found.generalized_zero_shot.keys() == {"seen", "unseen", "hm"}
    )
    assert found.calibration.keys() == {"base", "novel"} and found.unknown.keys() == {
        "auroc",
        "fpr95",
    }
    assert found.train_seconds > 0 and found.trainable_parameters is not None
    assert not found.alpha_curve and not found.config
    files = {path.name for path in (tmp_path / method).iterdir()}
    assert files == {"results.json", "run.json", ".lock"}
    assert RunResult.read(tmp_path / method / "results.json") == found
    if method.startswith("tip"):
        assert found.metrics["novel"] == frozen.metrics["novel"]


def test_peers_run_where_they_are_named_with_their_own_settings():
    usual = Experiment(protocol="few-shot", model="ViT-B-16", pretrained="openai", seeds=(1,))
    assert {planned.run.method for planned in plan(usual)} == set(USUAL_METHODS)
    assert set(METHODS) == {*USUAL_METHODS, *PEERS}
    overrides = {"precision": "bf16", "epochs": 3, "lr": 7.0, "alpha": 0.5}
    named = Experiment(
        protocol="few-shot", model="ViT-B-16", pretrained="openai", datasets=["digits"],
        methods=PEERS, shots=[16], seeds=(2,), settings="demo", overrides=overrides,
    )  # fmt: skip
    for planned in plan(named):
        train = planned.run.train
        assert (train.precision, train.epochs, train.seed, train.flip) == ("bf16", 3, 2, False)
        assert train.lr < 7 and not planned.run.settings
        assert json.dumps(planned.run.to_dict())
