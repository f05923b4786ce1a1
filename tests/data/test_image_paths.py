"""Files, folders and patterns as users give them."""

import os

import pytest

from open_clip_mmrl.data.image_paths import image_paths


@pytest.fixture
def tree(tmp_path, monkeypatch, write_image):
    """Images in nested folders, with what file managers and people leave there."""
    for name in ("b.png", "a.JPG", "sub/deep/c.webp", "sub/d.png"):
        write_image(tmp_path / "photos" / name)
    write_image(tmp_path / "photos" / "e.png").rename(tmp_path / "photos" / "no suffix")
    for name in (".DS_Store", "Thumbs.db", "sub/notes.txt", "read me"):
        (tmp_path / "photos" / name).write_text("text")
    for name in ("__MACOSX", "empty", ".hidden"):
        (tmp_path / "photos" / name).mkdir()
    write_image(tmp_path / "photos" / "__MACOSX" / "x.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(found):
    return [path.as_posix() for path in found.images]


ALL = ["a.JPG", "b.png", "no suffix", "sub/d.png", "sub/deep/c.webp"]


def test_a_folder_stands_for_all_images_below_it(tree):
    found = image_paths(["photos"])
    assert names(found) == [f"photos/{name}" for name in ALL] and not found.missing
    (note,) = found.notes
    assert "ignored 4 hidden or system files and 2 files: " in note
    assert "read me" in note and "sub/notes.txt" in note


def test_an_empty_path_is_not_the_current_folder(tree):
    found = image_paths(["", "photos/b.png"])
    assert names(found) == ["photos/b.png"] and "path is empty" in found.missing[""]


def test_files_are_taken_whatever_they_are_called(tree):
    found = image_paths(["photos/sub/notes.txt", "photos/.DS_Store"])
    assert names(found) == ["photos/sub/notes.txt", "photos/.DS_Store"] and not found.notes


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.png", ["photos/b.png"]),
        ("photos/**/*.png", ["photos/b.png", "photos/sub/d.png"]),
        ("photos/s*", ["photos/sub/d.png", "photos/sub/deep/c.webp"]),
        ("photos/[ab].*", ["photos/a.JPG", "photos/b.png"]),
    ],
)
def test_patterns(tree, pattern, expected):
    found = image_paths([pattern])
    assert names(found) == expected and not found.missing


def test_a_file_whose_name_is_a_pattern(tree, write_image):
    write_image(tree / "img[1].png")
    write_image(tree / "img1.png")
    assert names(image_paths(["img[1].png"])) == ["img[1].png"]


def test_each_image_once_in_the_order_given(tree):
    given = ["photos/sub/d.png", "./photos/b.png", "photos", str(tree / "photos" / "b.png")]
    expected = ["photos/sub/d.png", "photos/b.png", "photos/a.JPG", "photos/no suffix"]
    assert names(image_paths(given)) == [*expected, "photos/sub/deep/c.webp"]


def test_what_holds_no_image_is_named_and_the_rest_is_found(tree):
    found = image_paths(["gone.png", "photos/b.png", "*.gif", "photos/empty", "x" * 5000, "a\0b"])
    assert names(found) == ["photos/b.png"]
    assert found.missing["gone.png"] == "it does not exist"
    assert found.missing["*.gif"] == "no file matches it"
    assert found.missing["photos/empty"] == "it holds no images"
    assert len(found.missing) == 5


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_links_are_followed_and_circles_end(tree, write_image):
    write_image(tree / "elsewhere" / "z.png")
    (tree / "photos" / "linked").symlink_to(tree / "elsewhere")
    (tree / "photos" / "sub" / "circle").symlink_to(tree / "photos")
    (tree / "photos" / "gone.png").symlink_to(tree / "nothing.png")
    found = image_paths(["photos"])
    assert names(found) == sorted([f"photos/{name}" for name in [*ALL, "linked/z.png"]])
    assert "gone.png" in found.notes[0]


def test_a_home_folder_is_expanded(tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree))
    assert len(image_paths(["~/photos", "~/photos/*.png"]).images) == len(ALL)
