import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.shards import color, encoded
from PIL import EpsImagePlugin, Image
from torchvision.datasets import FakeData, ImageFolder

from open_clip_mmrl.data import Example, read_image
from open_clip_mmrl.data.example import DatasetItem, ShardImage


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.JPG", "a.bmp", "a.gif", "a.tiff", "a.ppm"])
def test_files_are_read_in_rgb(tmp_path, write_image, name):
    image = read_image(Example(image=write_image(tmp_path / name), label=0))
    assert (image.mode, image.size) == ("RGB", (6, 4))
    assert np.abs(np.asarray(image).astype(int) - (200, 30, 60)).max() <= 6  # lossy formats


def test_arrays_are_read_in_rgb():
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = read_image(Example(image=gray, label=0))
    assert (image.mode, image.size) == ("RGB", (4, 3))
    assert np.array_equal(np.asarray(image), np.stack([gray] * 3, axis=-1))
    color = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(np.asarray(read_image(Example(image=color, label=0))), color)


def test_a_camera_s_orientation_is_applied_where_the_example_says_so(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.jpg"
    Image.new("RGB", (6, 4)).save(path, exif=exif)
    content = path.read_bytes()
    place = shard_image(tmp_path / "0.tar", content)
    for image in (path, place, DatasetItem([(Image.open(path), 0)], "pets", 0)):
        assert read_image(Example(image=image, label=0)).size == (6, 4)
        assert read_image(Example(image=image, label=0, upright=True)).size == (4, 6)


def test_transparent_items_of_data_sets_are_laid_on_white():
    item = DatasetItem([(Image.new("RGBA", (2, 2)), 0)], "pets", 0)
    assert read_image(Example(image=item, label=0)).getpixel((0, 0)) == (255, 255, 255)


def test_postscript_in_files_and_shards_is_refused_by_name(tmp_path):
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n"
    (tmp_path / "a.jpg").write_bytes(content)
    for image in (tmp_path / "a.jpg", shard_image(tmp_path / "0.tar", content)):
        with pytest.raises(ValueError, match=r"(a\.jpg|key s01) cannot be read \(PostScript"):
            read_image(Example(image=image, label=0))


def test_data_sets_of_others_start_no_program_either(tmp_path, monkeypatch):
    """Their own reader of images lets Pillow choose, and it would choose Ghostscript."""
    path = tmp_path / "cat" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n%%EOF\n")
    started = []
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    monkeypatch.setattr(EpsImagePlugin.subprocess, "check_call", lambda *a, **k: started.append(a))
    lazy = [(Image.open(path), 0)]
    for dataset in (ImageFolder(tmp_path), lazy):
        with pytest.raises(ValueError, match=r"image pets\[0\] cannot be read"):
            read_image(Example(image=DatasetItem(dataset, "pets", 0), label=0))
    assert not started and EpsImagePlugin.gs_binary == "gs"
    with pytest.raises(OSError, match=r"cannot|No such"):  # the case is a real one
        ImageFolder(tmp_path)[0]
    assert started


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is not a file"):
        read_image(Example(image=tmp_path / "a.png", label=0))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.png does not exist"):
        read_image(Example(image=tmp_path / "gone.png", label=0))


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ValueError, match=r"text\.png cannot be read .*replace it, or remove it"):
        read_image(Example(image=tmp_path / "text.png", label=0))


@pytest.mark.parametrize("name", ["half.jpg", "half.png", "half.webp"])
def test_a_file_that_breaks_off_is_named(tmp_path, write_image, name):
    path = write_image(tmp_path / name, size=(64, 64))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        read_image(Example(image=path, label=0))


def shard_image(path, content, before=b"other"):
    path.write_bytes(before + content + b"more")
    return ShardImage(path, "s01", "png", len(before), len(content))


@pytest.mark.parametrize("extension", ["webp", "png", "jpg", "jpeg"])
def test_images_in_shards_are_read_in_rgb(tmp_path, extension):
    place = shard_image(tmp_path / "0.tar", encoded(3, extension))
    image = read_image(Example(image=place, label=0))
    assert (image.mode, image.size) == ("RGB", (6, 4))
    assert np.abs(np.asarray(image).astype(int) - color(3)).max() <= 3


@pytest.mark.parametrize("extension", ["webp", "png", "jpg"])
def test_an_image_in_a_shard_that_breaks_off_is_named(tmp_path, extension):
    content = encoded(3, extension, size=(64, 64))
    place = shard_image(tmp_path / "0.tar", content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"0\.tar, key s01 cannot be read .*replace it"):
        read_image(Example(image=place, label=0))


def test_a_shard_that_is_gone_or_shorter_is_named(tmp_path):
    place = shard_image(tmp_path / "0.tar", encoded(3, "png"))
    place.shard.write_bytes(b"")
    with pytest.raises(ValueError, match=r"0\.tar, key s01 cannot be read \(the file is empty\)"):
        read_image(Example(image=place, label=0))
    place.shard.unlink()
    with pytest.raises(ValueError, match=r"0\.tar, key s01 cannot be read .*No such file"):
        read_image(Example(image=place, label=0))


def test_items_of_data_sets_are_read_in_rgb():
    fakes = FakeData(size=3, image_size=(3, 4, 6))
    image = read_image(Example(image=DatasetItem(fakes, "fakes", 2), label=0))
    assert np.array_equal(np.asarray(image), np.asarray(fakes[2][0]))


def test_an_item_that_cannot_be_read_is_named():
    fakes = FakeData(size=3, image_size=(3, 4, 6))
    with pytest.raises(ValueError, match=r"image fakes\[3\] cannot be read"):
        read_image(Example(image=DatasetItem(fakes, "fakes", 3), label=0))


def test_examples_of_all_kinds_travel_to_other_processes(tmp_path, write_image):
    fakes = FakeData(size=3, image_size=(3, 4, 6))
    for image in (
        write_image(tmp_path / "a.png"),
        np.zeros((4, 6, 3), np.uint8),
        shard_image(tmp_path / "0.tar", encoded(3, "png")),
        DatasetItem(fakes, "fakes", 2),
    ):
        example = Example(image=image, label=1)
        copy = pickle.loads(pickle.dumps(example))
        assert copy.label == 1 and str(copy.image) == str(image)
        assert np.array_equal(np.asarray(read_image(copy)), np.asarray(read_image(example)))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4), dtype=np.float32), r"array of float32 and shape \(4, 4\); .*uint8"),
        (np.zeros((0, 4, 3), dtype=np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros((3, 4, 4), dtype=np.uint8), r"shape \(3, 4, 4\); .*\[height, width, 3\]"),
        (np.zeros(4, dtype=np.uint8), r"shape \(4,\)"),
        ("a.png", "image is of type str; .*pathlib.Path, a uint8 array, a ShardImage or a Data"),
    ],
)
def test_image_errors(image, words):
    with pytest.raises(ValueError, match=words):
        Example(image=image, label=0)


@pytest.mark.parametrize("label", ["cat", 1.0, None, True])
def test_label_errors(label):
    with pytest.raises(ValueError, match=r"label is .*must be an integer"):
        Example(image=Path("a.png"), label=label)
