import json

import numpy as np
import pytest
from helpers.trees import write_tree
from scipy.io import savemat

from open_clip_mmrl.data.coop import annotations
from open_clip_mmrl.data.coop.catalog import CATALOG

READERS = {
    "oxford_pets": annotations.read_pets,
    "stanford_cars": annotations.read_cars,
    "oxford_flowers": annotations.read_flowers,
    "sun397": annotations.read_sun,
    "ucf101": annotations.read_ucf,
}


@pytest.fixture
def read(tmp_path):
    def read(name):
        return READERS[name](tmp_path / CATALOG[name].folder, "example.org")

    return read


@pytest.mark.parametrize("name", READERS)
def test_the_originals_give_what_the_split_file_gives(tmp_path, read, name):
    """Images, labels and names, before anything is held out."""
    folder = write_tree(tmp_path, name, classes=5)
    content = json.loads((folder / CATALOG[name].files[-1]).read_text())
    splits = {split: [tuple(row) for row in rows] for split, rows in content.items()}
    if name == "oxford_flowers":
        assert sorted(read(name)) == sorted(splits["train"] + splits["val"] + splits["test"])
        return
    rest, test = read(name)
    assert rest == splits["train"] + splits["val"]
    assert test == splits["test"]


@pytest.mark.parametrize("name", READERS)
def test_one_image_per_split_is_enough(tmp_path, read, name):
    """MATLAB's arrays of one element are squeezed to scalars."""
    write_tree(tmp_path, name, classes=1, per_class={"train": 1, "val": 0, "test": 1})
    assert len(read(name)) == 2


def test_names_are_those_of_coop(tmp_path, read):
    write_tree(tmp_path, "ucf101", classes=4)
    write_tree(tmp_path, "sun397", classes=4)
    assert read("ucf101")[1][-1] == ("Yo_Yo/v_YoYo_g08_c01.jpg", 3, "Yo_Yo")
    assert read("sun397")[1][-1] == ("c/church/outdoor/sun_8.jpg", 3, "outdoor church")


TEXT = {
    ("oxford_pets", "annotations/test.txt"): {
        "Abyssinian_1 1 1": "line 1: 'Abyssinian_1 1 1' is not of the form 'Abyssinian_100 1 1 1'",
        "Abyssinian_1 0 1 1": "line 1: 'Abyssinian_1 0 1 1' is not",
    },
    ("sun397", "ClassName.txt"): {"abbey": "line 1: 'abbey' is not of the form '/c/church/indoor'"},
    ("sun397", "Training_01.txt"): {
        "/a/abbey/sun_1.jpg\n/a/abey/sun_1.jpg": r"line 2: 'a/abey' is not in .*ClassName\.txt",
        "/a": "line 1: '/a' is not of the form",
    },
    ("ucf101", "ucfTrainTestlist/classInd.txt"): {
        "0 YoYo": "line 1: '0 YoYo' is not of the form '4 BabyCrawling'"
    },
    ("ucf101", "ucfTrainTestlist/testlist01.txt"): {
        "JoJo/v_JoJo_g01_c01.avi": r"line 1: 'JoJo' is not in .*classInd\.txt",
        "YoYo/v_YoYo_g01_c01.jpg": "line 1: 'YoYo/v_YoYo_g01_c01.jpg' is not of the form",
    },
}


@pytest.mark.parametrize(
    ("name", "file", "content", "words"),
    [(*where, content, words) for where, cases in TEXT.items() for content, words in cases.items()],
)
def test_lines_that_cannot_be_used(tmp_path, read, name, file, content, words):
    (write_tree(tmp_path, name) / file).write_text(content)
    with pytest.raises(ValueError, match=words):
        read(name)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        *TEXT,
        ("oxford_pets", "annotations/trainval.txt"),
        ("stanford_cars", "devkit/cars_meta.mat"),
        ("stanford_cars", "devkit/cars_train_annos.mat"),
        ("stanford_cars", "cars_test_annos_withlabels.mat"),
        ("oxford_flowers", "imagelabels.mat"),
        ("oxford_flowers", "cat_to_name.json"),
    ],
)
def test_missing_files_are_named(tmp_path, read, name, file):
    (write_tree(tmp_path, name) / file).unlink()
    with pytest.raises(ValueError, match=rf"{file} is missing; get it from "):
        read(name)


@pytest.mark.parametrize("damage", [b"", b"MATLAB 5.0", "cut"])
def test_damaged_mat_files(tmp_path, read, damage):
    path = write_tree(tmp_path, "oxford_flowers") / "imagelabels.mat"
    path.write_bytes(path.read_bytes()[:150] if damage == "cut" else damage)
    with pytest.raises(ValueError, match=r"imagelabels\.mat cannot be read .*get it from example"):
        read("oxford_flowers")


def test_a_damaged_file_that_crashes_scipy_is_an_error(tmp_path, read):
    folder = write_tree(tmp_path, "stanford_cars")
    meta = folder / "devkit" / "cars_meta.mat"
    entries = np.zeros(2, dtype=[("fname", object), ("class", object)])
    entries[:] = [("1.jpg", 1), ("2.jpg", 2)]
    savemat(meta, {"class_names": entries[None]})
    content = bytearray(meta.read_bytes())
    content[252] ^= 1
    meta.write_bytes(content)
    with pytest.raises(ValueError, match=r"cars_meta\.mat cannot be read .*get it from "):
        read("stanford_cars")


def test_mat_files_without_what_is_needed(tmp_path, read):
    folder = write_tree(tmp_path, "stanford_cars")
    test = folder / "cars_test_annos_withlabels.mat"
    unlabeled = np.array([(1, "00001.jpg")], dtype=[("bbox_x1", "O"), ("fname", "O")])
    savemat(test, {"annotations": unlabeled[None]})
    with pytest.raises(ValueError, match=r"withlabels\.mat: annotations\[0\] has no class and fn"):
        read("stanford_cars")
    labeled = np.array([(5, "00001.jpg")], dtype=[("class", "O"), ("fname", "O")])
    savemat(test, {"annotations": labeled[None]})
    with pytest.raises(ValueError, match=r"annotations\[0\] is of class 5; .* names 1 to 4"):
        read("stanford_cars")
    savemat(test, {"other": labeled})
    with pytest.raises(ValueError, match=r"withlabels\.mat has no array 'annotations'"):
        read("stanford_cars")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", r"cat_to_name\.json: not JSON"),
        ("[]", r"cat_to_name\.json holds a list, not"),
        ('{"1": "rose"}', "has no name for class 2, that of image "),
    ],
)
def test_flower_names_that_cannot_be_used(tmp_path, read, content, words):
    (write_tree(tmp_path, "oxford_flowers") / "cat_to_name.json").write_text(content)
    with pytest.raises(ValueError, match=words):
        read("oxford_flowers")


@pytest.mark.parametrize("value", ["rose", 1.5, float("nan"), float("inf"), [1, 2]])
def test_classes_that_are_no_whole_numbers_are_named(tmp_path, read, value):
    folder = write_tree(tmp_path, "oxford_flowers")
    labels = np.array([1.0, 2.0], dtype=object)
    labels[1] = value
    savemat(folder / "imagelabels.mat", {"labels": labels})
    with pytest.raises(ValueError, match=r"imagelabels\.mat: image 2 has the class"):
        read("oxford_flowers")
