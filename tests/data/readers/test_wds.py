import shutil

import numpy as np
import pytest
import webdataset
from helpers.shards import FORMATS, color, write_root, write_split
from PIL import Image

from open_clip_mmrl.data import load_data, read_image
from open_clip_mmrl.data.prompts import DEFAULT_TEMPLATE
from open_clip_mmrl.data.readers.wds import choose_template
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.resolve import images_digests


def load(root, **kwargs):
    return load_data(f"wds:{root}", quiet=True, **kwargs)


def labels(split):
    return [example.label for example in split]


def test_a_folder_of_shards(tmp_path):
    train, test = [0, 1, 1, 0, 1, 0, 0], [1, 0]
    data = load(write_root(tmp_path, templates=["a {c}!", "{c}"], train=train, val=[1], test=test))
    assert (data.class_names, data.template, data.own_template) == (("cat", "dog"), "a {}!", True)
    assert (labels(data.train), labels(data.val), labels(data.test)) == (train, [1], test)
    assert data.spec == f"wds:{tmp_path}"
    for index, example in enumerate(data.train):
        assert example.image.extension == FORMATS[index % 4]
        assert np.abs(np.asarray(read_image(example)).astype(int) - color(index)).max() <= 3


def test_train_and_val_may_be_absent(tmp_path):
    data = load(write_root(tmp_path, test=[1, 0]))
    assert (data.train, data.val, len(data.test)) == ((), (), 2)
    with pytest.raises(ValueError, match="no training images"):
        data.few_shot(1, seed=1)


def test_the_draw_is_that_of_the_folder_the_shards_come_from(tmp_path, write_image):
    for split in ("train", "test"):
        for name in ("cat", "dog", "eel"):
            for index in range(5):
                write_image(tmp_path / "folder" / split / name / f"{index}.png")
    folder = load_data(f"folder:{tmp_path / 'folder'}")
    for split in ("train", "test"):
        (tmp_path / "wds" / split).mkdir(parents=True)
        pattern = f"{tmp_path}/wds/{split}/%d.tar"
        with webdataset.ShardWriter(pattern, maxcount=4, verbose=0) as sink:
            for index, example in enumerate(getattr(folder, split)):
                content = example.image.read_bytes()
                sink.write({"__key__": f"s{index:07d}", "png": content, "cls": example.label})
            (tmp_path / "wds" / split / "nshards.txt").write_text(str(sink.shard))
    (tmp_path / "wds" / "classnames.txt").write_text("cat\ndog\neel\n")
    shards = load(tmp_path / "wds")
    place = {example.image: index for index, example in enumerate(folder.train)}
    for seed in (1, 2, 3):
        drawn = [place[example.image] for example in folder.few_shot(2, seed).train]
        keys = [example.image.key for example in shards.few_shot(2, seed).train]
        assert keys == [f"s{index:07d}" for index in drawn]


def test_the_digest_tells_images_by_shard_key_and_label(tmp_path):
    root = write_root(tmp_path, train=[0, 1, 0, 1], test=[0])
    whole = images_digests(load(root))
    assert whole == images_digests(load(root))
    assert images_digests(load(root).few_shot(1, seed=1)) != whole
    shutil.rmtree(root / "train")
    write_split(root, "train", [0, 1, 1, 0])
    assert images_digests(load(root)) != whole


def test_a_broken_image_is_named_when_it_is_read(tmp_path):
    root = write_root(tmp_path, test=[0, 1])
    example = load(root).test[1]
    content = bytearray(example.image.shard.read_bytes())
    content[example.image.offset : example.image.offset + 20] = bytes(20)
    example.image.shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"test.0\.tar, key s0000001 cannot be read"):
        read_image(example)


@pytest.mark.parametrize("label", [2, -1])
def test_a_label_without_a_class_name_is_named(tmp_path, label):
    root = write_root(tmp_path, train=[0, 1, 0, label], test=[0])
    words = (
        rf"classnames\.txt has 2 names, but the sample at .*1\.tar, key s0000003 has label {label};"
    )
    with pytest.raises(ValueError, match=words):
        load(root)


