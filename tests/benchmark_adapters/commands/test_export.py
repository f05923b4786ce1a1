"""Exports read back: by clip_benchmark itself, and by our own reader of shards."""

import argparse
import errno
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from clip_benchmark.datasets.builder import build_wds_dataset
from PIL import Image

from benchmark_adapters.commands.export import FORMATS, add_arguments, encode, export, main
from open_clip_mmrl import TrainConfig
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.data import Example, ImageData, load_data, prompts, read_image
from open_clip_mmrl.data.example import DatasetItem
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.execute import FewShotRun, Runtime, execute

# clip_benchmark's own reader does not set shardshuffle.
pytestmark = pytest.mark.filterwarnings("ignore:WebDataset.shardshuffle")
SUFFIXES = ("jpg", "JPG", "jpeg", "png", "webp", "gif", "bmp", "tif")


def picture(seed, size=(9, 7), mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def mixed(folder: Path, **changes) -> ImageData:
    """Files of every format, a gray and a color array; two classes, train and test."""
    examples = []
    for i, suffix in enumerate(SUFFIXES):
        path = folder / f"{i}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(path)
        examples.append(Example(image=path, label=i % 2))
    for array in (np.asarray(picture(20, mode="L")), np.asarray(picture(21))):
        examples.append(Example(image=array, label=1))
    values = {
        "spec": "folder:mixed",
        "class_names": ("grand_piano", "café"),
        "template": "a photo of a {}.",
        "train": tuple(examples),
        "val": (),
        "test": tuple(examples[:3]),
    }
    return ImageData(**{**values, **changes})


def members(folder: Path, part="train"):
    """(name, content) of everything in the shards of a part, in order."""
    count = int((folder / part / "nshards.txt").read_text())
    assert {p.name for p in (folder / part).glob("*.tar")} == {f"{i}.tar" for i in range(count)}
    for i in range(count):
        with tarfile.open(folder / part / f"{i}.tar") as tar:
            for member in tar:
                yield member.name, tar.extractfile(member).read()


def by_clip_benchmark(folder, part):
    return build_wds_dataset("x", np.asarray, split=part, data_dir=str(folder))


def assert_same_images(folder, data, part="train"):
    examples = getattr(data, part)
    found = list(by_clip_benchmark(folder, part))
    assert [label for _, label in found] == [example.label for example in examples]
    for (pixels, _), example in zip(found, examples, strict=True):
        assert np.array_equal(pixels, np.asarray(read_image(example))), example.image


@pytest.mark.parametrize("image_format", ["keep", "webp", "png"])
def test_clip_benchmark_reads_the_same_pixels_labels_names_and_prompt(tmp_path, image_format):
    data = mixed(tmp_path / "in")
    shards = export(data, tmp_path / "out", image_format=image_format, quiet=True)
    assert shards == {"train": 1, "test": 1}
    assert_same_images(tmp_path / "out", data)
    assert_same_images(tmp_path / "out", data, "test")
    dataset = by_clip_benchmark(tmp_path / "out", "test")
    assert dataset.classes == ["grand piano", "café"]
    assert dataset.templates == ["a photo of a {c}."]


def test_files_that_clip_benchmark_reads_are_copied_byte_for_byte(tmp_path):
    data = mixed(tmp_path / "in")
    export(data, tmp_path / "out", quiet=True)
    images = [(name, raw) for name, raw in members(tmp_path / "out") if not name.endswith("cls")]
    assert [name for name, _ in images] == [
        "s0000000.jpg", "s0000001.jpg", "s0000002.jpg", "s0000003.png", "s0000004.webp",
        "s0000005.png", "s0000006.png", "s0000007.png", "s0000008.png", "s0000009.png",
    ]  # fmt: skip
    for i, (_, raw) in enumerate(images):
        copied = i < len(SUFFIXES) and raw == data.train[i].image.read_bytes()
        assert copied == (i < 5)


def test_the_content_not_the_name_of_a_file_decides(tmp_path):
    path = tmp_path / "picture.jpg"
    picture(0).save(path, format="bmp")
    assert encode(Example(image=path, label=0))[0] == "png"
    picture(0).save(path, format="png")
    assert encode(Example(image=path, label=0)) == ("png", path.read_bytes())


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_a_jpeg_in_another_mode_is_copied(tmp_path, mode):
    path = tmp_path / "picture.jpg"
    picture(0, mode=mode).save(path)
    example = Example(image=path, label=0)
    suffix, content = encode(example)
    assert (suffix, content) == ("jpg", path.read_bytes())
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(read_image(example)))


