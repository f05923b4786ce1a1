"""Several prompts per class: one text feature, equal to means that are written out."""

import pytest
import torch
from helpers.tiny import tiny_images, tiny_mmrl, tiny_prompts
from torch.nn import functional as F

from open_clip_mmrl import MMRLTask
from open_clip_mmrl.evaluation.predict import build_classifier
from open_clip_mmrl.models.prompt_tokens import PromptTokens
from open_clip_mmrl.models.reference import ReferenceTask

GIVEN = PromptTokens(tiny_prompts([4, 7, 12, 5, 9, 3]), (3, 1, 2))
OF_CLASS = [[0, 1, 2], [3], [4, 5]]
IMAGES, LABELS = tiny_images(3), torch.tensor([0, 2, 1])


def means(features):
    """By hand: the mean of unit vectors, as a unit vector."""
    found = [sum(features[i] / features[i].norm() for i in own) for own in OF_CLASS]
    return torch.stack([one / one.norm() for one in found])


@pytest.mark.parametrize("sides", ["both", "image"])
@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
def test_w0_is_of_all_and_training_of_the_first(variant, sides):
    model = tiny_mmrl(variant=variant, token_sides=sides, reg_weight=3.0, moment_weight=2.0)
    reference = ReferenceTask(model, GIVEN.tokens[[0, 3, 4]])
    reference.frozen_text = means(model.encode_text(GIVEN.tokens, features="frozen")).detach()
    if sides == "image":
        reference._text = lambda: reference.frozen_text
    task, gradients = MMRLTask(model, GIVEN), []
    task.prepare()
    for one in (task, reference):
        model.learner.zero_grad()
        one(IMAGES, LABELS)["loss"].backward()
        gradients.append([p.grad.clone() for p in model.learner.parameters()])
    ours, theirs = task(IMAGES, LABELS), reference(IMAGES, LABELS)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_a_classifier_has_the_means():
    model = tiny_mmrl()
    found = build_classifier(model, GIVEN)
    for ours, kind in ((found.text, "class"), (found.frozen, "frozen")):
        expected = means(model.encode_text(GIVEN.tokens, features=kind))
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    assert found.first is None
    twice = PromptTokens(torch.cat([GIVEN.tokens, GIVEN.tokens[[2, 0, 1]]]), (3, 1, 2, 3))
    assert build_classifier(model, twice).first.tolist() == [0, 1, 2, 0]


def test_one_prompt_per_class_is_what_it_was():
    model, tokens = tiny_mmrl(), tiny_prompts([4, 7])
    one = build_classifier(model, PromptTokens.of(tokens))
    assert torch.equal(one.text, build_classifier(model, tokens).text)
    assert torch.equal(one.text, F.normalize(model.encode_text(tokens), dim=-1))
