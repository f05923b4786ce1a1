import os
from pathlib import Path

import pytest

from open_clip_mmrl.data.folders import class_folders, image_names, read_class_folder


def test_folders_and_images_are_sorted_and_others_skipped(tmp_path, write_image):
    for name in ("b/2.JPEG", "b/1.png", "b/10.jpg", "b/.hidden.jpg", "a/1.webp", ".git/1.png"):
        write_image(tmp_path / name)
    (tmp_path / "README.txt").touch()
    (tmp_path / "b" / "notes.txt").touch()
    (tmp_path / "b" / "a folder.png").mkdir()
    assert class_folders(tmp_path, "") == ["a", "b"]
    assert image_names(tmp_path / "b") == ["1.png", "10.jpg", "2.JPEG"]


def test_linked_folders_and_images_count(tmp_path, write_image):
    image = write_image(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "elsewhere" / "2.png").symlink_to(image)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere")
    assert class_folders(tmp_path / "data", "") == ["cat"]
    assert image_names(tmp_path / "data" / "cat") == ["1.png", "2.png"]


def test_empty_folders_are_named_with_the_remedy(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path} holds no class folders; unpack it"):
        class_folders(tmp_path, "unpack it")
    with pytest.raises(
        ValueError, match=rf"class folder {tmp_path} holds no images; add them, or remove"
    ):
        image_names(tmp_path)


def test_images_are_known_by_their_suffix_or_else_by_their_content(tmp_path, write_image):
    content = write_image(tmp_path / "a.png").read_bytes()
    names = ["b.jfif", "c.JPE", "d.avif", "e.jp2", "scan", "scan.old", "scan.2"]
    for name in names:
        (tmp_path / name).write_bytes(content)
    for name in ("notes.txt", "clip.mp4", "empty", "letter.ps"):
        (tmp_path / name).write_bytes(b"%!PS" if name == "letter.ps" else b"x" * (name != "empty"))
    found = read_class_folder(tmp_path)
    assert found.images == sorted(["a.png", *names])
    assert found.ignored == ["clip.mp4", "empty", "letter.ps", "notes.txt"]


def test_what_is_ignored_is_named_and_the_litter_of_file_managers_is_not(tmp_path, write_image):
    for name in ("a.png", "deeper/b.png", "deeper/still/c.png", "__MACOSX/d.png", ".git/e.png"):
        write_image(tmp_path / name)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.png", "deeper/.DS_Store"):
        (tmp_path / name).touch()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = read_class_folder(tmp_path)
    assert found.images == ["a.png"]
    assert found.ignored == [
        "circle.png (a broken link)", "deeper/b.png", "deeper/still/c.png",
        "gone.png (a broken link)", "pipe.png",
    ]  # fmt: skip


def test_a_folder_of_other_files_says_what_is_there(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"holds no images, only film\.mp4; add them"):
        read_class_folder(tmp_path)


def test_names_that_are_not_utf_8_are_kept_for_files_and_refused_for_classes(tmp_path, write_image):
    content = write_image(tmp_path / "b.png").read_bytes()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.png")).write_bytes(content)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.txt")).write_bytes(b"x")
    found = read_class_folder(tmp_path)
    assert found.images == ["a\udcff.png", "b.png"] and found.ignored == [r"a\udcff.txt"]
    (tmp_path / "caf\udce9").mkdir()
    with pytest.raises(ValueError, match=r"not UTF-8 text: caf\\udce9; rename"):
        class_folders(tmp_path, "")
