import shutil

import pytest
from helpers.trees import IMAGENET, write_tree

from open_clip_mmrl.data import load_data
from open_clip_mmrl.data.coop.catalog import CATALOG
from open_clip_mmrl.data.coop.imagenet import changed_names, naming_note, read_class_names

VARIANTS = {
    "imagenetv2": "imagenetv2/imagenetv2-matched-frequency-format-val",
    "imagenet_sketch": "imagenet-sketch/images",
    "imagenet_a": "imagenet-adversarial/imagenet-a",
    "imagenet_r": "imagenet-rendition/imagenet-r",
}


@pytest.fixture
def class_list(tmp_path):
    def write(*lines):
        path = tmp_path / "classnames.txt"
        path.write_text("\n".join(lines))
        return path

    return write


def load(root, name="imagenet"):
    return load_data(f"coop:{name}", data_root=root)


def test_train_and_val_folders_are_the_splits_for_training_and_testing(tmp_path):
    folder = write_tree(tmp_path, "imagenet", classes=3)
    data = load(tmp_path)
    assert [example.label for example in data.train] == [0] * 4 + [1] * 4 + [2] * 4
    assert data.train[4].image == folder / "images/train/n01443537/n01443537_0.JPEG"
    assert data.test[3].image == folder / "images/val/n01443537/n01443537_0.JPEG"
    assert data.val == ()


@pytest.mark.parametrize("name", VARIANTS)
def test_classes_are_those_that_have_a_folder(tmp_path, name):
    write_tree(tmp_path, name, classes=7)
    images = tmp_path / VARIANTS[name]
    for label in (0, 3):
        wnid = IMAGENET[label][0]
        shutil.rmtree(images / (str(label) if name == "imagenetv2" else wnid))
    data = load(tmp_path, name)
    # The second "missile" has its name even where the first has no images.
    kept = ("goldfish", "missile", "sunglasses", "dark glasses", "banana")
    assert data.class_names == kept
    assert [example.label for example in data.test] == [i for i in range(5) for _ in range(3)]
    first = IMAGENET[1][0]
    assert data.test[0].image.name == f"{first}_0.JPEG"


def test_numbers_of_v2_are_places_in_sorted_ids_however_the_list_is_sorted(tmp_path):
    folder = write_tree(tmp_path, "imagenetv2", classes=12)
    lines = (folder / "classnames.txt").read_text().splitlines()
    (folder / "classnames.txt").write_text("\n".join(lines[::-1]))
    data = load(tmp_path, "imagenetv2")
    assert data.class_names[:2] == ("tench", "goldfish") and data.class_names[10] == "kind 10"
    for example in data.test:  # "10" does not come before "2"
        wnid = example.image.name.split("_")[0]
        assert example.label == sorted(line.split()[0] for line in lines).index(wnid)


@pytest.mark.parametrize("name", VARIANTS)
def test_imagenets_own_list_stands_in_for_a_missing_copy(tmp_path, name):
    write_tree(tmp_path, "imagenet")
    copy = write_tree(tmp_path, name) / "classnames.txt"
    before = load(tmp_path, name).class_names
    copy.unlink()
    assert load(tmp_path, name).class_names == before
    (tmp_path / "imagenet" / "classnames.txt").unlink()
    with pytest.raises(
        ValueError, match=rf"coop:{name}: no file {copy} or .*imagenet/classnames\.txt; get it"
    ):
        load(tmp_path, name)


def test_the_second_of_two_classes_with_one_name_is_renamed(class_list, tmp_path):
    path = class_list(*(f"{wnid} {name}" for wnid, name in IMAGENET))
    names = read_class_names(path)
    assert list(names.items()) == [
        *IMAGENET[:3],
        ("n04008634", "projectile"),
        ("n04355933", "sunglasses"),
        ("n04356056", "dark glasses"),
        *IMAGENET[6:],
    ]


