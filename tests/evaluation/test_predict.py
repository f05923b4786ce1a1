"""Scores against hand computations, and the choice of features."""

import math
from unittest.mock import patch

import pytest
import torch
from helpers.tiny import tiny_clip, tiny_images, tiny_mmrl, tiny_prompts

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.evaluation.logits import Logits, Scoring
from open_clip_mmrl.evaluation.metrics import harmonic_mean
from open_clip_mmrl.evaluation.predict import (
    Predictions,
    build_classifier,
    class_scores,
    predict,
    predict_all,
)
from open_clip_mmrl.models.image_towers.open_clip_vit import ClassTokenTower

IMAGES, TOKENS = tiny_images(5), tiny_prompts([4, 7, 12, 5])
LABELS = torch.tensor([0, 1, 2, 3, 0])


def close(ours, theirs, tolerance=1e-12):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.fixture(params=[("mmrl", None), ("mmrl++", -2.0)], ids=["mmrl", "mmrl++ and a bias"])
def model(request):
    variant, bias = request.param
    model = tiny_mmrl(tiny_clip(init_logit_bias=bias), variant=variant, alpha=0.6)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(8.0))
    return model


def by_hand(model, kind):
    """Logits from encode_image and encode_text."""
    text = model.encode_text(TOKENS, normalize=True, features=kind)
    image = model.encode_image(IMAGES, normalize=True, features=kind)
    bias = 0.0 if model.logit_bias is None else model.logit_bias
    return 8.0 * image @ text.T + bias


def counted(stage):
    """Count the calls of one stage of the image tower, which does its work all the same."""
    original = getattr(ClassTokenTower, stage)
    return patch.object(ClassTokenTower, stage, autospec=True, side_effect=original)


def test_classifier_holds_unit_text_features(model):
    classifier = build_classifier(model, TOKENS)
    close(classifier.text, model.encode_text(TOKENS, normalize=True))
    close(classifier.frozen, model.encode_text(TOKENS, normalize=True, features="frozen"))
    assert not classifier.text.requires_grad


@pytest.mark.parametrize("kind", ["class", "frozen"])
@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_scores_of_one_feature(model, kind, fusion):
    """There is nothing to mix, so the fusion makes no difference."""
    scores = class_scores(model, build_classifier(model, TOKENS), IMAGES, kind, fusion)
    close(scores, by_hand(model, kind))


def test_class_logits_are_the_default(model):
    classifier = build_classifier(model, TOKENS)
    close(class_scores(model, classifier, IMAGES), by_hand(model, "class"))


def test_fused_logits(model):
    scores = class_scores(model, build_classifier(model, TOKENS), IMAGES, "fused")
    close(scores, 0.6 * by_hand(model, "class") + 0.4 * by_hand(model, "representation"))


def test_fused_probabilities(model):
    classifier = build_classifier(model, TOKENS)
    scores = class_scores(model, classifier, IMAGES, "fused", "probabilities")
    mixed = 0.6 * by_hand(model, "class").softmax(-1)
    mixed = mixed + 0.4 * by_hand(model, "representation").softmax(-1)
    close(scores.exp(), mixed)
    close(scores.exp().sum(-1), torch.ones(5, dtype=torch.float64))
    logits = class_scores(model, classifier, IMAGES, "fused", "logits")
    assert not torch.allclose(scores.exp(), logits.softmax(-1), atol=1e-4)


def test_predict_all_gives_the_logits_of_every_feature(model):
    found = predict_all(model, build_classifier(model, TOKENS), [(IMAGES, LABELS)])
    close(found.by_class, by_hand(model, "class"))
    close(found.by_rep, by_hand(model, "representation"))
    close(found.frozen, by_hand(model, "frozen"))


def test_predict_all_takes_one_pass(model):
    """The shared rows go through each layer once, and so does either branch."""
    classifier = build_classifier(model, TOKENS)
    with (
        counted("lower") as lower,
        counted("with_tokens") as adapted,
        counted("without_tokens") as frozen,
    ):
        predict_all(model, classifier, [(IMAGES, LABELS)])
    assert (lower.call_count, adapted.call_count, frozen.call_count) == (1, 1, 1)


@pytest.mark.parametrize(("features", "calls"), [("class", (1, 0)), ("frozen", (0, 1))])
def test_one_feature_takes_one_branch(model, features, calls):
    classifier = build_classifier(model, TOKENS)
    with counted("with_tokens") as adapted, counted("without_tokens") as frozen:
        class_scores(model, classifier, IMAGES, features)
    assert (adapted.call_count, frozen.call_count) == calls


