"""Images that cannot be read are found before the work, all at once."""

import time

import numpy as np
import pytest
from helpers.shards import write_tar
from PIL import Image

from open_clip_mmrl.data import Example, check_images
from open_clip_mmrl.data.check_images import require_readable
from open_clip_mmrl.data.shards.index import index_shard


def test_whole_images_pass(tmp_path, write_image):
    files = [write_image(tmp_path / name) for name in ("a.png", "b.jpg")]
    array = np.zeros((4, 4, 3), np.uint8)
    require_readable([Example(image=image, label=0) for image in (*files, array)])


def test_all_problems_are_listed_with_their_reasons(tmp_path, write_image):
    good, cut = write_image(tmp_path / "good.png"), tmp_path / "cut.jpg"
    cut.write_bytes(write_image(tmp_path / "whole.jpg").read_bytes()[:20])
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    names = ("cut.jpg", "text.png", "empty.png", "gone.png")
    files = [good, *(tmp_path / name for name in names)]
    with pytest.raises(ValueError, match="4 of 5 images") as error:
        require_readable([Example(image=file, label=0) for file in files])
    message = str(error.value)
    assert all(name in message for name in names) and "good.png" not in message
    assert "not an image" in message and "empty" in message and "does not exist" in message


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.bmp", "a.tif", "a.webp", "a.ppm"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_cut_images_are_found_in_files_and_shards(tmp_path, name, share):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    cut = content[: int(share * len(content))]
    (tmp_path / name).write_bytes(cut)
    members = {name.replace(".", "__"): cut, "a__cls": b"0"}
    shard = write_tar(tmp_path / "0.tar", **members)
    with pytest.raises(ValueError, match="1 of 1"):
        require_readable([Example(image=tmp_path / name, label=0)])
    if name[2:] not in ("gif", "bmp", "tif", "ppm"):  # clip_benchmark reads none of these
        with pytest.raises(ValueError, match="1 of 1"):
            require_readable(index_shard(shard))


def test_what_follows_an_image_in_its_file_does_no_harm(tmp_path, write_image):
    file = write_image(tmp_path / "a.jpg")
    file.write_bytes(file.read_bytes() + b"a camera's own notes")
    require_readable([Example(image=file, label=0)])


def test_images_in_shards_are_checked(tmp_path, write_image):
    content = write_image(tmp_path / "a.png").read_bytes()
    shard = write_tar(tmp_path / "0.tar", a__png=content, a__cls=b"0", b__png=b"no", b__cls=b"1")
    examples = index_shard(shard)
    with pytest.raises(ValueError, match=r"1 of 2 images.*key b"):
        require_readable(examples)


def test_an_interruption_does_not_wait_for_the_rest(tmp_path, write_image, monkeypatch):
    looked_at = []

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    def look(image):
        looked_at.append(image)
        time.sleep(0.01)
        return ""

    monkeypatch.setattr(check_images, "_problem", look)
    monkeypatch.setattr(check_images.Progress, "advance", interrupt)
    files = [Example(image=tmp_path / f"{i}.png", label=0) for i in range(1000)]
    with pytest.raises(KeyboardInterrupt):
        require_readable(files, quiet=True)
    assert len(looked_at) < 100