def test_names_repeated_in_lists_of_wordnets_first_words_are_changed_too(class_list):
    path = class_list(
        "n02012849 crane",
        "n03126707 crane",
        "n03710637 maillot",
        "n03710721 maillot",
        "n02113186 Cardigan",  # the dog; CLIP's tokenizer does not see capitals
        "n02963159 cardigan",
        "n03773504 missile",
        "n04008634 projectile",
    )
    assert list(read_class_names(path).values()) == [
        "crane",
        "construction crane",
        "maillot",
        "tank suit",
        "Cardigan Welsh corgi",
        "cardigan",
        "missile",
        "projectile",
    ]


def test_changed_names_of_the_classes_that_are_there(tmp_path):
    entry = CATALOG["imagenet"]
    folder = write_tree(tmp_path, "imagenet", classes=8)
    names = load(tmp_path).class_names
    missile, sunglasses = ("missile", "projectile"), ("sunglasses", "dark glasses")
    both = {"n04008634": missile, "n04356056": sunglasses}
    assert changed_names(entry, tmp_path, names) == both
    without = [name for name in names if name != "dark glasses"]
    assert changed_names(entry, tmp_path, without) == {"n04008634": missile}
    (folder / "classnames.txt").write_text("n03773504 missile\nn04008634 projectile\n")
    assert changed_names(entry, tmp_path, names) == {}


def test_the_note_needs_no_files():
    note = naming_note("imagenet")
    assert "'missile' (n04008634) is 'projectile'; 'sunglasses' (n04356056) is" in note
    assert "0.4" in note and "novel" in note
    assert naming_note("imagenetv2") == naming_note("imagenet_sketch") == note
    for name in ("imagenet_a", "imagenet_r", "dtd"):  # these lack one class of each pair
        assert naming_note(name) is None


def test_the_note_follows_the_changes_found():
    assert naming_note("imagenet", {}) is None
    note = naming_note("imagenet", {"n03126707": ("crane", "construction crane")})
    assert "'crane' (n03126707) is 'construction crane'" in note and "0.4" not in note


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["n01440764"], r"classnames\.txt, line 1: 'n01440764' is not of the form 'n01440764 ten"),
        (["n01440764 tench", "tench"], "line 2: 'tench' is not of the form"),
        (["n01440764 tench"] * 2, "line 2: n01440764 is there already, as 'tench'"),
        (
            ["n01440764 a fish", "n01443537 A_fish"],
            "n01440764 and n01443537 are both named 'A_fish', .*another name",
        ),
        (
            ["n04008634 missile", "n03773504 missile", "n01440764 projectile"],
            "n04008634 and n01440764 are both named 'projectile'",
        ),
    ],
)
def test_lists_that_cannot_be_used(class_list, lines, words):
    with pytest.raises(ValueError, match=words):
        read_class_names(class_list(*lines))


def test_folders_that_cannot_be_used(tmp_path, write_image):
    images = write_tree(tmp_path, "imagenet") / "images"
    write_image(images / "val" / "n99999999" / "1.JPEG")
    with pytest.raises(ValueError, match=r"val/n99999999 is of no known class; .*the ids in"):
        load(tmp_path)
    (images / "val" / "n99999999").rename(images / "val" / "n07753592")
    with pytest.raises(
        ValueError, match=r"images/train and .*images/val must hold the same .*n07753592"
    ):
        load(tmp_path)
    (images / "val" / "n07753592" / "1.JPEG").unlink()
    (images / "val" / "n07753592" / "1.txt").write_text("notes")
    shutil.copytree(images / "val" / "n07753592", images / "train" / "n07753592")
    with pytest.raises(ValueError, match=r"class folder .*train/n07753592 holds no images"):
        load(tmp_path)
    shutil.rmtree(images / "train")
    with pytest.raises(ValueError, match=r"images/train is missing; get it from .*image-net"):
        load(tmp_path)


@pytest.mark.parametrize("folder", ["8", "00", "-1", "n01440764"])
def test_folders_of_v2_that_are_no_label(tmp_path, write_image, folder):
    write_tree(tmp_path, "imagenetv2")
    write_image(tmp_path / VARIANTS["imagenetv2"] / folder / "1.jpeg")
    with pytest.raises(
        ValueError, match=rf"/{folder} is of no known class; .*by 0 to 7, places in"
    ):
        load(tmp_path, "imagenetv2")