@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_without_image_tokens_fused_is_class(fusion):
    model = tiny_mmrl(token_sides="text")
    classifier = build_classifier(model, TOKENS)
    by_class = class_scores(model, classifier, IMAGES, "class")
    assert torch.equal(class_scores(model, classifier, IMAGES, "fused", fusion), by_class)
    whole = predict_all(model, classifier, [(IMAGES[:3], LABELS[:3]), (IMAGES[3:], LABELS[3:])])
    fused = whole.scores(Scoring("fused", 0.2, fusion))
    assert whole.by_rep is None and torch.equal(fused, whole.by_class)
    close(whole.by_class, by_class)
    assert not torch.allclose(whole.frozen, by_class, atol=1e-3)


def test_without_text_tokens_the_classifier_is_frozen_clip_s():
    classifier = build_classifier(tiny_mmrl(token_sides="image"), TOKENS)
    assert torch.equal(classifier.text, classifier.frozen)
    close(classifier.text, tiny_clip().encode_text(TOKENS, normalize=True).detach())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"features": "both"}, r"features is 'both'.*'class', 'fused', 'frozen'"),
        ({"features": "representation"}, r"features is 'representation'"),
        ({"fusion": "sum"}, r"fusion is 'sum'.*'logits', 'probabilities'"),
    ],
)
def test_unknown_kinds_of_scores(model, given, words):
    with pytest.raises(UsageError, match=words):
        class_scores(model, build_classifier(model, TOKENS), IMAGES, **given)


@pytest.mark.parametrize("features", ["class", "fused", "frozen"])
def test_predict_is_the_same_in_any_batches(model, features):
    classifier = build_classifier(model, TOKENS)
    whole = predict(model, classifier, [(IMAGES, LABELS)], features=features)
    parts = [
        (IMAGES[:2], LABELS[:2]),
        (IMAGES[2:4], LABELS[2:4].tolist()),
        (IMAGES[4:], LABELS[4:]),
    ]
    found = predict(model, classifier, iter(parts), features=features)
    close(found.scores, whole.scores)
    close(whole.scores, class_scores(model, classifier, IMAGES, features))
    assert torch.equal(found.labels, LABELS) and torch.equal(whole.labels, LABELS)
    assert found.images_per_second > 0
    assert not found.scores.requires_grad
    right = (whole.scores.argmax(1) == LABELS).sum().item()
    assert found.accuracy == pytest.approx(100 * right / 5)


