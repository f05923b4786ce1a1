import shutil
from dataclasses import replace

import pytest
import torch
from helpers.runs import make_run, resolved
from helpers.trees import write_tree

from open_clip_mmrl import TrainConfig
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.data import load_data
from open_clip_mmrl.evaluation.linear_probe import frozen_features, train_probe
from open_clip_mmrl.evaluation.metrics import calibration_error
from open_clip_mmrl.experiments.probe_baseline import fit_probe, score_probe, target_scorer
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.experiments.score import score_run
from open_clip_mmrl.experiments.transfer import score_targets
from open_clip_mmrl.hub.load import build_for_training

QUIET = Runtime(device="cpu", quiet=True)


@pytest.fixture(scope="module")
def loaded():
    return build_for_training(MODEL_NAME, TAG, device=torch.device("cpu"), seed=1)


def test_the_probe_sees_the_runs_images_and_its_zero_shot_is_the_pass_of_the_others(
    loaded, tmp_path
):
    data = load_data("digits")
    run = make_run(method="linear_probe", shots=4, train=TrainConfig())
    subset = data.few_shot(4, 1).select("base")
    job = resolved(run, tmp_path)
    fitted, record = fit_probe(loaded, job)
    found = score_probe(fitted, loaded, job)
    zero_shot = score_run(loaded, data, run.replace(method="zeroshot"), QUIET)
    assert found.zero_shot == zero_shot.metrics
    features = zero_shot.frozen_features  # of another method's pass: no second one is needed
    assert torch.equal(features, frozen_features(loaded.model, data.val, quiet=True))
    shared = score_probe(fitted, loaded, job, features)
    assert shared == replace(found, eval_images_per_second=None)
    probe = train_probe(loaded.model, subset, shots=4, seed=1, quiet=True)
    base = data.select("base")
    scores = probe.scores(frozen_features(loaded.model, base.val, quiet=True))
    labels = torch.tensor([example.label for example in base.val])
    right = 100 * (scores.argmax(1) == labels).double().mean().item()
    assert found.metrics == {"base": pytest.approx(right, abs=1e-3), "novel": None, "hm": None}
    assert record.regularization.chosen_on == "validation"
    assert found.per_class["base"].keys() == set(base.class_names)
    error = calibration_error(scores.softmax(dim=1), labels)
    assert found.calibration == {"base": pytest.approx(error, abs=1e-3), "novel": None}


def test_targets_with_the_same_classes_are_tested_and_others_have_no_accuracy(loaded, tmp_path):
    """ImageNet's relatives have its classes or some of them, in an order of their own."""
    write_tree(tmp_path, "imagenet", classes=5)
    write_tree(tmp_path, "imagenetv2", classes=5)
    write_tree(tmp_path, "imagenet_r", classes=3)
    write_tree(tmp_path, "dtd")
    shutil.rmtree(tmp_path / "imagenet-rendition" / "imagenet-r" / "n01440764")  # now 1, 2 of 5
    data = load_data("coop:imagenet", data_root=tmp_path)
    targets = ("coop:imagenetv2", "coop:imagenet_r", "coop:dtd")
    run = make_run(
        method="linear_probe", data="coop:imagenet", classes="all", protocol="cross-dataset",
        data_root=str(tmp_path), targets=targets, shots=4, test_split="test",
    )  # fmt: skip
    subset = data.few_shot(4, 1)
    job = resolved(run, tmp_path / "run", data=data, subset=subset)
    fitted, _ = fit_probe(loaded, job)
    found = score_targets(loaded, job, target_scorer(fitted, data.class_names))
    assert found["dtd"].accuracy is None and found["dtd"].zero_shot > 0
    probe = train_probe(loaded.model, subset, shots=4, seed=1, quiet=True)
    for name, kept in (("imagenetv2", range(5)), ("imagenet_r", (1, 2))):
        target = load_data(f"coop:{name}", data_root=tmp_path)
        features = frozen_features(loaded.model, target.test, quiet=True)
        labels = torch.tensor([example.label for example in target.test])
        right = probe.scores(features)[:, list(kept)].argmax(1) == labels
        assert found[name].accuracy == pytest.approx(100 * right.double().mean().item(), abs=1e-3)


def test_no_images_to_test_on(loaded, tmp_path):
    data = load_data("digits")
    empty = data.__class__(
        spec="some", class_names=data.class_names, template="{}", train=data.train, val=(), test=()
    )
    run = make_run(method="linear_probe", classes="all", shots=2, train=TrainConfig())
    job = resolved(run, tmp_path, data=empty, subset=empty.few_shot(2, 1))
    fitted, _ = fit_probe(loaded, job)
    with pytest.raises(ValueError, match="some has no val images to score"):
        score_probe(fitted, loaded, job)
