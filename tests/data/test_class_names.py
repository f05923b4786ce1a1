import pytest

from open_clip_mmrl.data.class_names import read_class_names

NAMES = {"n01": "tench", "n02": "great white shark"}


@pytest.mark.parametrize(
    "content",
    [
        b"n01: tench\nn02: great white shark\n",
        b"\xef\xbb\xbf---\r\n# fish\r\n\r\n\"n01\": 'tench'  # small\r\nn02:great white shark\r\n",
        b'\xef\xbb\xbf{"n01": "tench", "n02": "great white shark"}',
    ],
)
def test_lines_and_json_give_the_same_names(tmp_path, content):
    (tmp_path / "names.txt").write_bytes(content)
    assert read_class_names(tmp_path / "names.txt", ["n01", "n02"]) == NAMES


def test_all_that_is_wrong_is_listed_at_once(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("n01: tench\nn01: pike\nn02: pike\nnonsense\nn09: eel\n")
    with pytest.raises(ValueError, match=r"names\.txt") as error:
        read_class_names(file, ["n01", "n02", "n03"])
    for part in (
        "line 4 is 'nonsense'", "folders named twice: n01", "no class folder n09",
        "without a name: n03", "several classes: pike",
    ):  # fmt: skip
        assert part in str(error.value)


@pytest.mark.parametrize("content", [b"{n01: tench}", b"\xff\xfe", b'{"n01": 3, "n02": "b"}'])
def test_what_cannot_be_read_is_refused(tmp_path, content):
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"no JSON object|no text"):
        read_class_names(tmp_path / "names.txt", ["n01", "n02"])
