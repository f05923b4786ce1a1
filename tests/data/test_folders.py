import pytest

from open_clip_mmrl.data.folders import class_folders, image_names


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
        ValueError, match=rf"class folder {tmp_path} holds no images \(\.bmp, .*add"
    ):
        image_names(tmp_path)
