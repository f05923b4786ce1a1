import pickle
import shutil

import numpy as np
import pytest
import torch
from helpers.shards import write_root
from PIL import Image
from torchvision.datasets import FakeData, ImageFolder

from open_clip_mmrl.data import load_data, read_image
from open_clip_mmrl.data.readers.clip_benchmark import labels_of
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.resolve import images_digests

EMOTIONS = ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")


def load(name, root, **kwargs):
    return load_data(f"clip_benchmark:{name}", data_root=root, quiet=True, **kwargs)


def labels(split):
    return [example.label for example in split]


@pytest.fixture
def fer2013(tmp_path, write_image):
    for split, count in (("train", 3), ("test", 1)):
        for label, name in enumerate(EMOTIONS):
            for index in range(count):
                color = (30 * label, 40 * index, 0)
                write_image(tmp_path / "fer2013" / split / name / f"{index}.png", color)
    return tmp_path / "fer2013"


def test_a_data_set_with_two_splits(fer2013):
    data = load("fer2013", fer2013)
    assert data.spec == "clip_benchmark:fer2013" and data.class_names == EMOTIONS
    assert (data.template, data.own_template) == ("a photo of a {} looking face.", True)
    assert labels(data.train) == [label for label in range(7) for _ in range(3)]
    assert (data.val, labels(data.test)) == ((), list(range(7)))
    assert read_image(data.train[16]).getpixel((0, 0)) == (150, 40, 0)
    assert load("fer2013", fer2013, template="a face, {}.").template == "a face, {}."


def test_examples_travel_to_other_processes_and_have_a_digest_that_stays(fer2013):
    subset = load("fer2013", fer2013).few_shot(2, seed=1)
    copy = pickle.loads(pickle.dumps(subset))
    assert (
        images_digests(copy)
        == images_digests(subset)
        == images_digests(load("fer2013", fer2013).few_shot(2, seed=1))
    )
    assert images_digests(subset) != images_digests(load("fer2013", fer2013).few_shot(2, seed=2))
    pixels = [np.asarray(read_image(data.train[-1])) for data in (copy, subset)]
    assert np.array_equal(*pixels)


def test_a_broken_image_is_named(fer2013):
    (fer2013 / "train" / "angry" / "1.png").write_text("not an image")
    example = load("fer2013", fer2013).train[1]
    with pytest.raises(ValueError, match=r"image clip_benchmark:fer2013, train\[1\] cannot be"):
        read_image(example)


def test_data_root_may_hold_the_name(fer2013, tmp_path):
    assert load("fer2013", tmp_path / "{dataset}").num_classes == 7
    write_root(tmp_path / "wds_vtab-pets", train=[0, 1], test=[1])
    data = load("wds/vtab/pets", f"{tmp_path}/wds_{{dataset_cleaned}}")
    assert data.spec == "clip_benchmark:wds/vtab/pets" and labels(data.train) == [0, 1]


def test_class_folders_have_to_be_as_many_as_classes(fer2013):
    shutil.rmtree(fer2013 / "train" / "sad")
    with pytest.raises(ValueError, match=r"train has 6 class folders .*but there are 7 classes"):
        load("fer2013", fer2013)


def test_a_missing_split_is_a_warning_unless_it_is_test(fer2013, caplog):
    shutil.rmtree(fer2013 / "train")
    data = load("fer2013", fer2013)
    (message,) = caplog.messages
    assert "the train split cannot be read" in message and "build_dataset('fer2013'" in message
    assert data.train == () and len(data.test) == 7
    shutil.rmtree(fer2013 / "test")
    words = r"the test split cannot be read from .*fer2013 \(.*\)\. Nothing is downloaded here; .*"
    with pytest.raises(ValueError, match=rf"{words}build_dataset\('fer2013', root=.*split='test'"):
        load("fer2013", fer2013)


def test_a_data_set_with_three_splits_and_names_of_its_own(tmp_path, write_image):
    """Describable textures: torchvision keeps the labels as `_labels`."""
    folder = tmp_path / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    for index, split in enumerate(("train", "val", "test")):
        files = [f"{name}/{name}_{index}.jpg" for name in ("banded", "dotted", "woven")]
        for file in files:
            write_image(folder / "images" / file)
        (folder / "labels" / f"{split}1.txt").write_text("\n".join(files))
    data = load("dtd", tmp_path)
    assert data.class_names == ("banded", "dotted", "woven")
    assert labels(data.train) == labels(data.val) == labels(data.test) == [0, 1, 2]
    assert data.template == "a photo of a {} texture."


