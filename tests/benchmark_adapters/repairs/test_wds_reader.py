"""Shards read by us and by clip_benchmark itself: the same images, and every mishap named."""

import functools
import http.server
import io
import pickle
import sys
import tarfile
import threading
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.benchmark_shards import CLASSES, TEMPLATES, picture, sample, write_set, write_tar
from helpers.upstream import mended, still_broken
from PIL import Image
from torch.utils.data import DataLoader

from benchmark_adapters import seam
from benchmark_adapters.repairs import wds_reader
from benchmark_adapters.repairs.wds_samples import plain_message, set_skip_broken, skipped
from open_clip_mmrl.errors import UsageError

# What clip_benchmark's own reader warns about on every run.
pytestmark = pytest.mark.filterwarnings("ignore:WebDataset.shardshuffle")


def to_tensor(image: Image.Image) -> torch.Tensor:
    assert image.mode == "RGB"
    return torch.from_numpy(np.array(image))


def ours(root: object, split: str = "test", **kwargs) -> wds_reader.Shards:
    return wds_reader.build_wds_dataset("x", to_tensor, split=split, data_dir=str(root), **kwargs)


def theirs(root: object, split: str = "test"):
    build = seam.original(seam.BUILDER, "build_wds_dataset")
    return build("x", to_tensor, split=split, data_dir=str(root))


def batches(dataset, size: int = 4, **kwargs) -> list:
    """As clip_benchmark's command line reads a set it evaluates."""
    return list(DataLoader(dataset.batched(size), batch_size=None, **kwargs))


def error_of(root: object, **kwargs) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        batches(ours(root), **kwargs)
    traceback.clear_frames(caught.tb)  # lets workers go at once; left to gc, they hang for 5 s
    return plain_message(caught.value)


@pytest.fixture
def root(tmp_path) -> Path:
    """Eleven images in three shards."""
    items = [sample(index) for index in range(11)]
    return write_set(tmp_path / "set", items[:5], items[5:6], items[6:])


@pytest.fixture
def skipping():
    set_skip_broken(True)
    yield
    set_skip_broken(False)


# The same as clip_benchmark's own.


def test_classification_sets_equal_theirs(root):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = batches(ours(root))
    expected = batches(theirs(root))
    assert [len(labels) for _, labels in found] == [4, 4, 3]
    for (images, labels), (their_images, their_labels) in zip(found, expected, strict=True):
        assert torch.equal(images, their_images)
        assert torch.equal(labels, their_labels) and labels.dtype == their_labels.dtype
    for name in ("classes", "templates"):
        assert getattr(ours(root), name) == getattr(theirs(root), name)
    assert ours(root).classes == CLASSES and ours(root).templates == TEMPLATES


def test_training_sets_equal_theirs(root):
    """As the command line reads the training split of a linear probe."""
    found, expected = (list(DataLoader(read(root), batch_size=4)) for read in (ours, theirs))
    for (images, labels), (their_images, their_labels) in zip(found, expected, strict=True):
        assert torch.equal(images, their_images) and torch.equal(labels, their_labels)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_every_image_mode_is_converted_as_theirs(tmp_path, mode):
    root = write_set(tmp_path, [{"png": picture(3, mode=mode), "cls": b"1"}])
    assert torch.equal(batches(ours(root))[0][0], batches(theirs(root))[0][0])


def test_multi_label_sets_equal_theirs(tmp_path):
    items = []
    for index in range(5):
        stream = io.BytesIO()
        np.save(stream, np.arange(4) % (index + 1) == 0)
        items.append({"png": picture(index), "npy": stream.getvalue()})
    root = write_set(tmp_path, items, kind="multilabel")
    for (images, labels), expected in zip(batches(ours(root)), batches(theirs(root)), strict=True):
        assert torch.equal(images, expected[0]) and torch.equal(labels, expected[1])
        assert labels.shape[1] == 4


def test_caption_sets_equal_theirs(tmp_path):
    items = [{"webp": picture(i, "WEBP"), "txt": f"a {i}\nein Käfer".encode()} for i in range(5)]
    root = write_set(tmp_path, items, kind="retrieval", classes=None)
    for (images, texts), expected in zip(batches(ours(root)), batches(theirs(root)), strict=True):
        assert torch.equal(images, expected[0]) and texts == expected[1]
    assert texts == [["a 4", "ein Käfer"]]


def test_sets_without_class_names(tmp_path):
    root = write_set(tmp_path, [sample(0, label=77)], classes=None)
    assert ours(root).classes is None and batches(ours(root))[0][1].tolist() == [77]


