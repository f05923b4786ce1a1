import random

import numpy as np
import pytest

from open_clip_mmrl.data.sampling import base_novel_split, few_shot_subset


def drawn_by_hand(labels, shots, seed):
    """CoOp's procedure with Python's global generator, on (position, label) pairs."""
    order, items_of = [], {}
    for item in enumerate(labels):
        if item[1] not in items_of:
            order.append(item[1])
            items_of[item[1]] = []
        items_of[item[1]].append(item)
    state = random.getstate()
    try:
        random.seed(seed)
        picked = []
        for label in order:
            items = items_of[label]
            if len(items) >= shots:
                items = random.sample(items, shots)
            picked.extend(position for position, _ in items)
        return picked
    finally:
        random.setstate(state)


LABELS = [random.Random(7).randrange(9) for _ in range(300)] + [9] * 5 + [10] * 16


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 12345])
@pytest.mark.parametrize("shots", [1, 2, 4, 8, 16])
def test_draw_equals_the_global_generator_seeded_with_the_run_seed(shots, seed):
    assert few_shot_subset(LABELS, shots, seed) == drawn_by_hand(LABELS, shots, seed)


def test_draw_is_pinned():
    # Python keeps random.sample stable between versions; should that end, this says so.
    assert few_shot_subset([1] * 20 + [0] * 20, 4, seed=1) == [4, 18, 2, 8, 23, 35, 34, 38]


def test_a_small_class_gives_all_its_examples_and_leaves_the_generator_alone():
    small_first = [5, 5] + [3] * 30
    subset = few_shot_subset(small_first, 4, seed=2)
    assert subset[:2] == [0, 1]
    assert [index - 2 for index in subset[2:]] == few_shot_subset([3] * 30, 4, seed=2)


def test_a_class_of_exactly_that_many_is_drawn_so_its_order_changes():
    subset = few_shot_subset([0] * 16, 16, seed=1)
    assert sorted(subset) == list(range(16))
    assert subset != list(range(16))


def test_classes_come_in_the_order_of_first_appearance():
    labels = [2, 0, 2, 1, 0, 1]
    assert [labels[index] for index in few_shot_subset(labels, 1, seed=1)] == [2, 0, 1]


def test_arrays_and_tensors_give_the_same_plain_integers():
    torch = pytest.importorskip("torch")
    expected = few_shot_subset(LABELS, 4, seed=3)
    for labels in (np.array(LABELS), torch.tensor(LABELS), tuple(LABELS), list(np.array(LABELS))):
        assert few_shot_subset(labels, 4, seed=3) == expected
    assert all(type(index) is int for index in expected)


def test_the_global_generator_is_not_touched():
    before = random.getstate()
    few_shot_subset(LABELS, 4, seed=3)
    assert random.getstate() == before


@pytest.mark.parametrize(
    ("labels", "shots", "seed", "words"),
    [
        ([0, 1], 0, 1, "shots is 0; it must be a whole number of at least 1"),
        ([0, 1], 1.5, 1, "shots is 1.5"),
        ([0, 1], True, 1, "shots is True"),
        ([0, 1], 1, -1, "seed is -1; it must be a whole number of at least 0"),
        ([0, 1], 1, None, "seed is None"),
        ([], 1, 1, "labels is empty"),
        ([0, "cat"], 1, 1, r"labels\[1\] is 'cat'; labels must be integers"),
        (np.array([0.0, 1.0]), 1, 1, r"labels\[0\] is 0.0"),
    ],
)
def test_few_shot_errors(labels, shots, seed, words):
    with pytest.raises(ValueError, match=words):
        few_shot_subset(labels, shots, seed)


@pytest.mark.parametrize(
    ("num_classes", "num_base"), [(2, 1), (3, 2), (10, 5), (47, 24), (101, 51), (397, 199)]
)
def test_base_is_the_first_half_rounded_up(num_classes, num_base):
    base, novel = base_novel_split(num_classes)
    assert len(base) == num_base
    assert base + novel == list(range(num_classes))


@pytest.mark.parametrize("num_classes", [1, 0, -3, 2.0, True, None])
def test_base_novel_errors(num_classes):
    with pytest.raises(ValueError, match=r"num_classes is .*at least 2"):
        base_novel_split(num_classes)