def test_a_data_set_of_pixels_in_one_file(tmp_path):
    """MNIST: `targets` are a tensor, images come from memory."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for stem, count in (("train", 20), ("t10k", 10)):
        sizes = np.array([count, 28, 28], dtype=">i4")
        pixels = np.arange(count, dtype=np.uint8).repeat(28 * 28)
        images = b"\0\0\x08\x03" + sizes.tobytes() + pixels.tobytes()
        digits = (np.arange(count, dtype=np.uint8) % 10).tobytes()
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(images)
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(
            b"\0\0\x08\x01" + sizes[:1].tobytes() + digits
        )
    data = load("mnist", tmp_path)
    assert labels(data.train) == [*range(10)] * 2 and data.num_classes == 10
    assert data.template == 'a photo of the number: "{}".'
    assert read_image(data.train[13]).getpixel((5, 5)) == (13, 13, 13)


def test_a_data_set_without_splits_is_for_testing_only(tmp_path, write_image):
    for index in range(10):
        write_image(tmp_path / "eurosat" / "2750" / f"class{index}" / "a.jpg")
    with pytest.warns(UserWarning, match="no pre-defined train/test splits"):
        data = load("eurosat", tmp_path)
    assert (data.train, data.val, labels(data.test)) == ((), (), list(range(10)))


def test_imagenets_repeated_names_are_changed(tmp_path, write_image, caplog):
    """A class folder each; imagenet_sketch has a test split only."""
    image = write_image(tmp_path / "a.png")
    for index in range(1000):
        folder = tmp_path / "sketch" / f"n{index:08d}"
        folder.mkdir(parents=True)
        (folder / "a.png").hardlink_to(image)
    data = load("imagenet_sketch", tmp_path / "sketch")
    assert [message.split("the second is ")[1] for message in caplog.messages] == [
        "'projectile' here",
        "'dark glasses' here",
    ]
    assert (data.class_names[657], data.class_names[744]) == ("missile", "projectile")
    assert data.template == "a photo of a {}." and labels(data.test) == list(range(1000))


class Kept(FakeData):
    """A data set that keeps a list of labels which is wrong for some items."""

    def __init__(self, size, labels):
        super().__init__(size, image_size=(3, 4, 6), num_classes=5)
        self.targets = labels


def test_a_kept_list_of_labels_is_not_believed_when_it_is_wrong():
    truth = [int(FakeData(9, (3, 4, 6), 5)[index][1]) for index in range(9)]
    for kept in (truth[:-1], [*truth, 0], [*truth[:-1], truth[-1] + 1], None):
        assert labels_of(Kept(9, kept), "x", quiet=True) == truth
    # Between the three that are looked at, the list is what counts: nothing is decoded.
    kept = [*truth[:2], 4 - truth[2], *truth[3:]]
    assert labels_of(Kept(9, torch.tensor(kept)), "x", quiet=True) == kept
    assert labels_of(Kept(0, []), "x", quiet=True) == []


def test_rows_of_path_and_label_are_used_as_well(fer2013):
    folder = ImageFolder(str(fer2013 / "test"))
    del folder.targets
    folder.samples[2] = (folder.samples[2][0], 6)
    assert labels_of(folder, "x", quiet=True) == [0, 1, 6, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fer2012", r"clip_benchmark:fer2012: no such data set can be read\. Did you mean fer2013"),
        ("Pets", r"Did you mean pets"),
        ("nothing-like-it", r"can be read\. Known: caltech101, .*; or wds/NAME for shards"),
    ],
)
def test_unknown_names(tmp_path, name, words):
    with pytest.raises(UsageError, match=words):
        load(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("flickr30k", "has captions; training needs one label per image"),
        ("sugar_crepe/add_att", "has captions"),
        ("voc2007_multilabel", r"several labels per image; training needs one \(voc2007\)"),
        ("vtab/pets", "export it with clip_benchmark_export_wds, and give wds:PATH"),
        ("tfds/mnist", "export it with clip_benchmark_export_wds"),
    ],
)
def test_names_of_other_kinds_of_data(tmp_path, name, words):
    with pytest.raises(ValueError, match=words) as error:
        load(name, tmp_path)
    assert not isinstance(error.value, UsageError)


def test_data_root_has_to_be_there(tmp_path):
    for name in ("fer2013", "wds/fer2013", "wds/"):
        with pytest.raises(UsageError, match=rf"clip_benchmark:{name} needs data_root \(on the c"):
            load(name, None if name != "wds/" else tmp_path)
    for root in (tmp_path / "nowhere", "https://huggingface.co/datasets/x"):
        with pytest.raises(UsageError, match=rf"data_root {root} does not exist or is not a fold"):
            load("fer2013", root)


def test_nothing_is_downloaded(tmp_path, monkeypatch, write_image):
    """clip_benchmark downloads this one even with download=False."""
    monkeypatch.setattr("requests.get", lambda *args, **kwargs: pytest.fail("downloads"))
    write_image(tmp_path / "ImageNetV2-matched-frequency" / "0" / "a.jpeg")
    with pytest.raises(ValueError, match="ImageNetV2-matched-frequency holds 1 of 10000 images"):
        load("imagenetv2", tmp_path)


def test_what_clip_benchmark_prints_is_kept_off_standard_output(tmp_path, capsys):
    folder = tmp_path / "VOCdevkit" / "VOC2007"
    for name in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    box = "<bndbox><a>1</a><b>1</b><c>5</c><d>4</d></bndbox>"  # left, top, right, bottom
    objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in ("cat", "dog"))
    (folder / "Annotations" / "1.xml").write_text(f"<annotation>{objects}</annotation>")
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / "JPEGImages" / "1.jpg")
    for split in ("train", "test"):
        (folder / "ImageSets" / "Main" / f"aeroplane_{split}.txt").write_text("1 -1\n")
    data = load("voc2007", tmp_path)
    assert labels(data.train) == [7, 11] and read_image(data.test[0]).size == (4, 3)
    shown = capsys.readouterr()
    assert "number of bndboxes=2" in shown.err and not shown.out
