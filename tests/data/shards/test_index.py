import gzip
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from helpers.shards import FORMATS, color, encoded, write_root, write_tar

from open_clip_mmrl.data import read_image
from open_clip_mmrl.data.shards import download
from open_clip_mmrl.data.shards.index import index_shard, read_layout, shard_urls, splits_of
from open_clip_mmrl.errors import UsageError


def test_layout_is_what_the_text_files_say(tmp_path):
    write_root(tmp_path, ("a cat", "dog "), ["a photo of a {c}.", "{c}"], test=[0, 1])
    layout = read_layout(str(tmp_path))
    assert (layout.root, layout.kind) == (str(tmp_path), "classification")
    assert layout.class_names == ("a cat", "dog")
    assert layout.templates == ("a photo of a {c}.", "{c}")


def test_text_files_may_be_absent_and_end_in_empty_lines(tmp_path):
    (tmp_path / "classnames.txt").write_bytes("\ufeffé\r\nb\r\n\r\n".encode())
    layout = read_layout(str(tmp_path))
    assert (layout.class_names, layout.templates) == (("é", "b"), None)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("Retrieval\n", "retrieval"), ("multilabel", "multilabel"), ("other", "classification")],
)
def test_kind(tmp_path, text, kind):
    (tmp_path / "dataset_type.txt").write_text(text)
    assert read_layout(str(tmp_path)).kind == kind


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cat\n\ndog\n", r"classnames\.txt: line 2 is empty; remove it"),
        (b"caf\xe9\ndog", r"classnames\.txt is not text in UTF-8"),
    ],
)
def test_class_names_that_cannot_be_read(tmp_path, content, words):
    (tmp_path / "classnames.txt").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_layout(str(tmp_path))


def test_a_missing_root_is_a_wrong_name(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere does not exist; give one that holds train"):
        read_layout(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"begins with s3://; give a local folder or an http"):
        read_layout("s3://bucket/data")


@pytest.mark.parametrize("url", ["USER", "USER/REPO", "USER/REPO/blob/main", "USER/REPO/tree/"])
def test_an_address_on_the_hub_names_a_branch(url):
    with pytest.raises(UsageError, match=r"must be written .*USER/REPO/tree/BRANCH"):
        read_layout(f"https://huggingface.co/datasets/{url}")


def test_shards_come_in_order(tmp_path):
    write_root(tmp_path, train=[0] * 31, test=[0, 1])
    layout = read_layout(str(tmp_path))
    assert splits_of(layout) == ["train", "test"]
    names = [Path(url).name for url in shard_urls(layout, "train")]
    assert names == [f"{index}.tar" for index in range(11)]
    assert all(Path(url).is_file() for url in shard_urls(layout, "train"))


def test_a_split_that_is_not_there(tmp_path):
    layout = read_layout(str(write_root(tmp_path, train=[0], test=[1])))
    with pytest.raises(ValueError, match="no split 'val'; splits there: train, test"):
        shard_urls(layout, "val")
    (tmp_path / "val").mkdir()
    with pytest.raises(ValueError, match=r"no .*val.nshards\.txt; it must hold the number of"):
        shard_urls(layout, "val")
    for split in ("train", "val", "test"):
        shutil.rmtree(tmp_path / split)
    with pytest.raises(ValueError, match="splits there: none"):
        shard_urls(layout, "val")


@pytest.mark.parametrize("text", ["0", "-1", "two", "", "1.5", "2 3"])
def test_a_number_of_shards_that_is_none(tmp_path, text):
    layout = read_layout(str(write_root(tmp_path, test=[0])))
    (tmp_path / "test" / "nshards.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"nshards\.txt holds '{text}', not a positive whole"):
        shard_urls(layout, "test")


@pytest.mark.parametrize("number", ["9" * 12, "9" * 5000, "100001"])
def test_an_absurd_number_of_shards_is_refused_at_once(tmp_path, number):
    layout = read_layout(str(write_root(tmp_path, test=[0])))
    (tmp_path / "test" / "nshards.txt").write_text(number)
    with pytest.raises(ValueError, match=r"nshards\.txt says 9*(100001)? shards; at most 100,000"):
        shard_urls(layout, "test")


def test_a_local_text_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("open_clip_mmrl.data.shards.index.MAX_TEXT", 10)
    monkeypatch.setattr(download, "MAX_TEXT", 10)
    (tmp_path / "classnames.txt").write_text("cat\ndog\n" * 9)
    with pytest.raises(ValueError, match=r"classnames\.txt is no small text file"):
        read_layout(str(tmp_path))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (4, r"nshards\.txt says 4, but missing are 2\.tar, 3\.tar"),
        (1, r"nshards\.txt says 1, but 1\.tar is there as well"),
    ],
)
def test_a_number_of_shards_that_is_wrong(tmp_path, number, words):
    layout = read_layout(str(write_root(tmp_path, test=[0] * 6)))
    (tmp_path / "test" / "nshards.txt").write_text(str(number))
    with pytest.raises(ValueError, match=words):
        shard_urls(layout, "test")