def test_class_names_have_to_be_there(tmp_path):
    root = write_root(tmp_path, test=[0])
    (root / "classnames.txt").unlink()
    with pytest.raises(ValueError, match=r"no classnames\.txt; add it: one class name a line"):
        load(root)


@pytest.mark.parametrize("kind", ["retrieval", "multilabel"])
def test_other_kinds_of_labels_are_refused(tmp_path, kind):
    root = write_root(tmp_path, test=[0])
    (root / "dataset_type.txt").write_text(kind)
    with pytest.raises(ValueError, match=rf"is a {kind} data set; .*one label per image"):
        load(root)


def test_a_folder_of_another_layout_is_a_wrong_name(tmp_path):
    with pytest.raises(UsageError, match=r"none of train, val, test is there; test/nshards\.txt"):
        load(tmp_path)


def test_a_test_split_has_to_be_there(tmp_path):
    with pytest.raises(ValueError, match="has no test split; splits there: train"):
        load(write_root(tmp_path, train=[0]))


def test_templates():
    assert choose_template(None, "x") == (DEFAULT_TEMPLATE, False)
    assert choose_template((), "x") == (DEFAULT_TEMPLATE, False)
    assert choose_template(["a {c}.", "a photo of a {c}."], "x") == (DEFAULT_TEMPLATE, True)
    assert choose_template(["a bad photo of {c}."], "x") == ("a bad photo of {}.", True)


@pytest.mark.parametrize(
    ("template", "words"),
    [("a photo", "no place for the class name"), ("{c} {c}", "2 places"), ("{d}", "no place")],
)
def test_a_template_without_one_place_is_named_with_its_file(tmp_path, template, words):
    root = write_root(tmp_path, templates=[template], test=[0, 1])
    with pytest.raises(ValueError, match=rf"classification_templates\.txt: template .*{words}"):
        load(root)


def test_imagenets_repeated_names_are_changed_and_others_are_not(tmp_path, caplog):
    names = ("missile", "sunglasses", "crane", "missile", "sunglasses")
    data = load(write_root(tmp_path, names, test=[0, 3]))
    assert data.class_names == (*names[:3], "projectile", "dark glasses")
    first, second = caplog.messages
    assert "two classes are named 'missile'" in first and "'projectile'" in first
    assert "two classes are named 'sunglasses'" in second and "'dark glasses'" in second
    (tmp_path / "classnames.txt").write_text("crane\ncrane\nmissile\ncat\n")
    with pytest.raises(ValueError, match="class names repeated: crane"):
        load(tmp_path)


def test_shards_at_an_address_are_read_like_local_ones(site, cache):
    folder, address, log = site
    write_root(folder, train=[0, 1, 1, 0], test=[1, 0])
    data, local = load(address), load(folder)
    assert data.spec == f"wds:{address}"
    assert (labels(data.train), labels(data.test)) == ([0, 1, 1, 0], [1, 0]) and data.val == ()
    for ours, theirs in zip(data.train, local.train, strict=True):
        assert ours.image.shard.is_relative_to(cache)
        assert np.array_equal(np.asarray(read_image(ours)), np.asarray(read_image(theirs)))
    assert images_digests(load(address)) == images_digests(data)
    assert sum(path.endswith(".tar") for path in log) == 3


def test_missing_splits_of_an_address_are_named(site):
    folder, address, _ = site
    with pytest.raises(UsageError, match=rf"wds:{address}: none of train, val, test is there"):
        load(address)
    write_root(folder, train=[0] * 4, test=[1])
    (folder / "train" / "1.tar").unlink()
    with pytest.raises(ValueError, match=rf"{address}/train/1\.tar cannot be fetched: status 404"):
        load(address)


def test_images_of_any_mode_are_rgb(tmp_path):
    root = write_root(tmp_path, test=[0, 1])
    shutil.rmtree(root / "test")
    (root / "test").mkdir()
    with webdataset.ShardWriter(f"{root}/test/%d.tar", verbose=0) as sink:
        image = Image.new("LA", (6, 4), (120, 10))
        sink.write({"__key__": "a", "png": image, "cls": 0})
    (root / "test" / "nshards.txt").write_text("1")
    assert read_image(load(root).test[0]).getpixel((0, 0)) == (250, 250, 250)
