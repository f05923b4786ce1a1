from collections import Counter

import numpy as np
import pytest
from helpers.trees import ground, write_tree

from open_clip_mmrl.data import load_data, read_image
from open_clip_mmrl.data.coop.catalog import CATALOG
from open_clip_mmrl.data.coop.read import split_origin

CONTENT = {
    "train": [["x/a.jpg", 0, "tabby_cat"], ["x/b.jpg", 1, "dog"], ["x/c.jpg", 0, "tabby_cat"]],
    "val": [["y/d.png", 1, "dog"]],
    "test": [["y/e.webp", 0, "tabby_cat"]],
}
# As the released runs expect them: folder, images, prompt, and the first two class names.
EXPECTED = {
    "imagenet": ("imagenet", "images/train", "a photo of a {}.", "tench", "goldfish"),
    "caltech101": (
        "caltech-101",
        "101_ObjectCategories",
        "a photo of a {}.",
        "face",
        "leopard",
    ),
    "oxford_pets": (
        "oxford_pets",
        "images",
        "a photo of a {}, a type of pet.",
        "abyssinian",
        "american_bulldog",
    ),
    "stanford_cars": (
        "stanford_cars",
        "cars_train",
        "a photo of a {}.",
        "2001 Acura Integra Type R",
        "2012 Audi TT RS Coupe",
    ),
    "oxford_flowers": (
        "oxford_flowers",
        "jpg",
        "a photo of a {}, a type of flower.",
        "pink primrose",
        "hard-leaved pocket orchid",
    ),
    "food101": ("food-101", "images", "a photo of {}, a type of food.", "apple_pie", "baklava"),
    "fgvc_aircraft": (
        "fgvc_aircraft",
        "images",
        "a photo of a {}, a type of aircraft.",
        "707-320",
        "A340-300",
    ),
    "sun397": ("sun397", "SUN397", "a photo of a {}.", "abbey", "indoor apse"),
    "dtd": ("dtd", "images", "{} texture.", "banded", "dotted"),
    "eurosat": (
        "eurosat",
        "2750",
        "a centered satellite photo of {}.",
        "Annual Crop Land",
        "Forest",
    ),
    "ucf101": (
        "ucf101",
        "UCF-101-midframes",
        "a photo of a person doing {}.",
        "Apply_Eye_Makeup",
        "Baby_Crawling",
    ),
    "imagenetv2": (
        "imagenetv2",
        "imagenetv2-matched-frequency-format-val",
        "a photo of a {}.",
        "tench",
        "goldfish",
    ),
    "imagenet_sketch": ("imagenet-sketch", "images", "a photo of a {}.", "tench", "goldfish"),
    "imagenet_a": (
        "imagenet-adversarial",
        "imagenet-a",
        "a photo of a {}.",
        "tench",
        "goldfish",
    ),
    "imagenet_r": ("imagenet-rendition", "imagenet-r", "a photo of a {}.", "tench", "goldfish"),
}
SPLIT = [name for name, entry in CATALOG.items() if entry.labels == "split file"]


def test_every_known_name_is_tested():
    assert list(EXPECTED) == list(CATALOG)


@pytest.mark.parametrize("name", EXPECTED)
def test_known_names(tmp_path, name):
    folder, images, template, *first_names = EXPECTED[name]
    write_tree(tmp_path, name, classes=4)
    data = load_data(f"coop:{name}", data_root=tmp_path)
    assert (data.spec, data.template) == (f"coop:{name}", template)
    assert data.class_names[:2] == tuple(first_names)
    per_class = {
        "train": 4 if CATALOG[name].family == "few-shot" else 0,
        "val": 2 if CATALOG[name].labels != "folders" else 0,
        "test": 3,
    }
    for split, count in per_class.items():
        labels = Counter(example.label for example in getattr(data, split))
        assert labels == (dict.fromkeys(range(4), count) if count else {}), split
    assert tmp_path / folder / images in (data.train or data.test)[0].image.parents
    for split in (data.train, data.val, data.test):
        for example in split:
            color = np.asarray(read_image(example))[0, 0]
            assert np.abs(color - ground(example.label)).max() < 40  # JPEG blurs
    # The folder's name means the same data set, with the same prompt.
    assert load_data(f"coop:{folder}", data_root=str(tmp_path)).template == template


@pytest.mark.parametrize("name", SPLIT)
def test_without_the_split_file_one_is_drawn(tmp_path, name):
    folder = write_tree(tmp_path, name, classes=5, split_file=False)
    data = load_data(f"coop:{name}", data_root=tmp_path)
    assert split_origin(name, tmp_path) == "drawn"
    assert not list(folder.glob("split_*.json")), "it must not be taken for the published one"
    splits = [data.train, data.val, data.test]
    assert all({example.label for example in split} == set(range(5)) for split in splits)
    for split in splits:
        for example in split:
            color = np.asarray(read_image(example))[0, 0]
            assert np.abs(color - ground(example.label)).max() < 40
    write_tree(tmp_path, name, classes=5)
    assert split_origin(name, tmp_path) == "published file"
    assert load_data(f"coop:{name}", data_root=tmp_path).class_names == data.class_names