def test_an_index_has_labels_and_places_of_all_formats(tmp_path):
    write_root(tmp_path, test=[1, 0, 1, 1], train=[0])
    examples = [
        example
        for url in shard_urls(read_layout(str(tmp_path)), "test")
        for example in index_shard(url)
    ]
    assert [example.label for example in examples] == [1, 0, 1, 1]
    assert [example.image.extension for example in examples] == list(FORMATS)
    assert [example.image.key for example in examples] == [f"s{i:07d}" for i in range(4)]
    assert [example.image.shard.name for example in examples] == ["0.tar"] * 3 + ["1.tar"]
    for index, example in enumerate(examples):
        pixels = np.asarray(read_image(example)).astype(int)
        assert pixels.shape == (4, 6, 3) and np.abs(pixels - color(index)).max() <= 3


def test_an_index_reads_no_pixels(tmp_path):
    (example,) = index_shard(write_tar(tmp_path / "0.tar", a__png=b"no image", a__cls=b"1"))
    assert (example.label, example.image.size) == (1, 8)


def test_keys_and_extensions_are_webdatasets(tmp_path):
    """Folders belong to the key, capitals do not matter, the rest of a sample is skipped."""
    path = write_tar(
        tmp_path / "0.tar",
        **{
            "a/x__JPG": encoded(0, "jpg"),
            "a/x__cls": b" 1\n",
            "a/x__seg__png": b"mask",
            "b/x__webp": encoded(1, "webp"),
            "b/x__json": b"{}",
            "__hidden": b"",
            "b/README": b"",
            "b/x__png": encoded(1, "png"),
            "b/x__cls": b"0",
        },
    )
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo("__meta__/shard.json"))
        folder = tarfile.TarInfo("c.cls")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    found = [(e.image.key, e.image.extension, e.label) for e in index_shard(path)]
    assert found == [("a/x", "jpg", 1), ("b/x", "webp", 0)]
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [key for key, _, _ in found]
    for sample, example in zip(samples, index_shard(path), strict=True):
        place = example.image
        content = path.read_bytes()[place.offset : place.offset + place.size]
        assert content == sample[place.extension]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"a__cls": b"0"}, r"0\.tar, key a: no image \(webp, png, jpg, jpeg\); it has \.cls"),
        ({"a__png": b"x", "a__json": b"{}"}, r"key a: no \.cls; it has \.png, \.json"),
        ({"a__png": b"x", "a__cls": b"cat"}, r"key a: \.cls holds b'cat', not an integer"),
        ({"a__png": b"x", "a__cls": b""}, r"key a: \.cls holds b'', not an integer"),
        ({"a__png": b"x", "a__PNG": b"x", "a__cls": b"0"}, r"key a: two members \.png"),
    ],
)
def test_samples_that_are_not_in_order(tmp_path, members, words):
    with pytest.raises(ValueError, match=words):
        index_shard(write_tar(tmp_path / "0.tar", **members))


def test_a_tar_that_is_cut_anywhere_is_named(tmp_path):
    content = bytes(1500)
    members = {
        f"{key}__{ext}": data for key in "ab" for ext, data in (("png", content), ("cls", b"0"))
    }
    whole = write_tar(tmp_path / "0.tar", **members).read_bytes()
    assert [example.image.key for example in index_shard(tmp_path / "0.tar")] == ["a", "b"]
    step = tarfile.BLOCKSIZE
    end = 2 * (4 + 2) * step  # headers and contents in whole blocks; the rest is empty blocks
    for length in [*range(0, end + 1, step), *range(100, end, step)]:
        (tmp_path / "0.tar").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"0\.tar is not a whole tar file.*get it anew"):
            index_shard(tmp_path / "0.tar")
    (tmp_path / "0.tar").write_bytes(whole[: 7 * step])
    with pytest.raises(ValueError, match="tar file after key a"):
        index_shard(tmp_path / "0.tar")


def test_a_file_that_is_no_tar_is_named(tmp_path):
    (tmp_path / "0.tar").write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 100)
    with pytest.raises(ValueError, match=r"0\.tar is not a whole tar file"):
        index_shard(tmp_path / "0.tar")


def test_a_compressed_shard_says_so(tmp_path):
    path = write_tar(tmp_path / "0.tar", a__png=b"x", a__cls=b"1")
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=r"0\.tar is not a whole tar file .*gzip; decompress it"):
        index_shard(path)


def test_an_image_of_gigabytes_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("open_clip_mmrl.data.shards.index.MAX_MEMBER", 100)
    path = write_tar(tmp_path / "0.tar", a__png=bytes(101), a__cls=b"1")
    with pytest.raises(ValueError, match=r"0\.tar, key a: \.png has 101 bytes"):
        index_shard(path)


def test_a_label_of_megabytes_is_not_read(tmp_path):
    path = write_tar(tmp_path / "0.tar", a__png=b"x", a__cls=b"1" * 5000)
    with pytest.raises(ValueError, match=r"key a: \.cls has 5000 bytes; .*an integer"):
        index_shard(path)
