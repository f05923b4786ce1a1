import pytest

from open_clip_mmrl.data.coop.lines import read_lines, require


def test_lines_with_their_places(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffcat 1\r\n\r\n  dog 2  \nÉlan 3".encode())
    assert read_lines(path, r"(\w+) (\d)", "cat 1", "example.org") == [
        (f"{path}, line 1", ("cat", "1")),
        (f"{path}, line 3", ("dog", "2")),
        (f"{path}, line 4", ("Élan", "3")),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"list\.txt is missing; get it from example\.org and put it there"),
        (b"cat 1\ndog\n", r"list\.txt, line 2: 'dog' is not of the form 'cat 1'"),
        (b"cat 1 2\n", r"line 1: 'cat 1 2' is not of the form"),
        (b"\n \n", r"list\.txt has no lines; each should be 'cat 1'"),
        (b"\xff\xfe\x00", r"list\.txt is not UTF-8 text .*; get it from example\.org"),
    ],
)
def test_lines_that_cannot_be_read(tmp_path, content, words):
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_lines(tmp_path / "list.txt", r"(\w+) (\d)", "cat 1", "example.org")


def test_a_path_that_exists_is_returned(tmp_path):
    assert require(tmp_path, "example.org") == tmp_path
    with pytest.raises(ValueError, match=r"images is missing; get it from example\.org"):
        require(tmp_path / "images", "example.org")
