import pytest

from open_clip_mmrl.data.coop.tree import class_folders, image_names, read_lines, require


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


def test_folders_and_images_are_sorted_and_others_passed_over(tmp_path, write_image):
    for name in ("b/2.JPEG", "b/1.png", "b/10.jpg", "b/.hidden.jpg", "a/1.webp", ".git/1.png"):
        write_image(tmp_path / name)
    (tmp_path / "README.txt").touch()
    (tmp_path / "b" / "notes.txt").touch()
    assert class_folders(tmp_path, "example.org") == ["a", "b"]
    assert image_names(tmp_path / "b") == ["1.png", "10.jpg", "2.JPEG"]


def test_linked_class_folders_count(tmp_path, write_image):
    write_image(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere")
    assert class_folders(tmp_path / "data", "example.org") == ["cat"]
    assert image_names(tmp_path / "data" / "cat") == ["1.png"]


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(ValueError, match=r"images is missing; get it from example\.org"):
        class_folders(tmp_path / "images", "example.org")
    with pytest.raises(ValueError, match="holds no class folders; unpack the images of example"):
        class_folders(tmp_path, "example.org")
    with pytest.raises(ValueError, match=r"class folder .* holds no images \(\.bmp, .*unpack"):
        image_names(tmp_path)
    assert require(tmp_path, "example.org") == tmp_path
