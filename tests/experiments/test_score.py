"""One pass, and what is read off it, against passes of their own."""

import pytest
import torch
from helpers.runs import make_run

from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.data import load_data
from open_clip_mmrl.data.loading.images import ImageSet, eval_transform, in_order, loader
from open_clip_mmrl.evaluation.predict import build_classifier, predict
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.experiments.score import score_run, score_split, score_target
from open_clip_mmrl.hub.load import build_for_training

QUIET = Runtime(device="cpu", quiet=True)


@pytest.fixture(scope="module")
def loaded():
    loaded = build_for_training(
        MODEL_NAME,
        TAG,
        settings={"start_layer": 5, "rep_dim": 8},
        device=torch.device("cpu"),
        seed=1,
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in loaded.model.learner.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return loaded


@pytest.fixture(scope="module")
def digits():
    data = load_data("digits")
    return data.__class__(
        spec="digits",
        class_names=data.class_names,
        template=data.template,
        train=data.train,
        val=data.val,
        test=data.test[:120],
    )


def direct(loaded, data, features, fusion="logits"):
    """Accuracy by `predict` on this data set alone."""
    tokens = loaded.class_tokens(data.class_names, data.template)
    images = ImageSet(data.test, eval_transform(loaded.model))
    return predict(
        loaded.model,
        build_classifier(loaded.model, tokens),
        loader(images, in_order(len(images))),
        features=features,
        fusion=fusion,
    ).accuracy


@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_base_and_novel_scores_equal_passes_of_their_own(loaded, digits, fusion):
    found = score_run(loaded, digits, make_run(test_split="test", fusion=fusion), QUIET)
    base, novel = digits.select("base"), digits.select("novel")
    assert found.metrics["base"] == pytest.approx(direct(loaded, base, "fused", fusion), abs=1e-4)
    assert found.metrics["novel"] == pytest.approx(direct(loaded, novel, "class"), abs=1e-4)
    assert found.zero_shot["novel"] == pytest.approx(direct(loaded, novel, "frozen"), abs=1e-4)
    assert [point.alpha for point in found.alpha_curve] == [a / 10 for a in range(11)]
    at_one, at_own = found.alpha_curve[-1].scores, found.alpha_curve[7].scores
    assert at_one["base"] == pytest.approx(direct(loaded, base, "class"), abs=1e-4)
    assert at_own["novel"] == pytest.approx(direct(loaded, novel, "fused", fusion), abs=1e-4)
    assert found.per_class["base"].keys() == set(digits.class_names[:5])
    assert 0 < found.calibration["base"] < 100
    assert found.generalized["seen"] <= found.metrics["base"]  # more classes to confuse
    assert found.eval_images_per_second > 0


def test_all_classes(loaded, digits):
    found = score_run(loaded, digits, make_run(classes="all", test_split="test"), QUIET)
    assert found.metrics["accuracy"] == pytest.approx(direct(loaded, digits, "fused"), abs=1e-4)
    mean = sum(found.per_class["all"].values()) / 10
    assert mean == pytest.approx(found.metrics["accuracy"], abs=8)
    assert not found.generalized


def test_the_decoupling_is_ablated_in_testing_alone(loaded, digits):
    def run(value):
        point = {"sweep": "variant", "value": value}
        ablated = make_run(protocol="ablation", ablation=point, test_split="test")
        return score_run(loaded, digits, ablated, QUIET).metrics

    full, ds1, ds2 = run("full"), run("w/o DS1"), run("w/o DS2")
    assert ds1["novel"] == full["novel"] and ds2["base"] == full["base"]
    base, novel = digits.select("base"), digits.select("novel")
    assert ds1["base"] == pytest.approx(direct(loaded, base, "class"), abs=1e-4)
    assert ds2["novel"] == pytest.approx(direct(loaded, novel, "fused"), abs=1e-4)


def test_the_zero_shot_method_reports_the_frozen_model(loaded, digits):
    found = score_run(loaded, digits, make_run(method="zeroshot", test_split="test"), QUIET)
    assert found.metrics == found.zero_shot
    assert found.generalized == found.generalized_zero_shot
    base = digits.select("base")
    assert found.metrics["base"] == pytest.approx(direct(loaded, base, "frozen"), abs=1e-4)
    assert found.calibration == found.calibration_zero_shot and not found.alpha_curve


def test_a_target_is_scored_by_the_class_feature(loaded, digits):
    by_class, frozen = score_target(loaded, digits, make_run(test_split="test"), QUIET)
    assert by_class == pytest.approx(direct(loaded, digits, "class"), abs=1e-4)
    assert frozen == pytest.approx(direct(loaded, digits, "frozen"), abs=1e-4)


def test_a_split_of_the_classes_has_labels_from_zero(loaded, digits):
    logits, _ = score_split(loaded, digits, "test", "fp32", QUIET)
    novel = logits.split(range(5, 10))
    assert novel.names == digits.class_names[5:]
    assert novel.by_class.shape == (len(novel.labels), 5) and novel.labels.min() == 0


def test_no_images_to_score(loaded, digits):
    empty = digits.__class__(
        spec="digits", class_names=("a", "b"), template="{}", train=(), val=(), test=()
    )
    with pytest.raises(ValueError, match="digits has no val images to score"):
        score_split(loaded, empty, "val", "fp32", QUIET)
