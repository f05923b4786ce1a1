"""The training loss against hand computations."""

import pytest
import torch
from torch.nn import functional as F

from open_clip_mmrl import MMRLLoss
from open_clip_mmrl.config import REGULARIZERS
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.models.losses import DISTANCES

LABELS = torch.tensor([0, 2, 1])


def draw(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def parts():
    return {
        "logits": draw(3, 4, seed=1),
        "logits_rep": draw(3, 4, seed=2),
        "image_features": draw(3, 5, seed=3),
        "text_features": draw(4, 5, seed=4),
        "frozen_image_features": draw(3, 5, seed=5),
        "frozen_text_features": draw(4, 5, seed=6),
        "labels": LABELS,
    }


def nll(logits):
    """Mean of -log p(label), spelled out."""
    return -sum((row - row.exp().sum().log())[y] for row, y in zip(logits, LABELS, strict=True)) / 3


def cosine(a, b):
    return torch.stack([x @ y / (x.norm() * y.norm()) for x, y in zip(a, b, strict=True)]).mean()


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("reg_weight", [0.0, 0.5, 7.0])
def test_by_hand(parts, alpha, reg_weight):
    expected = alpha * nll(parts["logits"]) + (1 - alpha) * nll(parts["logits_rep"])
    drift = (1 - cosine(parts["image_features"], parts["frozen_image_features"])) + (
        1 - cosine(parts["text_features"], parts["frozen_text_features"])
    )
    found = MMRLLoss(alpha, reg_weight)(**parts)
    torch.testing.assert_close(found, expected + reg_weight * drift, rtol=0, atol=1e-12)


def unit_difference(parts, kind):
    a, b = parts[f"{kind}_features"], parts[f"frozen_{kind}_features"]
    return a / a.norm(dim=1, keepdim=True) - b / b.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("regularizer", ["l1", "mse"])
def test_other_distances_by_hand(parts, regularizer):
    """Means over all coordinates of unit-length features, 3 x 5 and 4 x 5 of them."""
    power = {"l1": 1, "mse": 2}[regularizer]
    drift = sum(
        sum(abs(x) ** power for row in unit_difference(parts, kind) for x in row) / count
        for kind, count in (("image", 15), ("text", 20))
    )
    expected = 0.7 * nll(parts["logits"]) + 0.3 * nll(parts["logits_rep"]) + 3.0 * drift
    found = MMRLLoss(0.7, 3.0, regularizer)(**parts)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_mse_is_cosine_divided_by_half_the_width(parts):
    """So the two cannot be compared at the same reg_weight."""
    plain = MMRLLoss(0.7, 0.0)(**parts)
    cosine_pull, mse_pull = (MMRLLoss(0.7, 1.0, r)(**parts) - plain for r in ("cosine", "mse"))
    torch.testing.assert_close(mse_pull, cosine_pull * 2 / 5, rtol=0, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_alpha_is_not_used_without_a_representation_feature(parts, alpha):
    parts["logits_rep"] = None
    found = MMRLLoss(alpha, 0.0)(**parts)
    torch.testing.assert_close(found, nll(parts["logits"]), rtol=0, atol=1e-12)
    assert MMRLLoss(alpha, 1.0)(**parts) > found


def test_regularizers_are_those_of_the_config():
    assert tuple(DISTANCES) == REGULARIZERS


def test_an_unknown_regularizer():
    with pytest.raises(UsageError, match=r"regularizer is 'L2'; .*'cosine', 'l1', 'mse'"):
        MMRLLoss(regularizer="L2")


def test_defaults_are_the_paper_s():
    loss = MMRLLoss()
    assert (loss.alpha, loss.reg_weight) == (0.7, 0.5)
    assert not list(loss.parameters())


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_distance_to_itself_is_zero(parts, regularizer):
    """The distance depends on directions only."""
    for kind in ("image", "text"):
        parts[f"frozen_{kind}_features"] = 3.0 * parts[f"{kind}_features"]
    found = MMRLLoss(0.7, 1000.0, regularizer)(**parts)
    torch.testing.assert_close(found, MMRLLoss(0.7, 0.0)(**parts), rtol=0, atol=1e-9)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_gradient_of_the_distance_points_back(parts, regularizer):
    feature = parts["image_features"].requires_grad_()
    (gradient,) = torch.autograd.grad(MMRLLoss(0.7, 1.0, regularizer)(**parts), feature)
    parts["image_features"] = feature.detach() - 0.1 * gradient
    nearer = cosine(parts["image_features"], parts["frozen_image_features"])
    assert nearer > cosine(feature, parts["frozen_image_features"])


@pytest.mark.parametrize(("alpha", "unused"), [(1.0, "logits_rep"), (0.0, "logits")])
def test_alpha_at_its_ends_leaves_one_term(parts, alpha, unused):
    before = MMRLLoss(alpha)(**parts)
    parts[unused] = parts[unused] + draw(3, 4, seed=9)
    assert torch.equal(MMRLLoss(alpha)(**parts), before)


def test_perfect_logits_cost_nothing(parts):
    right = 1e3 * F.one_hot(LABELS, 4).double()
    parts.update(logits=right, logits_rep=right)
    assert MMRLLoss(0.7, 0.0)(**parts).item() == 0.0
