import pytest
import torch
from test_protocols import make_run

from open_clip_mmrl import TrainConfig
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.baselines import probe_results
from open_clip_mmrl.building import build_for_training
from open_clip_mmrl.data import load_data
from open_clip_mmrl.probe import frozen_features, train_probe
from open_clip_mmrl.runs import Runtime
from open_clip_mmrl.testing import score_run

QUIET = Runtime(device="cpu", quiet=True)


@pytest.fixture(scope="module")
def built():
    return build_for_training(MODEL_NAME, TAG, device=torch.device("cpu"), seed=1)


def test_the_probe_sees_the_runs_images_and_its_zero_shot_is_the_pass_of_the_others(built):
    data = load_data("digits")
    run = make_run(method="linear_probe", shots=4, train=TrainConfig())
    subset = data.few_shot(4, 1).select("base")
    found = probe_results(built, data, subset, run, QUIET)
    assert (
        found["zero_shot"] == score_run(built, data, run.like(method="zeroshot"), QUIET)["metrics"]
    )
    probe = train_probe(built.model, subset, shots=4, seed=1, quiet=True)
    base = data.select("base")
    scores = probe.scores(frozen_features(built.model, base.val, quiet=True))
    labels = torch.tensor([example.label for example in base.val])
    right = 100 * (scores.argmax(1) == labels).double().mean().item()
    assert found["metrics"] == {"base": pytest.approx(right, abs=1e-3), "novel": None, "hm": None}
    assert found["regularisation"]["chosen_on"] == "validation"
    assert found["per_class"]["base"].keys() == set(base.class_names)


def test_no_images_to_test_on(built):
    data = load_data("digits")
    empty = data.__class__(
        spec="some", class_names=data.class_names, template="{}", train=data.train, val=(), test=()
    )
    run = make_run(method="linear_probe", classes="all", shots=2, train=TrainConfig())
    with pytest.raises(ValueError, match="some has no val images to score"):
        probe_results(built, empty, empty.few_shot(2, 1), run, QUIET)
