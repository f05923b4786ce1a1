import pytest

from open_clip_mmrl.data import load_data, read_image
from open_clip_mmrl.data.coop import LAYOUTS

CONTENT = {
    "train": [["x/a.jpg", 0, "tabby_cat"], ["x/b.jpg", 1, "dog"], ["x/c.jpg", 0, "tabby_cat"]],
    "val": [["y/d.png", 1, "dog"]],
    "test": [["y/e.webp", 0, "tabby_cat"]],
}
# As the released runs expect them: folder, images, split file, prompt.
EXPECTED = {
    "caltech101": ("caltech-101", "101_ObjectCategories", "Caltech101", "a photo of a {}."),
    "oxford_pets": ("oxford_pets", "images", "OxfordPets", "a photo of a {}, a type of pet."),
    "stanford_cars": ("stanford_cars", "", "StanfordCars", "a photo of a {}."),
    "oxford_flowers": (
        "oxford_flowers",
        "jpg",
        "OxfordFlowers",
        "a photo of a {}, a type of flower.",
    ),
    "food101": ("food-101", "images", "Food101", "a photo of {}, a type of food."),
    "sun397": ("sun397", "SUN397", "SUN397", "a photo of a {}."),
    "dtd": ("dtd", "images", "DescribableTextures", "{} texture."),
    "eurosat": ("eurosat", "2750", "EuroSAT", "a centered satellite photo of {}."),
    "ucf101": ("ucf101", "UCF-101-midframes", "UCF101", "a photo of a person doing {}."),
}


def test_every_known_name_is_tested():
    assert set(EXPECTED) == set(LAYOUTS)


@pytest.mark.parametrize("name", EXPECTED)
def test_known_names(tmp_path, write_split, name):
    folder, images, split, template = EXPECTED[name]
    write_split(tmp_path / folder / f"split_zhou_{split}.json", tmp_path / folder / images, CONTENT)
    data = load_data(f"coop:{name}", data_root=tmp_path)
    assert (data.spec, data.template) == (f"coop:{name}", template)
    assert data.class_names == ("tabby_cat", "dog")
    assert [example.label for example in data.train] == [0, 1, 0]
    assert [example.label for example in data.val + data.test] == [1, 0]
    assert data.train[0].image == tmp_path / folder / images / "x" / "a.jpg"
    assert read_image(data.test[0]).size == (6, 4)
    # The folder's name means the same data set, with the same prompt.
    assert load_data(f"coop:{folder}", data_root=str(tmp_path)).template == template


@pytest.mark.parametrize("images", ["", "pictures"])
def test_any_other_folder_with_one_split_file(tmp_path, write_split, images):
    write_split(tmp_path / "birds" / "split_mine.json", tmp_path / "birds" / images, CONTENT)
    (tmp_path / "birds" / "annotations").mkdir()
    data = load_data("coop:birds", data_root=tmp_path)
    assert data.train[0].image == tmp_path / "birds" / images / "x" / "a.jpg"
    assert data.template == "a photo of a {}."


def test_published_prompt_where_the_layout_is_the_users_own(tmp_path, write_split):
    folder = tmp_path / "fgvc_aircraft"
    write_split(folder / "split_mine.json", folder / "images", CONTENT)
    data = load_data("coop:fgvc_aircraft", data_root=tmp_path)
    assert data.template == "a photo of a {}, a type of aircraft."


def test_a_test_part_alone_is_enough_to_evaluate(tmp_path, write_split):
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
    with pytest.raises(ValueError, match=r"coop:caltech101: no folder .*caltech-101; put"):
        load_data("coop:caltech101", data_root=tmp_path)


def test_unknown_names_get_near_ones_from_the_known_and_the_present(tmp_path):
    (tmp_path / "my_birds").mkdir()
    with pytest.raises(ValueError, match=r"Did you mean oxford_pets or .*Known: caltech101"):
        load_data("coop:Oxford_Pet", data_root=tmp_path)
    with pytest.raises(ValueError, match=r"Did you mean my_birds\?.*folders there: my_birds"):
        load_data("coop:mybirds", data_root=tmp_path)
    with pytest.raises(ValueError, match="not a known name, nor a folder of") as error:
        load_data("coop:imagenet", data_root=tmp_path)
    assert "Did you mean" not in str(error.value)


def test_missing_split_file_of_a_known_name(tmp_path):
    (tmp_path / "dtd").mkdir()
    with pytest.raises(ValueError, match=r"no split file .*split_zhou_DescribableTextures\.json"):
        load_data("coop:dtd", data_root=tmp_path)


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
    with pytest.raises(ValueError, match=r"the first image of .*a\.jpg, does not exist; unpack"):
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