def test_image_formats_have_the_order_of_upstream(tmp_path):
    root = write_set(tmp_path, [{"jpg": picture(0, "JPEG"), "png": picture(1), "cls": b"0"}])
    assert torch.equal(batches(ours(root))[0][0], batches(theirs(root))[0][0])


# Workers.


def seen(found: list) -> list:
    return sorted(
        (label, image.sum().item())
        for images, ls in found
        for image, label in zip(images, ls.tolist(), strict=True)
    )


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers(root, workers):
    assert seen(batches(ours(root), num_workers=workers)) == seen(batches(ours(root)))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_upstream_needs_as_many_shards_as_workers(root):
    with still_broken("wds_reader", ValueError, "fewer shards than workers"):
        try:
            batches(theirs(root), num_workers=4)
        except ValueError as error:
            traceback.clear_frames(error.__traceback__)  # lets workers go at once
            raise


def test_upstream_cannot_be_sent_to_spawned_workers(root):
    with still_broken("wds_reader", (AttributeError, pickle.PicklingError), "local object|lambda"):
        pickle.dumps(theirs(root))


def test_upstream_takes_labels_beyond_the_class_names(tmp_path):
    root = write_set(tmp_path, [sample(0, label=77)])
    try:
        assert batches(theirs(root))[0][1].tolist() == [77]
    except ValueError:
        pytest.fail(mended("wds_samples"))


def test_spawned_workers_and_their_count_of_broken_images(tmp_path, skipping):
    items = [sample(index) for index in range(6)]
    items[2] = {"png": b"nothing", "cls": b"2"}
    root = write_set(tmp_path, items)
    # A transform that numpy has: a worker would take seconds more to import this module.
    dataset = wds_reader.build_wds_dataset("x", np.asarray, data_dir=str(root))
    found = batches(dataset, num_workers=1, multiprocessing_context="spawn")
    assert [labels.tolist() for _, labels in found] == [[0, 1, 3, 0], [1]]
    assert skipped() == 1


# Broken images.

WHOLE = picture(5, "JPEG")
BROKEN = {
    "png": (b"nothing", "not an image"),
    "webp": (b"", "the file is empty"),
    "jpg": (WHOLE[: len(WHOLE) // 2], "runcated"),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("extension", BROKEN)
def test_a_broken_image_is_named(tmp_path, extension, workers):
    content, reason = BROKEN[extension]
    root = write_set(tmp_path, [sample(0)], [sample(1), {extension: content, "cls": b"2"}])
    message = error_of(root, num_workers=workers)
    assert message.startswith(f"{root}/test/1.tar, key s0000002: .{extension} cannot be read (")
    assert reason in message and "0x" not in message
    assert message.endswith("or leave broken images out with --skip_broken")


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_images_are_skipped_and_counted(tmp_path, skipping, workers):
    items = [sample(index) for index in range(8)]
    for place, (extension, (content, _)) in zip((0, 3, 7), BROKEN.items(), strict=True):
        items[place] = {extension: content, "cls": b"0"}
    root = write_set(tmp_path, items[:4], items[4:])
    assert [label for label, _ in seen(batches(ours(root), num_workers=workers))] == [0, 1, 1, 2, 2]
    assert skipped() == 3
    batches(ours(root), num_workers=workers)
    assert skipped() == 6


def test_the_count_starts_again_at_zero(tmp_path, skipping):
    root = write_set(tmp_path, [{"png": b"", "cls": b"0"}, sample(1)])
    batches(ours(root))
    assert skipped() == 1
    set_skip_broken(True)
    assert skipped() == 0
    set_skip_broken(False)
    assert skipped() == 0
    assert "cannot be read" in error_of(root)


def test_a_wrong_label_is_never_skipped(tmp_path, skipping):
    root = write_set(tmp_path, [{"png": b"", "cls": b"9"}])
    assert "holds label 9" in error_of(root)


# Targets.


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("4", "label 4; with 4 class names labels are 0 to 3"),
        ("-1", "label -1; with 4 class names labels are 0 to 3"),
        ("1.0", "b'1.0', not an integer"),
        ("dog", "b'dog', not an integer"),
    ],
)
def test_a_label_that_is_none_of_the_classes(tmp_path, label, words):
    root = write_set(tmp_path, [sample(0), sample(1, label=label)])
    message = error_of(root)
    assert message == f"{root}/test/0.tar, key s0000001: .cls holds {words}"


def test_a_negative_label_where_there_are_no_class_names(tmp_path):
    root = write_set(tmp_path, [sample(0, label=-1)], classes=None)
    assert error_of(root).endswith("holds label -1; labels begin at 0")


@pytest.mark.parametrize(("classes", "words"), [(CLASSES, "of the 4 class names"), (None, "class")])
def test_a_label_set_of_another_shape(tmp_path, classes, words):
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 2)))
    items = [{"png": picture(0), "npy": stream.getvalue()}]
    root = write_set(tmp_path, items, kind="multilabel", classes=classes)
    assert error_of(root).endswith(f"array of shape (2, 2), not one number for each {words}")


