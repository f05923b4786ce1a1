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
from open_clip_mmrl.classifier.classes import classes_of
from open_clip_mmrl.classifier.images import examples_of, image_list
from open_clip_mmrl.classifier.labels import label_list

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
    with pytest.raises(ValueError, match=rf"X is a single .*{given}.*list.*\[image\]"):
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


RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLORS = np.stack([RAMP, RAMP.T, RAMP[::-1]], axis=-1)


@pytest.mark.parametrize("pixels", [RAMP, COLORS])
@pytest.mark.parametrize(
    "form",
    [
        lambda a: a,
        lambda a: a / 255,
        lambda a: (a / 255).astype(np.float16),
        lambda a: a if a.ndim == 3 else a[:, :, None],
        torch.from_numpy,
        lambda a: torch.from_numpy(a / 255),
        lambda a: (
            torch.from_numpy(a).permute(2, 0, 1) if a.ndim == 3 else torch.from_numpy(a)[None]
        ),
        lambda a: torch.from_numpy(a / 255).requires_grad_(),
    ],
)
def test_arrays_and_tensors_of_uint8_and_of_floats_are_read_alike(pixels, form):
    (example,) = examples_of([form(pixels)], [3])
    np.testing.assert_array_equal(example.image, pixels)
    assert example.image.dtype == np.uint8 and example.label == 3


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (RAMP / 16, r"X\[1\] is of float64 and shape \(16, 16\), with values from 0 to 15.94.*0"),
        (RAMP / 255 - 0.5, "not normalized: the model does that"),
        (np.full((4, 4), np.nan), "from 0 .black. to 1 .white."),
        (RAMP.astype(np.int64), "of int64 .*of uint8 or of floats from 0 to 1"),
        (RAMP > 9, "of bool"),
        (torch.zeros(2, 8, 8), r"of float32 and shape \(2, 8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), r"shape \(8, 8, 4\)"),
        (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\)"),
        (np.zeros(8, np.uint8), r"shape \(8,\)"),
        (np.zeros((0, 8), np.uint8), r"shape \(0, 8\)"),
        (np.zeros((1, 201, 3), np.uint8), "a side is more than 200 times the other"),
    ],
)
def test_arrays_of_other_kinds_shapes_and_ranges_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        examples_of([GRAY, image])


def test_a_table_is_refused_and_its_column_taken():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"path": ["a.jpg", "b.jpg"]})
    with pytest.raises(ValueError, match="X is a DataFrame, a table; give one of its columns"):
        image_list(table)
    assert image_list(table["path"]) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("image", [None, 3, b"a.jpg", [[0, 1]], ("a.jpg",)])
def test_what_is_no_image_is_named_by_its_place(image):
    with pytest.raises(ValueError, match=rf"X\[1\] is of type {type(image).__name__}"):
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
        ([np.array([0]), np.array([1])], r"array\(\[0\]\)"),
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
    with pytest.raises(ValueError, match=rf"y\[[01]\] is .*{given}.*one label per image"):
        label_list(labels)


@pytest.mark.parametrize("labels", ["cat", b"cat", 3, np.array(3)])
def test_a_single_label_is_refused(labels):
    with pytest.raises(ValueError, match=r"y is .*give a list, one label per image"):
        label_list(labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "requires y to be passed, but the target y is None"),
        (np.array([[0], [1]]), r"y should be a 1d array, got an array of shape \(2, 1\)"),
        (torch.tensor([[0], [1]]), r"y should be a 1d array, got an array of shape \(2, 1\)"),
        ([0, float("nan")], "Input y contains NaN"),
        ([0, float("inf")], "Input y contains infinity"),
        ([0, 0.5], "Unknown label type: continuous"),
        ([0, None], "Unknown label type: unknown"),
    ],
)
def test_errors_have_the_words_of_scikit_learn(labels, message):
    with pytest.raises(ValueError, match=message):
        label_list(labels)


@pytest.mark.parametrize(("labels", "names"), [([1, 1], ["a", "b"]), (["a", "a"], None)])
def test_one_class_is_too_few(labels, names):
    with pytest.raises(ValueError, match=r"only one class: ('a'|1)"):
        classes(labels, names)


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
    ("labels", "class_names", "names"),
    [
        (["n2", "n1"], {"n1": "tench", "n2": "goldfish"}, ["tench", "goldfish"]),
        ([5, 3, 5], {3: "three", 5: "five"}, ["three", "five"]),
        ([3, 5], {np.int64(5): "five", 3.0: "three"}, ["three", "five"]),
        ([1, 0], {"n2": "goldfish", "n1": "tench"}, ["tench", "goldfish"]),  # a tool's codes
    ],
)
def test_a_mapping_names_labels(labels, class_names, names):
    found = classes(labels, class_names)
    assert found.names == names
    assert [found.values[i] for i in found.indices] == labels


@pytest.mark.parametrize(
    ("labels", "class_names", "message"),
    [
        (["n1", "n3"], {"n1": "tench", "n2": "goldfish"}, "labels not among the 2 classes: n3"),
        ([0, 1], {"a": "x", "b": "y", "c": "z"}, "labels are the numbers 0, 1.*3 labels a, b, c"),
        ([1, 2], {"a": "x", "b": "y"}, "labels are the numbers 1, 2"),
        (["a", "b"], {0: "a", 1: "b"}, "class_names maps numbers"),
        ([0, 1], {0: "a", "b": "b"}, "both texts and numbers"),
        ([0, 1], {0: "a", 0.5: "b"}, "class_names maps 0.5"),
        ([0, 1], {0: "a", 1: None}, "class_names has None"),
        ([0, 1], {0: "a", 1: "a"}, "two or more different names"),
    ],
)
def test_mappings_that_do_not_name_the_labels(labels, class_names, message):
    with pytest.raises(ValueError, match=message):
        classes(labels, class_names)


@pytest.mark.parametrize(
    "names", [["Cat", "cat"], ["cat", "cat "], ["a  b", "a b"], ["a &amp; b", "a & b"]]
)
@pytest.mark.parametrize("as_labels", [True, False])
def test_two_classes_with_one_prompt_are_refused(names, as_labels):
    labels, given = (names, None) if as_labels else ([0, 1], names)
    classifier = FewShotClassifier(MODEL_NAME, class_names=given, device="cpu")
    with pytest.raises(ValueError, match=r"have the same prompt .* reads like .* give other names"):
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


def test_sets_damaged_pil_images_and_tensors_without_values_are_refused(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    empty = torch.zeros(8, 9, dtype=torch.uint8)
    for image, words in (
        (Image.open(path), r"X\[0\] cannot be read \(.*truncated"),
        (empty.to_sparse(), r"X\[0\] is of uint8 .*dense"),
        (empty.to("meta"), r"X\[0\] is of uint8 .*dense"),
    ):
        with pytest.raises(ValueError, match=words):
            examples_of(image_list([image]))
    for call in (image_list, label_list):
        with pytest.raises(ValueError, match="a set has no order: give a list"):
            call({"a.png", "b.png"})