def test_an_item_of_a_data_set_of_torchvisions_kind_becomes_a_png():
    item = DatasetItem([(picture(0), 1)], "pets", 0)
    suffix, content = encode(Example(image=item, label=1))
    with Image.open(io.BytesIO(content)) as image:
        assert (suffix, image.format) == ("png", "PNG")
        assert np.array_equal(np.asarray(image), np.asarray(picture(0)))


def test_what_other_readers_see_differently_is_written_as_it_is_trained_on(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    phone, clear, wide = (tmp_path / name for name in ("phone.jpg", "clear.png", "wide.png"))
    picture(0).save(phone, exif=exif)
    Image.new("RGBA", (9, 7)).save(clear)
    Image.fromarray(np.arange(63, dtype=np.uint16).reshape(7, 9) * 1000).save(wide)
    for path in (phone, clear, wide):
        for upright in (True, False):
            example = Example(image=path, label=0, upright=upright)
            suffix, content = encode(example)
            with Image.open(io.BytesIO(content)) as image:
                found = np.asarray(image.convert("RGB"))
                assert image.getexif().get(0x0112, 1) == (6 if suffix == "jpg" else 1)
            assert np.array_equal(found, np.asarray(read_image(example)))
            assert (content == path.read_bytes()) == (path == phone and not upright)


def test_jpg_is_lossy_within_bounds(tmp_path):
    path = tmp_path / "picture.png"
    Image.linear_gradient("L").convert("RGB").save(path)
    suffix, content = encode(Example(image=path, label=0), "jpg")
    with Image.open(io.BytesIO(content)) as image:
        assert (suffix, image.format) == ("jpg", "JPEG")
        assert (
            np.abs(
                np.asarray(image).astype(int) - np.asarray(Image.open(path).convert("RGB"))
            ).max()
            < 6
        )


def test_shards_hold_at_most_max_count_and_keep_the_order(tmp_path):
    data = mixed(tmp_path / "in")
    assert export(data, tmp_path / "out", max_count=4, quiet=True) == {"train": 3, "test": 1}
    names = [name for name, _ in members(tmp_path / "out")]
    assert names[::2] != names and sorted(names) == sorted(set(names))
    assert_same_images(tmp_path / "out", data)


def test_the_same_data_gives_the_same_bytes(tmp_path):
    data = mixed(tmp_path / "in")
    for name in "ab":
        export(data, tmp_path / name, quiet=True)
    files = {p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()}
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_unreadable_images_are_all_named_and_nothing_is_written(tmp_path):
    data = mixed(tmp_path / "in")
    jpg, png = data.train[0].image, data.train[3].image
    jpg.write_bytes(jpg.read_bytes()[:-40])  # a download that broke off
    png.unlink()
    with pytest.raises(ValueError, match="3 of 13 images cannot be exported") as error:
        export(data, tmp_path / "out" / "deep", quiet=True)
    assert str(jpg) in str(error.value) and f"{png} does not exist" in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_many_unreadable_images_are_counted(tmp_path):
    missing = tuple(Example(image=tmp_path / f"no-{i}.png", label=0) for i in range(11))
    with pytest.raises(ValueError, match=r"11 of 14 images.*7\.png.*and 3 more$"):
        export(mixed(tmp_path, train=missing), tmp_path / "out", quiet=True)


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def stop(example):
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark_adapters.commands.export.read_image", stop)
    with pytest.raises(KeyboardInterrupt):
        export(mixed(tmp_path / "in"), tmp_path / "out", quiet=True)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("webdataset.ShardWriter.write", full)
    with pytest.raises(OSError, match=r"cannot write .*/out: .*No space left"):
        export(mixed(tmp_path / "data"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_image_too_large_for_the_format_is_named(tmp_path):
    path = tmp_path / "wide.png"
    Image.new("RGB", (16384, 128)).save(path)
    example = Example(image=path, label=0)
    assert encode(example)[0] == "png"
    with pytest.raises(ValueError, match=r"wide\.png cannot be written as webp"):
        encode(example, "webp")


def test_an_existing_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(UsageError, match="exists already"):
        export(mixed(tmp_path / "in"), tmp_path / "out", quiet=True)
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"


def test_wrong_options_and_empty_data(tmp_path):
    data = mixed(tmp_path / "in")
    with pytest.raises(UsageError, match=r"image format is 'tiff'.*'keep'"):
        export(data, tmp_path / "out", image_format="tiff")
    with pytest.raises(UsageError, match="max count is 0"):
        export(data, tmp_path / "out", max_count=0)
    with pytest.raises(ValueError, match="folder:mixed has no images to export"):
        export(mixed(tmp_path / "in", train=(), test=()), tmp_path / "out")


@pytest.mark.parametrize("name", ["two\nlines", " ahead", "after ", "_hidden"])
def test_names_that_do_not_fit_into_a_line_are_refused(tmp_path, name):
    data = mixed(tmp_path / "in", class_names=("piano", name))
    with pytest.raises(ValueError, match="cannot be written as one line"):
        export(data, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_the_command_exports_a_spec_with_its_prompt(tmp_path, write_split, capsys):
    rows = [[f"a/{i}.jpg", i % 2, ("cat", "dog")[i % 2]] for i in range(4)]
    write_split(
        tmp_path / "root" / "pets" / "split_pets.json",
        tmp_path / "root" / "pets",
        {"train": rows, "test": rows[:2]},
    )
    words = ("--data", "coop:pets", "--data-root", tmp_path / "root", "--output", tmp_path / "out")
    args = parsed(*words, "--template", "a {}, a pet.", "--max-count", 3, "--quiet")
    assert main(args) == 0
    shown = capsys.readouterr().out
    assert "train: 4 images in 2 shards" in shown and "test: 2 images in 1 shard" in shown
    assert by_clip_benchmark(tmp_path / "out", "test").templates == ["a {c}, a pet."]
    with pytest.raises(UsageError, match="exists already"):
        main(args)


def test_nested_folders_are_exported_under_other_names(tmp_path, write_image):
    for folder, color in (("n/n01", "red"), ("n/n02", "blue")):
        for number in range(2):
            write_image(tmp_path / "root" / folder / f"{number}.png", color, (8 + number, 8))
    (tmp_path / "names.txt").write_text("n01: tench\nn02: goldfish")
    words = ("--data", f"folder:{tmp_path / 'root'}", "--output", tmp_path / "out", "--quiet")
    assert main(parsed(*words, "--nested", "--class-names", tmp_path / "names.txt")) == 0
    assert (tmp_path / "out" / "classnames.txt").read_text() == "tench\ngoldfish\n"


def test_the_help_names_every_format(capsys):
    with pytest.raises(SystemExit):
        parsed("--help")
    shown = capsys.readouterr().out
    assert all(name in shown for name in FORMATS)


def pixels_and_labels(examples):
    return [(np.asarray(read_image(example)).tobytes(), example.label) for example in examples]


def assert_same_data(found, data):
    for part in ("train", "val", "test"):
        assert pixels_and_labels(getattr(found, part)) == pixels_and_labels(getattr(data, part))
    assert prompts(found.class_names, found.template) == prompts(data.class_names, data.template)
    for shots, seed in ((1, 1), (2, 3)):
        drawn = [pixels_and_labels(d.few_shot(shots, seed).train) for d in (found, data)]
        assert drawn[0] == drawn[1]


@pytest.mark.parametrize("max_count", [4, 100])
def test_our_reader_finds_the_same_data_set(tmp_path, max_count):
    data = mixed(tmp_path / "in")
    export(data, tmp_path / "out", max_count=max_count, quiet=True)
    assert_same_data(load_data(f"wds:{tmp_path / 'out'}", quiet=True), data)


def test_an_export_of_an_export_has_the_same_shards(tmp_path):
    export(mixed(tmp_path / "in"), tmp_path / "a", quiet=True)
    export(load_data(f"wds:{tmp_path / 'a'}", quiet=True), tmp_path / "b", quiet=True)
    for part in ("train", "test"):
        assert list(members(tmp_path / "a", part)) == list(members(tmp_path / "b", part))


def test_a_damaged_image_of_a_shard_is_named(tmp_path):
    export(mixed(tmp_path / "in"), tmp_path / "a", quiet=True)
    shard = tmp_path / "a" / "train" / "0.tar"
    with tarfile.open(shard) as tar:
        offset = tar.getmember("s0000003.png").offset_data
    content = bytearray(shard.read_bytes())
    content[offset : offset + 8] = bytes(8)
    shard.chmod(0o644)
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"1 of 13 images.*0\.tar, key s0000003"):
        export(load_data(f"wds:{tmp_path / 'a'}", quiet=True), tmp_path / "b", quiet=True)


def test_digits_train_and_score_the_same_from_shards(tmp_path):
    digits = load_data("digits")
    export(digits, tmp_path / "digits", quiet=True)
    spec = f"wds:{tmp_path / 'digits'}"
    assert_same_data(load_data(spec, quiet=True), digits)

    def accuracy(data, name):
        run = FewShotRun(
            model=MODEL_NAME,
            pretrained=TAG,
            method="mmrl",
            data=data,
            shots=1,
            settings={"start_layer": 5, "rep_dim": 16},
            train=TrainConfig(epochs=2, batch_size=5),
        )
        found = execute(run, tmp_path / name, Runtime(device="cpu", quiet=True))
        return found.metrics, found.zero_shot

    assert accuracy(spec, "a") == accuracy("digits", "b")
