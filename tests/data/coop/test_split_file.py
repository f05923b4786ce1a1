import json

import pytest

from open_clip_mmrl.data.coop.split_file import read_split_file

ROWS = [["a.png", 0, "cat"], ["b.png", 1, "dog"]]


@pytest.fixture
def split_file(tmp_path):
    def write(content):
        path = tmp_path / "split.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_rows_and_names_by_label(split_file):
    splits, class_names = read_split_file(
        split_file({"train": ROWS[::-1], "val": ROWS[:1], "test": [["c.png", 2, "Élan"]]})
    )
    assert splits == {
        "train": [("b.png", 1, "dog"), ("a.png", 0, "cat")],
        "val": [("a.png", 0, "cat")],
        "test": [("c.png", 2, "Élan")],
    }
    assert class_names == ("cat", "dog", "Élan")


def test_val_may_be_left_out(split_file):
    assert read_split_file(split_file({"train": ROWS, "test": []}))[0]["val"] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "split.json: not JSON"),
        ([], "holds a list; a split file is"),
        ({"train": ROWS}, "has no key 'test'"),
        ({"test": ROWS}, "has no key 'train'"),
        ({"train": {}, "test": ROWS}, "'train' is not a list"),
        ({"train": ROWS, "test": [*ROWS, ["c.png", 1]]}, r"'test', row 2 is \['c.png', 1\], not"),
        ({"train": [["a.png", "0", "cat"]], "test": []}, "'train', row 0 is .*not .path, label"),
        ({"train": [["a.png", True, "cat"]], "test": []}, "'train', row 0"),
        ({"train": [7], "test": []}, "'train', row 0 is 7"),
        (
            {"train": ROWS, "val": [["c.png", 1, "hound"]], "test": []},
            "'val', row 0: label 1 is named 'hound' here and 'dog' before",
        ),
        ({"train": [], "test": []}, "lists no images"),
        (
            {"train": [["a.png", 1, "cat"], ["b.png", 2, "dog"]], "test": []},
            "2 classes must have the labels 0 to 1, but they are 1, 2",
        ),
    ],
)
def test_errors(split_file, content, words):
    with pytest.raises(ValueError, match=words):
        read_split_file(split_file(content))


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    content = {"train": ROWS, "test": ROWS}
    (tmp_path / "split.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    assert read_split_file(tmp_path / "split.json")[1] == ("cat", "dog")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"train": ' * 900, "\udcff", "1" * 5000])
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / "split.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"split\.json"):
        read_split_file(tmp_path / "split.json")


def test_a_long_or_deep_row_is_named_in_few_words(split_file):
    deep = json.loads("[" * 40 + "]" * 40)
    for row in (deep, ["a" * 10_000], list(range(10_000))):
        with pytest.raises(ValueError, match="row 0 is") as error:
            read_split_file(split_file({"train": [row], "test": []}))
        assert len(str(error.value)) < 500