def test_origin_where_there_is_no_split_file(tmp_path):
    write_tree(tmp_path, "fgvc_aircraft")
    assert split_origin("fgvc_aircraft", tmp_path) == "published file"
    assert split_origin("imagenet_a", tmp_path) == "folders"
    with pytest.raises(ValueError, match=r"birds is not one .*They are: imagenet, caltech101"):
        split_origin("birds", tmp_path)
    with pytest.raises(ValueError, match=r"coop:dtd: no folder"):
        split_origin("dtd", tmp_path)


@pytest.mark.parametrize("images", ["", "pictures"])
def test_any_other_folder_with_one_split_file(tmp_path, write_split, images):
    write_split(tmp_path / "birds" / "split_mine.json", tmp_path / "birds" / images, CONTENT)
    (tmp_path / "birds" / "annotations").mkdir()
    data = load_data("coop:birds", data_root=tmp_path)
    assert data.train[0].image == tmp_path / "birds" / images / "x" / "a.jpg"
    assert data.template == "a photo of a {}."


def test_a_test_split_alone_is_enough_to_evaluate(tmp_path, write_split):
    rows = [["a.png", 0, "cat"], ["b.png", 1, "dog"]]
    content = {"train": [], "val": [], "test": rows}
    write_split(tmp_path / "shifted" / "split_1.json", tmp_path / "shifted" / "images", content)
    data = load_data("coop:shifted", data_root=tmp_path)
    assert (len(data.train), len(data.test)) == (0, 2)


def test_other_missing_images_are_named_when_read(tmp_path, write_split):
    write_split(tmp_path / "birds" / "split_1.json", tmp_path / "birds", CONTENT)
    (tmp_path / "birds" / "x" / "c.jpg").unlink()
    data = load_data("coop:birds", data_root=tmp_path)
    with pytest.raises(ValueError, match=r"c\.jpg does not exist"):
        read_image(data.train[2])


def test_data_root_is_needed():
    with pytest.raises(ValueError, match=r"coop:dtd needs data_root .*--data-root"):
        load_data("coop:dtd")


def test_data_root_must_exist(tmp_path):
    with pytest.raises(ValueError, match=r"data_root .*nowhere does not exist"):
        load_data("coop:dtd", data_root=tmp_path / "nowhere")


def test_missing_folder_of_a_known_name(tmp_path):
    with pytest.raises(ValueError, match=r"coop:caltech101: no folder .*caltech-101; put") as error:
        load_data("coop:caltech101", data_root=tmp_path)
    assert "(in it: caltech-101/101_ObjectCategories/, caltech-101/split_zhou" in str(error.value)
    with pytest.raises(ValueError, match=r"coop:imagenet_r: no folder .*imagenet-rendition; put"):
        load_data("coop:imagenet_r", data_root=tmp_path)


def test_unknown_names_get_near_ones_from_the_known_and_the_present(tmp_path):
    (tmp_path / "my_birds").mkdir()
    with pytest.raises(
        ValueError, match=r"Did you mean oxford_pets or .*Known: imagenet, caltech101"
    ):
        load_data("coop:Oxford_Pet", data_root=tmp_path)
    with pytest.raises(ValueError, match=r"Did you mean my_birds\?.*folders there: my_birds"):
        load_data("coop:mybirds", data_root=tmp_path)
    with pytest.raises(ValueError, match="not a known name, nor a folder of") as error:
        load_data("coop:zzz", data_root=tmp_path)
    assert "Did you mean" not in str(error.value)


def test_other_names_need_exactly_one_split_file(tmp_path, write_split):
    folder = tmp_path / "birds"
    folder.mkdir()
    with pytest.raises(
        ValueError, match=r"birds must hold exactly one file split_\*\.json; .*none"
    ):
        load_data("coop:birds", data_root=tmp_path)
    write_split(folder / "split_1.json", folder, CONTENT)
    write_split(folder / "split_2.json", folder, CONTENT)
    with pytest.raises(ValueError, match=r"it holds 2: split_1\.json, split_2\.json"):
        load_data("coop:birds", data_root=tmp_path)


def test_first_image_missing(tmp_path, write_split):
    write_split(tmp_path / "dtd" / "split_zhou_DescribableTextures.json", tmp_path, CONTENT)
    with pytest.raises(
        ValueError, match=r"the first image listed, .*a\.jpg, does not exist; unpack"
    ):
        load_data("coop:dtd", data_root=tmp_path)
    write_split(tmp_path / "birds" / "split_1.json", tmp_path, CONTENT)
    (tmp_path / "birds" / "pictures").mkdir()
    with pytest.raises(ValueError, match=r"x/a\.jpg, is neither in .*\(pictures\)"):
        load_data("coop:birds", data_root=tmp_path)


def test_first_image_in_two_folders(tmp_path, write_split):
    folder = tmp_path / "birds"
    write_split(folder / "split_1.json", folder / "small", CONTENT)
    write_split(folder / "split_1.json", folder / "large", CONTENT)
    with pytest.raises(ValueError, match=r"is in more than one folder: .*large, .*small; keep"):
        load_data("coop:birds", data_root=tmp_path)
