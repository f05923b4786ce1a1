import pytest
import torch

from open_clip_mmrl.experiments.tune.rule import Option, choose, standard_error
from open_clip_mmrl.experiments.tune.trials import Trial

USUAL = {"reg_weight": 0.5, "alpha": 0.7}


def trials(value, *hits, trained=(0, 1, 2), images=10):
    """One trial per fold, by the hits of each class."""
    return [
        Trial(n, {"reg_weight": value}, 1, trained, (images,) * len(counts), {0.7: counts})
        for n, counts in enumerate(hits)
    ]


def option(value, *hits, **options):
    return Option.of(trials(value, *hits, **options), {"reg_weight": value}, 0.7)


def test_influence_is_the_derivative_by_a_class_weight():
    weight = torch.ones(4, dtype=torch.double, requires_grad=True)
    first, second = torch.tensor([[9.0, 8, 2, 5], [7, 7, 6, 1]], dtype=torch.double)
    seen = (weight[:2] * first[:2]).sum() + (weight[1:3] * second[1:3]).sum()
    new = (weight[2:] * first[2:]).sum() + (weight[[0, 3]] * second[[0, 3]]).sum()
    seen = seen / (10 * (weight[:2].sum() + weight[1:3].sum()))
    new = new / (10 * (weight[2:].sum() + weight[[0, 3]].sum()))
    score = 100 * 2 * seen * new / (seen + new)
    (expected,) = torch.autograd.grad(score, weight)
    pooled = [
        *trials(0.5, (9, 8, 2, 5), trained=(0, 1)),
        *trials(0.5, (7, 7, 6, 1), trained=(1, 2)),
    ]
    found = Option.of(pooled, {"reg_weight": 0.5}, 0.7)
    assert found.score == pytest.approx(score.item(), abs=1e-9)
    assert torch.allclose(found.influence, expected, rtol=0, atol=1e-9)


def test_standard_error_is_that_of_a_mean_of_differences_over_classes():
    one, other = option(1, (9, 7, 8)), option(2, (8, 7, 5))
    differences = torch.tensor([10.0, 0, 30], dtype=torch.double)
    expected = differences.std().item() / 3**0.5
    assert standard_error(one, other) == pytest.approx(expected, abs=1e-9)
    assert standard_error(one, one) == 0


@pytest.mark.parametrize(
    ("better", "chosen"),
    [
        ((9, 8, 8), 0.5),  # one more image: chance
        ((10, 9, 6), 0.5),  # more of two classes, fewer of one
        ((9, 9, 10), 6.0),  # more of every class
    ],
)
def test_the_usual_value_stays_unless_another_is_better_beyond_chance(better, chosen):
    options = [option(0.5, (8, 8, 8)), option(2.0, (7, 8, 7)), option(6.0, better)]
    assert choose(options, USUAL).settings == {"reg_weight": chosen}


def test_of_those_as_good_as_the_best_the_nearest_is_chosen():
    options = [option(0.5, (2, 2, 2)), option(6.0, (9, 9, 9)), option(2.0, (9, 9, 8))]
    assert choose(options, USUAL).settings == {"reg_weight": 2.0}
