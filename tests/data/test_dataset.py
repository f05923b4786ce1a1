from pathlib import Path

import pytest

from open_clip_mmrl.data import Example, ImageData
from open_clip_mmrl.data.sampling import few_shot_subset


def examples(*labels):
    return tuple(Example(image=Path(f"{i}.png"), label=label) for i, label in enumerate(labels))


def make(class_names=("a", "b", "c", "d", "e"), **changes):
    every = tuple(range(len(class_names)))
    arguments = {
        "spec": "toy",
        "template": "a photo of a {}.",
        "train": examples(*every * 6),
        "val": examples(*every),
        "test": examples(*every * 2),
    }
    return ImageData(class_names=class_names, **arguments | changes)


def pairs(split):
    return [(example.image.name, example.label) for example in split]


def test_template_is_normalized():
    assert make(template="[CLASS] texture.").template == "{} texture."


def test_splits_may_be_empty():
    data = make(train=(), val=())
    assert (data.train, data.val, data.num_classes) == ((), (), 5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"class_names": ("only",), "train": ()}, "toy: classes: only; .*at least two"),
        ({"class_names": ()}, "classes: none; .*at least two"),
        ({"class_names": ("cat", "dog", "cat")}, "class names repeated: cat"),
        ({"class_names": ("sea_lion", "sea lion", "x_y", "x y")}, "repeated: sea lion, x y"),
        ({"test": examples(0, 5)}, r"test\[1\] has label 5; with 5 classes labels are 0 to 4"),
        ({"val": examples(-1)}, r"val\[0\] has label -1"),
        ({"template": "a photo"}, "no place for the class name"),
        ({"class_names": (1, 2)}, "class name is 1; class names must be strings"),
    ],
)
def test_validation(changes, words):
    with pytest.raises(ValueError, match=words):
        make(**changes)


def test_few_shot_cuts_train_alone():
    data = make()
    subset = data.few_shot(2, seed=3)
    expected = few_shot_subset([example.label for example in data.train], 2, 3)
    assert subset.train == tuple(data.train[index] for index in expected)
    assert (subset.val, subset.test, subset.class_names) == (data.val, data.test, data.class_names)


def test_base_and_novel_keep_their_examples_and_count_labels_from_zero():
    data = make()
    base, novel = data.select("base"), data.select("novel")
    assert (base.class_names, novel.class_names) == (("a", "b", "c"), ("d", "e"))
    assert (base.classes, novel.classes) == ("base", "novel")
    for split in ("train", "val", "test"):
        whole = pairs(getattr(data, split))
        assert pairs(getattr(base, split)) == [(name, y) for name, y in whole if y < 3]
        assert pairs(getattr(novel, split)) == [(name, y - 3) for name, y in whole if y >= 3]


def test_all_changes_nothing():
    data = make()
    assert data.select("all") is data


def test_selected_classes_are_neither_divided_nor_drawn_from():
    base = make().select("base")
    with pytest.raises(ValueError, match="few_shot on the base classes; call few_shot first"):
        base.few_shot(1, seed=1)
    with pytest.raises(ValueError, match=r"select\('novel'\) on the base classes"):
        base.select("novel")
    assert base.select("all") is base


@pytest.mark.parametrize("classes", ["new", None, 3])
def test_unknown_classes(classes):
    with pytest.raises(ValueError, match="choose from all, base, novel"):
        make().select(classes)


def test_one_novel_class_is_refused():
    three = make(("a", "b", "c"))
    assert three.select("base").class_names == ("a", "b")
    with pytest.raises(ValueError, match=r"of 3 classes, 1 is novel; .*need four"):
        three.select("novel")


def test_few_shot_needs_training_images():
    with pytest.raises(ValueError, match="toy: no training images"):
        make(train=()).few_shot(1, seed=1)


def test_shortfall_names_small_classes_with_their_counts():
    data = make(train=examples(0, 0, 0, 1, 2, 2, 2, 4, 4))
    assert data.shortfall(3) == {"b": 1, "d": 0, "e": 2}
    assert data.shortfall(1) == {"d": 0}
    assert make().shortfall(6) == {}


@pytest.mark.parametrize("name", ["", " ", "_", "caf\udce9"])
def test_class_names_that_are_no_text_are_refused(name):
    with pytest.raises(ValueError, match=r"x: .*(empty|not text)"):
        ImageData(spec="x", class_names=("a", name), template="a {}", train=(), val=(), test=())
