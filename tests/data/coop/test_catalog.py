import pytest

from open_clip_mmrl.data.coop.catalog import CATALOG, find_entry, names
from open_clip_mmrl.data.prompts import parse_template

# Images per data set as its authors give them (Caltech101 without the two folders that are left
# out), to hold the sums of the paper's table against.
TOTALS = {
    "imagenet": 1_281_167 + 50_000,
    "caltech101": 9144 - 467 - 435,
    "oxford_pets": 37 * 200 - 51,
    "stanford_cars": 16_185,
    "oxford_flowers": 8189,
    "food101": 101 * 1000,
    "fgvc_aircraft": 100 * 100,
    "sun397": 397 * 100,
    "dtd": 47 * 120,
    "eurosat": 27_000,
    "ucf101": 13_320,
    "imagenetv2": 1000 * 10,
    "imagenet_sketch": 50_889,
    "imagenet_a": 7500,
    "imagenet_r": 30_000,
}


@pytest.mark.parametrize("name", CATALOG)
def test_counts_add_up(name):
    entry = CATALOG[name]
    assert sum(entry.counts[1:]) == TOTALS[name]
    assert list(entry.sizes.values()) == list(entry.counts)
    assert entry.name == name and parse_template(entry.template) == entry.template


def test_families():
    assert len(names("few-shot")) == 11 and names("few-shot")[0] == "imagenet"
    assert names("domain shift") == ["imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r"]
    assert all(CATALOG[name].sizes["train"] == 0 for name in names("domain shift"))


def test_entries_are_found_by_name_and_by_folder():
    assert find_entry("food101") is find_entry("food-101") is CATALOG["food101"]
    assert find_entry("food") is None


def test_places_are_relative_to_the_data_root():
    assert CATALOG["imagenet"].places == (
        "imagenet/images/train/",
        "imagenet/images/val/",
        "imagenet/classnames.txt",
    )
    assert CATALOG["stanford_cars"].places == (
        "stanford_cars/cars_train/",
        "stanford_cars/cars_test/",
        "stanford_cars/split_zhou_StanfordCars.json",
    )
    assert CATALOG["dtd"].places == ("dtd/images/", "dtd/split_zhou_DescribableTextures.json")
