"""Seen and new classes in one list: the mean image, and an offset, against definitions."""

import math

import pytest
import torch
from helpers.tiny import tiny_clip, tiny_images, tiny_mmrl, tiny_prompts

from open_clip_mmrl.evaluation.logits import Logits, Scoring
from open_clip_mmrl.evaluation.mean_image import image_means, mean_logits
from open_clip_mmrl.evaluation.predict import Classifier, build_classifier, predict_all
from open_clip_mmrl.models.ops import unit

IMAGES, TOKENS, ALPHA, SCALE = tiny_images(5), tiny_prompts([4, 7, 12, 5]), 0.6, 8.0
HELD_BACK, LABELS = tiny_images(5, seed=3), torch.tensor([0, 1, 0, 0, 1])
SEEN = (True, True, False, False)


def build(bias=None, **config):
    model = tiny_mmrl(tiny_clip(init_logit_bias=bias), alpha=ALPHA, **config)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(SCALE))
    return model


def scored(model, classifier=None):
    """Scores of the images, with the mean of the held-back ones, in batches of two."""
    classifier = classifier or build_classifier(model, TOKENS)
    means = image_means(model, zip(HELD_BACK.split(2), LABELS.split(2), strict=True))
    logits = predict_all(model, classifier, [(IMAGES, LABELS)])
    return Logits(
        logits.by_class, logits.by_rep, logits.frozen, LABELS,
        mean=mean_logits(model, classifier, means),
    )  # fmt: skip


@pytest.mark.parametrize("config", [{}, {"variant": "mmrl++"}, {"token_sides": "text"}], ids=str)
def test_every_class_loses_what_the_mean_image_scores(config):
    """Literally, in float64: cosines of features less their mean, classes counting the same."""
    model = build(-2.0, **config)
    sides = {"class": "class", "rep": "representation" if "token_sides" not in config else "class"}

    @torch.no_grad()
    def expected(weights):
        found = 0
        for feature, weight in weights.items():
            text = unit(model.encode_text(TOKENS, features=feature.replace("rep", "class")))
            image, held = (
                unit(model.encode_image(x, features=sides.get(feature, feature)))
                for x in (IMAGES, HELD_BACK)
            )
            mean = (held[LABELS == 0].mean(0) + held[LABELS == 1].mean(0)) / 2
            found = found + weight * SCALE * (image - mean) @ text.T
        return found

    def close(ours, weights):
        torch.testing.assert_close(ours, expected(weights), rtol=0, atol=1e-9)

    logits, centered = scored(model), Scoring("fused", ALPHA, centered=True)
    close(logits.scores(centered), {"class": ALPHA, "rep": 1 - ALPHA})
    close(logits.of_base_model().scores(centered), {"frozen": 1.0})


def test_classes_with_one_prompt_keep_one_score():
    model = build()
    twice = build_classifier(model, TOKENS[[0, 1, 0, 2]])
    found = scored(model, twice).scores(Scoring("fused", ALPHA, centered=True))
    assert isinstance(twice, Classifier) and torch.equal(found[:, 0], found[:, 2])


@pytest.mark.parametrize("fusion", ["logits", "probabilities"])
def test_an_offset_is_subtracted_from_seen_classes(fusion):
    logits = scored(build())

    def scores(offset, centered=True):
        how = {"centered": centered, "seen_offset": offset, "fusion": fusion}
        return logits.scores(Scoring.of_mixed(ALPHA, SEEN, **how))

    present = logits.scores(Scoring("fused", ALPHA, fusion, SEEN))
    assert torch.equal(scores(0.0), present) and torch.equal(scores(None, centered=False), present)
    shift = torch.tensor([3.2, 3.2, 0, 0], dtype=torch.float64)
    assert torch.equal(scores(3.2), present - shift) and torch.equal(scores(-3.2), present + shift)
    only_new, only_seen = scores(math.inf).softmax(1), scores(-1e9).softmax(1)
    torch.testing.assert_close(only_new[:, 2:], present[:, 2:].softmax(1))
    assert not only_new[:, :2].any() and not only_seen[:, 2:].any()
