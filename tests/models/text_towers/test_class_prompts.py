"""Length groups: every prompt once, and no other cut costs less."""

from itertools import combinations, pairwise

import pytest
import torch

from open_clip_mmrl.models.text_towers.class_prompts import length_groups


def cost(groups, end, group_cost):
    return sum(len(g) * int(end[g].max()) + group_cost for g in groups)


def cheapest(end, group_cost):
    """Over all cuts of the sorted lengths, one by one."""
    lengths = sorted(set(end.tolist()))
    costs = []
    for parts in range(len(lengths)):
        for cuts in combinations(range(1, len(lengths)), parts):
            bounds = [0, *cuts, len(lengths)]
            groups = [
                torch.nonzero((end >= lengths[a]) & (end <= lengths[b - 1]))[:, 0]
                for a, b in pairwise(bounds)
            ]
            costs.append(cost(groups, end, group_cost))
    return min(costs)


@pytest.mark.parametrize("group_cost", [0, 5, 40, 10_000])
@pytest.mark.parametrize("seed", range(4))
def test_groups_hold_every_prompt_once_and_cost_least(group_cost, seed):
    end = torch.randint(0, 9, (30,), generator=torch.Generator().manual_seed(seed))
    groups = length_groups(end, group_cost)
    assert torch.equal(torch.cat(groups).sort().values, torch.arange(30))
    assert cost(groups, end, group_cost) == cheapest(end, group_cost)


def test_extreme_costs_of_a_group():
    end = torch.tensor([3, 9, 3, 5])
    assert [g.tolist() for g in length_groups(end, 0)] == [[0, 2], [3], [1]]
    assert [g.tolist() for g in length_groups(end, 1000)] == [[0, 1, 2, 3]]
    assert length_groups(end[:0]) == []
