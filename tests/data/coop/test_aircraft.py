import pytest
from helpers.trees import write_tree

from open_clip_mmrl.data import load_data


@pytest.fixture
def folder(tmp_path):
    return write_tree(tmp_path, "fgvc_aircraft", classes=4)


def load(folder):
    return load_data("coop:fgvc_aircraft", data_root=folder.parent)


def test_splits_are_those_of_the_lists_and_labels_those_of_variants(folder):
    (folder / "images_variant_val.txt").write_text("0020000 DC-10\n0030001 F/A-18\n0000000 707-320")
    data = load(folder)
    assert data.class_names == ("707-320", "A340-300", "DC-10", "F/A-18")
    assert [example.label for example in data.val] == [2, 3, 0]
    assert data.val[1].image == folder / "images" / "0030001.jpg"
    assert (len(data.train), len(data.test)) == (16, 12)


def test_a_variant_may_have_no_images_in_a_split(folder):
    lines = (folder / "images_variant_test.txt").read_text().splitlines()
    (folder / "images_variant_test.txt").write_text("\n".join(lines[:5]))
    assert load(folder).num_classes == 4


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("variants.txt", None, r"variants\.txt is missing; get it from .*fgvc-aircraft"),
        ("variants.txt", "707-320\n707-320\nDC-10\nF/A-18\nA340-300", "names repeated: 707-320"),
        ("images_variant_val.txt", None, r"images_variant_val\.txt is missing; get it"),
        ("images_variant_val.txt", "", r"images_variant_val\.txt has no lines"),
        ("images_variant_val.txt", "0034309", r"val\.txt, line 1: '0034309' is not of the form"),
        (
            "images_variant_test.txt",
            "0034309 707-320\n0034309 DC-11",
            r"test\.txt, line 2: 'DC-11' is not in .*variants\.txt\. Did you mean DC-10\?",
        ),
        ("images_variant_train.txt", "9 DC-10", r"the first image listed, .*9\.jpg, does not exis"),
    ],
)
def test_errors(folder, file, content, words):
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(ValueError, match=words):
        load(folder)