@pytest.mark.parametrize(
    ("kind", "extension", "words"),
    [("multilabel", "npy", "magic string"), ("retrieval", "txt", "no text in UTF-8")],
)
def test_a_target_that_is_something_else(tmp_path, kind, extension, words):
    root = write_set(tmp_path, [{"png": picture(0), extension: b"\xff\xfe" * 9}], kind=kind)
    message = error_of(root)
    assert message.startswith(f"{root}/test/0.tar, key s0000000: .{extension} holds ")
    assert words in message


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"png": b"x"}, "no .cls; it has .png"),
        ({"cls": b"1"}, "no .webp or .png or .jpg or .jpeg; it has .cls"),
        (
            {"seg.png": b"x", "cls": b"1"},
            "no .webp or .png or .jpg or .jpeg; it has .seg.png, .cls",
        ),
        ({"json": b"{}"}, "no .cls; it has .json"),
    ],
)
def test_a_sample_without_its_members(tmp_path, members, words):
    root = write_set(tmp_path, [sample(0), members])
    assert error_of(root) == f"{root}/test/0.tar, key s0000001: {words}"


def test_labels_are_checked_against_class_names_set_later(tmp_path):
    """clip_benchmark sets those of --custom_classname_file after it has built the set."""
    root = write_set(tmp_path, [sample(index) for index in range(4)])
    dataset = ours(root)
    dataset.classes = CLASSES[:3]
    with pytest.raises(ValueError, match="label 3; with 3 class names"):
        batches(dataset)
    dataset.classes = [*CLASSES, "emu"]
    assert len(batches(dataset)[0][1]) == 4 and dataset.batched(2).classes[-1] == "emu"


