import random
from collections import Counter

import pytest
from helpers.trees import write_tree

from open_clip_mmrl.data.coop.catalog import CATALOG
from open_clip_mmrl.data.coop.drawn_splits import draw_split

WHOLE = ["caltech101", "oxford_flowers", "food101", "dtd", "eurosat"]
DIVIDED = ["oxford_pets", "stanford_cars", "sun397", "ucf101"]


def draw(root, name, train=10, val=4, test=6, classes=4):
    per_class = {"train": train, "val": val, "test": test}
    folder = write_tree(root, name, classes, per_class, split=False)
    return draw_split(CATALOG[name], folder)


def counts(rows):
    return list(Counter(label for _, label, _ in rows).values())


@pytest.mark.parametrize("name", WHOLE)
def test_shares_where_the_original_has_no_test_part(tmp_path, name):
    parts, names = draw(tmp_path, name)
    assert {part: counts(rows) for part, rows in parts.items()} == {
        "train": [10] * 4,
        "val": [4] * 4,
        "test": [6] * 4,
    }
    assert len(names) == 4


@pytest.mark.parametrize("name", DIVIDED)
def test_the_originals_test_part_is_kept_and_a_fifth_held_out(tmp_path, name):
    parts, _ = draw(tmp_path, name, train=7, val=4)
    assert [counts(parts[part]) for part in ("train", "val", "test")] == [[9] * 4, [2] * 4, [6] * 4]


@pytest.mark.parametrize("name", WHOLE + DIVIDED)
def test_every_image_is_in_one_part_and_the_draw_repeats(tmp_path, name):
    random.seed(5)
    parts, _ = draw(tmp_path, name)
    paths = [path for rows in parts.values() for path, _, _ in rows]
    assert len(set(paths)) == len(paths) == 80
    random.seed(6)
    assert draw(tmp_path, name)[0] == parts
    assert random.random() == random.Random(6).random(), "the global generator is not ours"


def test_images_are_shuffled(tmp_path):
    parts, _ = draw(tmp_path, "dtd")
    first = [path for path, label, _ in parts["train"] if label == 0]
    assert first != sorted(first)


@pytest.mark.parametrize(("per_class", "sizes"), [(4, (2, 1, 1)), (5, (2, 1, 2)), (7, (4, 1, 2))])
def test_rounding_is_the_fields(tmp_path, per_class, sizes):
    """Python rounds halves to even: 5 images give 2 for training, 7 give 4."""
    parts, _ = draw(tmp_path, "dtd", train=per_class, val=0, test=0)
    assert tuple(counts(rows)[0] for rows in parts.values()) == sizes


def test_categories_left_out_and_renamed(tmp_path):
    parts, names = draw(tmp_path, "caltech101")
    assert names == ("face", "leopard", "accordion", "airplane")
    assert not [path for rows in parts.values() for path, _, _ in rows if "easy" in path]
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
    folder = write_tree(tmp_path, "oxford_pets", classes=2, split=False)
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
