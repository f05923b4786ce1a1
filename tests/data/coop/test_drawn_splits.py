import random
from collections import Counter

import pytest
from helpers.trees import write_tree

from open_clip_mmrl.data.coop.catalog import CATALOG
from open_clip_mmrl.data.coop.drawn_splits import draw_split

WHOLE = ["caltech101", "oxford_flowers", "food101", "dtd", "eurosat"]
PINNED = {  # of the twenty images of a class
    "train": [18, 8, 6, 4, 0, 7, 19, 10, 11, 17],
    "val": [13, 15, 12, 9],
    "test": [14, 5, 16, 1, 3, 2],
}
DIVIDED = ["oxford_pets", "stanford_cars", "sun397", "ucf101"]


def draw(root, name, train=10, val=4, test=6, classes=4):
    per_class = {"train": train, "val": val, "test": test}
    folder = write_tree(root, name, classes, per_class, split_file=False)
    return draw_split(CATALOG[name], folder)


def counts(rows):
    return list(Counter(label for _, label, _ in rows).values())


@pytest.mark.parametrize("name", WHOLE)
def test_shares_where_the_original_has_no_test_split(tmp_path, name):
    splits, names = draw(tmp_path, name)
    assert {split: counts(rows) for split, rows in splits.items()} == {
        "train": [10] * 4,
        "val": [4] * 4,
        "test": [6] * 4,
    }
    assert len(names) == 4


@pytest.mark.parametrize("name", DIVIDED)
def test_the_originals_test_split_is_kept_and_a_fifth_held_out(tmp_path, name):
    splits, _ = draw(tmp_path, name, train=7, val=4)
    assert [counts(splits[split]) for split in ("train", "val", "test")] == [
        [9] * 4,
        [2] * 4,
        [6] * 4,
    ]


@pytest.mark.parametrize("name", WHOLE + DIVIDED)
def test_every_image_is_in_one_split_and_the_draw_repeats(tmp_path, name):
    random.seed(5)
    splits, _ = draw(tmp_path, name)
    paths = [path for rows in splits.values() for path, _, _ in rows]
    assert len(set(paths)) == len(paths) == 80
    random.seed(6)
    assert draw(tmp_path, name)[0] == splits
    assert random.random() == random.Random(6).random(), "the global generator is not ours"


def test_the_draw_is_pinned(tmp_path):
    splits, _ = draw(tmp_path, "dtd", classes=1)
    numbers = {
        split: [int(path.removesuffix(".jpg").split("_")[1]) for path, _, _ in rows]
        for split, rows in splits.items()
    }
    assert numbers == PINNED


@pytest.mark.parametrize(("per_class", "sizes"), [(4, (2, 1, 1)), (5, (2, 1, 2)), (7, (4, 1, 2))])
def test_rounding_is_the_fields(tmp_path, per_class, sizes):
    """Python rounds halves to even: 5 images give 2 for training, 7 give 4."""
    splits, _ = draw(tmp_path, "dtd", train=per_class, val=0, test=0)
    assert tuple(counts(rows)[0] for rows in splits.values()) == sizes


def test_categories_left_out_and_renamed(tmp_path):
    splits, names = draw(tmp_path, "caltech101")
    assert names == ("face", "leopard", "accordion", "airplane")
    assert not [path for rows in splits.values() for path, _, _ in rows if "easy" in path]
    assert draw(tmp_path, "eurosat", classes=6)[1] == (
        "Annual Crop Land",
        "Forest",
        "Highway or Road",
        "Pasture Land",
        "River",
        "Sea or Lake",
    )


@pytest.mark.parametrize(
    ("name", "per_class", "words"),
    [
        ("dtd", 3, "class 'banded' has 3 images, too few to draw train, val, test from; put"),
        ("oxford_pets", 2, "class 'abyssinian' has 2 images, too few to draw val, train from"),
    ],
)
def test_classes_too_small_to_draw_from(tmp_path, name, per_class, words):
    with pytest.raises(ValueError, match=words):
        draw(tmp_path, name, train=per_class, val=0, test=1 if name in DIVIDED else 0)


def test_labels_that_leave_a_gap(tmp_path):
    folder = write_tree(tmp_path, "oxford_pets", classes=2, split_file=False)
    for name in ("trainval", "test"):
        path = folder / "annotations" / f"{name}.txt"
        path.write_text(path.read_text().replace(" 2 1 1", " 9 1 1"))
    with pytest.raises(
        ValueError, match="2 classes must have the labels 0 to 1, but they are 0, 8"
    ):
        draw_split(CATALOG["oxford_pets"], folder)


def test_missing_image_folder(tmp_path):
    (tmp_path / "food-101").mkdir()
    with pytest.raises(ValueError, match=r"food-101/images is missing; get it from https"):
        draw_split(CATALOG["food101"], tmp_path / "food-101")
