"""What people give `FewShotClassifier`; what it refuses, it refuses before a model is built."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from open_clip_mmrl import FewShotClassifier
from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.classifier_input import classes_of, image_list, label_list

GRAY, RGB = np.zeros((8, 9), np.uint8), np.zeros((32, 32, 3), np.uint8)
TEMPLATE = "a photo of a {}."


def classes(labels, class_names=None):
    return classes_of(label_list(labels), class_names, TEMPLATE)


@pytest.mark.parametrize(
    ("images", "given"),
    [
        ("a.jpg", "'a.jpg'"),
        (Path("a.jpg"), "a.jpg"),
        (b"a.jpg", "bytes"),
        (Image.fromarray(RGB), "Image"),
        (RGB, r"\(32, 32, 3\)"),
        (GRAY, r"\(8, 9\)"),
        (torch.from_numpy(RGB), r"\(32, 32, 3\)"),
        (torch.from_numpy(RGB).permute(2, 0, 1), r"\(3, 32, 32\)"),
        (np.array("a.jpg"), "ndarray"),
        (None, "NoneType"),
        (3, "int"),
    ],
)
def test_a_single_image_is_refused_with_the_remedy(images, given):
    with pytest.raises(ValueError, match=rf"images is a single .*{given}.*list.*\[image\]"):
        image_list(images)


@pytest.mark.parametrize(
    ("images", "count"),
    [
        (["a.jpg", Path("b.jpg"), GRAY, RGB, Image.fromarray(RGB), torch.from_numpy(RGB)], 6),
        (np.stack([GRAY] * 3), 3),
        (np.stack([RGB] * 2), 2),
        (torch.from_numpy(np.stack([GRAY] * 4)), 4),
        (torch.from_numpy(np.stack([RGB] * 2)), 2),
        (np.array(["a.jpg", "b.jpg"]), 2),
        (np.array([Path("a.jpg")], dtype=object), 1),
        (iter([GRAY, RGB]), 2),
        ((), 0),
    ],
)
def test_several_images_are_a_list(images, count):
    assert len(image_list(images)) == count


@pytest.mark.parametrize("image", [None, 3, b"a.jpg", [[0, 1]], ("a.jpg",)])
def test_what_is_no_image_is_named_by_its_place(image):
    with pytest.raises(ValueError, match=rf"images\[1\] is of type {type(image).__name__}"):
        image_list([GRAY, image])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1], [0, 1]),
        (["a", "b"], ["a", "b"]),
        (np.array([0, 1], np.uint8), [0, 1]),
        (np.array([0, 1], object), [0, 1]),
        (np.array([0.0, 1.0]), [0, 1]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array(["a", "b"], object), ["a", "b"]),
        (torch.tensor([0, 1]), [0, 1]),
        ([torch.tensor(0), np.int64(1)], [0, 1]),
        (iter("ab"), ["a", "b"]),
    ],
)
def test_labels_in_every_form(labels, expected):
    found = label_list(labels)
    assert found == expected and {type(label) for label in found} <= {int, str}


@pytest.mark.parametrize(
    ("labels", "given"),
    [
        ([True, False], "True"),
        (np.array([0, 1]) == 1, "False"),
        (np.array([[0], [1]]), r"\[0\]"),
        ([np.array([0]), np.array([1])], r"array\(\[0\]\)"),
        (torch.tensor([[0], [1]]), r"\[0\]"),
        ([[0], [1]], r"\[0\]"),
        (["a", None], "None"),
        (["a", float("nan")], "nan"),
        (np.array([0, np.nan]), "nan"),
        ([0, 0.5], "0.5"),
        ([0, float("inf")], "inf"),
        ([b"a", b"b"], "b'a'"),
        ([object(), object()], "object"),
    ],
)
def test_other_labels_are_refused(labels, given):
    with pytest.raises(ValueError, match=rf"labels\[[01]\] is .*{given}.*one label per image"):
        label_list(labels)


@pytest.mark.parametrize("labels", ["cat", b"cat", None, 3, np.array(3)])
def test_a_single_label_is_refused(labels):
    with pytest.raises(ValueError, match=r"labels is .*give a list, one label per image"):
        label_list(labels)


def test_names_and_numbers_are_not_mixed():
    with pytest.raises(ValueError, match="such as 'cat', and numbers, such as 1"):
        label_list(["cat", 1])


@pytest.mark.parametrize("labels", [[0, 1], np.array([0, 1], object), [0.0, 1.0]])
def test_numbers_need_names(labels):
    with pytest.raises(ValueError, match=r"labels are numbers.*class_names"):
        classes(labels)
    assert classes(labels, ["cat", "dog"]).indices == [0, 1]


def test_numbers_as_texts_are_names_only_where_they_are_given_as_names():
    labels = np.array([0, 1, 10]).astype(str)
    with pytest.raises(ValueError, match=r"numbers 0, 1, 10 as texts.*class_names=\['0', '1'\]"):
        classes(labels)
    found = classes(labels, ["0", "1", "10"])
    assert found.names == list(found.values) == ["0", "1", "10"]


@pytest.mark.parametrize(
    ("class_names", "message"),
    [
        ("cat", "class_names is 'cat'; give a list of names"),
        ({"cat", "dog"}, "give a list of names, in the order"),
        (2, "class_names is 2; give a list"),
        ([0, 1], "class_names has 0; a class name has to be a text"),
        (["cat", None], "class_names has None"),
        (["cat", " "], "class_names has ' '"),
        (["cat"], "two or more different names"),
        (["cat", "cat"], "two or more different names"),
        (["a_b", "a b"], "give every class its own name"),
    ],
)
def test_class_names_that_are_none(class_names, message):
    with pytest.raises(ValueError, match=message):
        classes([0, 1], class_names)


@pytest.mark.parametrize(
    "names", [["Cat", "cat"], ["cat", "cat "], ["a  b", "a b"], ["a &amp; b", "a & b"]]
)
@pytest.mark.parametrize("as_labels", [True, False])
def test_two_classes_with_one_prompt_are_refused(names, as_labels):
    labels, given = (names, None) if as_labels else ([0, 1], names)
    classifier = FewShotClassifier(MODEL_NAME, class_names=given, device="cpu")
    with pytest.raises(ValueError, match=r"have the same prompt .* never be told apart"):
        classifier.fit([GRAY, GRAY], labels)


ONE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.binary(),
    st.dates(),
    st.builds(object),
    st.sampled_from([Path("a.jpg"), GRAY, RGB, Image.fromarray(RGB), torch.zeros(2, 0)]),
    arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, max_side=4)),
)
GIVEN = ONE | st.lists(ONE) | st.sets(st.text()) | st.dictionaries(st.text(), ONE)


@given(GIVEN)
def test_whatever_is_given_is_taken_or_refused(value):
    """With a ValueError; any other exception fails the test."""
    for call in (image_list, label_list, classes, lambda names: classes([0, 1], names)):
        with suppress(ValueError):
            assert isinstance(call(value), list | tuple)