def test_predict_passes_the_fusion_on(model):
    classifier = build_classifier(model, TOKENS)
    found = predict(model, classifier, [(IMAGES, LABELS)], features="fused", fusion="probabilities")
    close(found.scores.exp().sum(-1), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_one_pass_holds_what_every_other_pass_would_give(model, fusion):
    classifier = build_classifier(model, TOKENS)
    parts = [(IMAGES[:2], LABELS[:2].tolist()), (IMAGES[2:], LABELS[2:])]
    whole = predict_all(model, classifier, iter(parts))
    assert torch.equal(whole.labels, LABELS)
    for scores, features in ((whole.by_class, "class"), (whole.frozen, "frozen")):
        close(scores, predict(model, classifier, parts, features=features).scores)
        assert not scores.requires_grad
    fused = predict(model, classifier, parts, features="fused", fusion=fusion).scores
    close(whole.scores(Scoring("fused", 0.6, fusion)), fused)
    close(whole.scores(Scoring("fused", 0.0)), whole.by_rep)
    close(whole.scores(Scoring("fused", 1.0)), whole.by_class)


@pytest.mark.parametrize("run", [predict, predict_all])
def test_progress_is_reported(model, run):
    class Counter:
        calls = ()

        def advance(self, steps, **values):
            self.calls += ((steps, values["images"]),)

    counter = Counter()
    batches = [(IMAGES[:2], LABELS[:2]), (IMAGES[2:], LABELS[2:])]
    run(model, build_classifier(model, TOKENS), batches, progress=counter)
    assert counter.calls == ((1, 2), (1, 3))


@pytest.mark.parametrize("precision", ["amp_bf16", "amp_fp16", "bf16", "fp16"])
def test_predict_in_half_precision(precision):
    model = tiny_mmrl(tiny_clip().float()).float()
    batches = [(IMAGES.float(), LABELS)]
    exact = predict(model, build_classifier(model, TOKENS), batches, features="fused")
    classifier = build_classifier(model, TOKENS, precision=precision)
    assert classifier.text.dtype == classifier.frozen.dtype == torch.float32
    found = predict(model, classifier, batches, features="fused", precision=precision)
    assert found.scores.dtype == torch.float32
    assert not torch.equal(found.scores, exact.scores)
    close(found.scores, exact.scores, 0.03 * model.logit_scale.exp().item())
    whole = predict_all(model, classifier, batches, precision=precision)
    assert torch.equal(whole.scores(Scoring("fused", model.config.alpha)), found.scores)
    assert whole.frozen.dtype == torch.float32
    assert model.visual.conv1.weight.dtype == torch.float32


@pytest.mark.parametrize("precision", ["amp_bf16", "bf16"])
@pytest.mark.parametrize("score", [predict, predict_all])
def test_weights_are_converted_once_and_the_model_is_not_touched(monkeypatch, precision, score):
    model = tiny_mmrl(tiny_clip().float()).float()
    classifier, seen = build_classifier(model, TOKENS, precision), []
    lower = ClassTokenTower.lower

    def spied(tower, images):
        weight = tower.visual.conv1.weight
        seen.append((weight.dtype, weight.data_ptr()))
        assert model.visual.conv1.weight.dtype == torch.float32
        return lower(tower, images)

    monkeypatch.setattr(ClassTokenTower, "lower", spied)
    score(model, classifier, [(IMAGES.float(), LABELS)] * 2, precision=precision)
    assert seen[0] == seen[1] and seen[0][0] == torch.bfloat16


def test_too_little_gpu_memory_says_what_helps(monkeypatch):
    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 ...")

    model = tiny_mmrl()
    classifier = build_classifier(model, TOKENS)
    monkeypatch.setattr(type(model.image_tower), "lower", full)
    monkeypatch.setattr(type(model.text_tower), "lower", full)
    message = (
        "out of GPU memory in scoring against 4 classes in precision fp32 .*precision amp_bf16"
    )
    for score in (predict, predict_all):
        with pytest.raises(ValueError, match=message):
            score(model, classifier, [(IMAGES, LABELS)])
    with pytest.raises(ValueError, match=message):
        build_classifier(model, TOKENS)


@pytest.mark.parametrize("run", [predict, predict_all])
def test_nothing_to_score(model, run):
    with pytest.raises(ValueError, match="no images to score"):
        run(model, build_classifier(model, TOKENS), [])


def test_a_split_holds_its_own_images_and_classes_alone():
    logits = Logits(torch.arange(12.0).view(3, 4), None, torch.zeros(3, 4), LABELS[1:4], "abcd")
    novel = logits.split([2, 3])
    assert torch.equal(novel.by_class, torch.tensor([[6.0, 7.0], [10.0, 11.0]]))
    assert novel.labels.tolist() == [0, 1] and novel.names == "cd" and novel.by_rep is None


def test_accuracy_is_percent():
    scores = torch.tensor([[1.0, 2.0], [2.0, 1.0], [0.0, 1.0]])
    assert Predictions(scores, torch.tensor([1, 1, 1]), 1.0).accuracy == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("base", "novel", "expected"),
    [
        (80.0, 60.0, 68.5714285714),
        (50.0, 50.0, 50.0),
        (85.68, 77.16, 81.19711),  # the paper's averages, 81.20
        (0.0, 70.0, 0.0),
        (70.0, 0.0, 0.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_harmonic_mean(base, novel, expected):
    assert harmonic_mean(base, novel) == pytest.approx(expected, abs=1e-4)


# Classes with one prompt.

ALIKE = TOKENS[[0, 1, 0, 2, 3, 1, 0]]
FIRST = [0, 1, 0, 3, 4, 1, 0]


@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
@pytest.mark.parametrize("kind", ["class", "fused", "frozen"])
def test_classes_that_read_alike_get_one_score_so_the_first_is_best(model, kind, fusion):
    classifier = build_classifier(model, ALIKE)
    given = {"features": kind, "fusion": fusion}
    found = predict(model, classifier, [(IMAGES, LABELS)], **given).scores
    assert torch.equal(found, found[:, FIRST])
    assert set(found.argmax(dim=1).tolist()) <= set(FIRST)
    logits = predict_all(model, classifier, [(IMAGES[:2], LABELS[:2]), (IMAGES[2:], LABELS[2:])])
    again = logits.scores(Scoring(kind, model.config.alpha, fusion))
    assert torch.equal(again, again[:, FIRST])
    assert torch.equal(again.argmax(dim=1), found.argmax(dim=1))


def test_classes_that_read_alike_are_named(model, caplog):
    build_classifier(model, ALIKE, class_names=["a", "b", "A", "c", "d", "B", "aa"])
    assert "'a' and 'A'" in caplog.text and len(caplog.messages) == 1
    caplog.clear()
    classifier = build_classifier(model, TOKENS, class_names=["a", "b", "c", "d"])
    assert not caplog.messages and classifier.first is None


def test_scores_that_are_not_numbers_are_refused(model):
    """As those of an adapter whose training diverged."""
    classifier, batches = build_classifier(model, TOKENS), [(IMAGES, LABELS)]
    with torch.no_grad():
        next(model.learner.parameters()).fill_(1e300)
    for score in (predict, predict_all):
        with pytest.raises(ValueError, match=r"of 5 of 5 images .*diverged.*lower learning rate"):
            score(model, classifier, batches)