class Trap:
    """Refuses to be pickled back."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


def test_no_pickle_is_loaded(tmp_path):
    items = [{**sample(0), "pyd": pickle.dumps(Trap()), "pickle": pickle.dumps(Trap())}]
    assert batches(ours(write_set(tmp_path, items)))[0][1].tolist() == [0]


# Shards.


@pytest.mark.parametrize(("number", "words"), [("2", "2.tar is there"), ("4", "missing are 3.tar")])
def test_the_number_of_shards_is_checked(root, number, words):
    (root / "test" / "nshards.txt").write_text(number)
    with pytest.raises(ValueError, match=words):
        ours(root)


def test_a_missing_split_and_a_missing_folder(root):
    with pytest.raises(ValueError, match=r"no split 'train'.*there: test"):
        ours(root, split="train")
    with pytest.raises(UsageError, match="does not exist"):
        ours(root / "nowhere")


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def ends(path: Path) -> list[int]:
    """Where each member of a tar begins, and where the last one ends."""
    with tarfile.open(path) as tar:
        members = tar.getmembers()
        return [member.offset for member in members] + [tar.offset]


@pytest.mark.parametrize("where", ["in a file", "after a file", "in a header", "at the end"])
def test_a_shard_that_is_cut_off(root, where):
    path = root / "test" / "2.tar"
    offsets = ends(path)
    size = {
        "in a file": offsets[4] + 520,
        "after a file": offsets[4],
        "in a header": offsets[4] + 100,
        "at the end": offsets[-1],
    }
    cut(path, size[where])
    message = error_of(root)
    assert message.startswith(f"{path} cannot be read (")
    assert message.endswith("); download it again")
    assert ("unexpected end" if where == "in a file" else "it ends") in message


def test_a_shard_with_a_damaged_header(root):
    path = root / "test" / "0.tar"
    content = bytearray(path.read_bytes())
    start = ends(path)[4]
    content[start : start + 512] = bytes(range(256)) * 2
    path.write_bytes(content)
    assert "damaged" in error_of(root)
    assert seen(batches(theirs(root))) != [], mended("wds_reader")  # as if nothing was missing


def test_a_compressed_shard(root):
    import gzip

    expected, path = seen(batches(ours(root))), root / "test" / "2.tar"
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert seen(batches(ours(root))) == expected


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 99])
def test_a_shard_that_is_no_tar(root, content):
    path = root / "test" / "1.tar"
    path.write_bytes(content)
    assert error_of(root).startswith(f"{path} cannot be read (")


def test_a_shard_that_holds_nothing(root):
    write_tar(root / "test" / "1.tar", [])
    message = error_of(root)
    assert message.startswith(f"{root}/test/1.tar ")
    # Python 3.10's tarfile takes an empty archive in a stream for a damaged one.
    old = sys.version_info < (3, 11)
    assert message.endswith("download it again" if old else "remove it and correct nshards.txt")


def test_a_name_that_is_there_twice(root):
    with tarfile.open(root / "test" / "1.tar", "a") as tar:
        tar.addfile(tarfile.TarInfo("s0000005.cls"))
    message = error_of(root)
    assert message.startswith(f"{root}/test/1.tar cannot be read (s0000005.cls: duplicate")
    assert "None" not in message


def test_other_members_of_a_tar_are_ignored(tmp_path):
    root = write_set(tmp_path, [sample(0)])
    with tarfile.open(root / "test" / "0.tar", "a") as tar:
        for name in ("__meta__/x.json", "README", ".hidden"):
            tar.addfile(tarfile.TarInfo(name))
        folder = tarfile.TarInfo("folder.d")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    assert seen(batches(ours(root))) == seen(batches(theirs(root)))


def test_paths_are_no_urls(tmp_path):
    """What has a meaning in a URL, or in a shell's or webdataset's patterns, may be in a path."""
    root = write_set(tmp_path / "a#b?c {0..3} %20;d::e", [sample(0)])
    assert len(batches(ours(root))) == 1


def test_without_a_transform(root):
    plain = wds_reader.build_wds_dataset("x", None, data_dir=str(root))
    assert next(iter(plain))[0].size == (9, 7)


# From a server.


@pytest.fixture
def server(tmp_path):
    """(address, root folder, requested paths) of a web server."""
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, code="-", size="-"):
            requests.append(self.path)

        def log_message(self, *args):
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", folder, requests
        running.shutdown()


def test_shards_from_a_server(server):
    address, folder, _ = server
    root = write_set(folder / "set", [sample(0), sample(1)], [sample(2)])
    dataset = ours(f"{address}/set")
    assert dataset.classes == CLASSES and dataset.templates == TEMPLATES
    assert seen(batches(dataset)) == seen(batches(ours(root)))


def test_shards_from_a_server_are_kept(server, tmp_path):
    """In a folder that is made, and under names that do not run into one another."""
    address, folder, requests = server
    expected = {}
    for name, split, label in (("a", "test", 0), ("a", "train", 1), ("b", "test", 2)):
        write_set(folder / name, [sample(label)], split=split)
        expected[name, split] = label
    cache = tmp_path / "new" / "cache"
    for _ in range(2):
        for (name, split), label in expected.items():
            dataset = ours(f"{address}/{name}", split, cache_dir=str(cache))
            assert batches(dataset)[0][1].tolist() == [label]
    assert len(list(cache.glob("*/0.tar"))) == len(list(cache.glob("*/*"))) == 3
    assert sum(path.endswith(".tar") for path in requests) == 3


@pytest.mark.parametrize("cached", [False, True])
def test_a_shard_that_the_server_does_not_have(server, tmp_path, cached):
    address, folder, _ = server
    root = write_set(folder / "set", [sample(0)], [sample(1)])
    (root / "test" / "1.tar").unlink()
    dataset = ours(f"{address}/set", cache_dir=str(tmp_path / "cache") if cached else None)
    with pytest.raises(ValueError, match=r".") as caught:
        batches(dataset)
    assert str(caught.value).startswith(f"{address}/set/test/1.tar cannot be fetched: status 404 (")
    assert not list(tmp_path.glob("cache/*/*1.tar*"))


def test_a_cache_folder_that_cannot_be_made(root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot make cache folder .*file/x: Not a directory"):
        ours(root, cache_dir=str(tmp_path / "file" / "x"))


# Messages.


def test_plain_message_drops_the_traceback_of_a_worker():
    assert plain_message(ValueError("one\n  two ")) == "one two"
    assert plain_message(KeyError("x")) == "'x'"
    assert plain_message(ValueError()) == ""
    wrapped = "Caught E in DataLoader worker process 1.\nOriginal Traceback\n  f: g\nmy.E: no: x\n"
    assert plain_message(RuntimeError(wrapped)) == "no: x"
