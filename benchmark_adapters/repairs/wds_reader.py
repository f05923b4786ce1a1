"""clip_benchmark's webdataset reader (`wds/NAME`) anew: the same images, and errors one can read.

`build_wds_dataset` takes the place of the function of that name in
clip_benchmark.datasets.builder (1.6.2, with webdataset 1.0.2). What it cures is marked "Cure",
here and in `samples`.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO

from PIL import Image
from webdataset.compat import FluidInterface
from webdataset.pipeline import DataPipeline
from webdataset.shardlists import SimpleShardList, split_by_worker
from webdataset.tariterators import group_by_keys

from open_clip_mmrl.data.shards.download import fetch_shard, is_url, open_shard
from open_clip_mmrl.data.shards.index import read_layout, shard_urls
from open_clip_mmrl.errors import UsageError

from .wds_samples import ReadSample, plain_message


def build_wds_dataset(
    dataset_name: str,
    transform: Callable[[Image.Image], Any] | None,
    split: str = "test",
    data_dir: str = "root",
    cache_dir: str | None = None,
) -> Shards:
    """The images of one split below `data_dir`, a folder or a URL, in the order of the shards.

    Each is (transform(RGB image), target): the label of a classification set, zeros and ones [C]
    of a multi-label set, a list of captions of a retrieval set.

    Args:
        dataset_name: not looked at; it has its place in clip_benchmark's call.
        cache_dir: a folder in which shards from a URL are kept; without, they are not.

    Raises:
        ValueError: what `read_layout` and `shard_urls` find wrong, or a `cache_dir` that cannot
            be made. While images are read: a shard that is not whole or holds nothing, a sample
            without its members, a broken image, a target that does not fit the class names.
    """
    layout = read_layout(data_dir)
    # Cure: a missing shard was found late, deep inside a worker, and with too small a number in
    # nshards.txt images were dropped silently. This compares them before anything is read.
    urls = shard_urls(layout, split)
    if cache_dir:
        try:
            os.makedirs(cache_dir, exist_ok=True)  # Cure: a cache folder had to exist
        except OSError as error:
            raise UsageError(f"cannot make cache folder {cache_dir}: {error.strerror}") from error
    read = ReadSample(transform, layout.kind, layout.class_names)
    return Shards(urls, cache_dir or None, read, layout.templates)


class Shards(DataPipeline, FluidInterface):
    """A webdataset pipeline with the `classes` and `templates` that clip_benchmark looks for.

    Its stages are put together here instead of by `webdataset.WebDataset`:
    Cure: its check for emptiness in every worker made fewer shards than workers an error.
    Cure: its warning about `shardshuffle`; shards are never shuffled.
    Cure: lambdas, which do not reach workers started by spawn or forkserver.
    """

    def __init__(
        self,
        urls: list[str],
        cache_dir: str | None,
        read: ReadSample,
        templates: Sequence[str] | None,
    ) -> None:
        samples = partial(_samples, cache_dir)
        super().__init__(SimpleShardList(urls), split_by_worker, samples, read.stream)
        self.urls = urls
        self.read = read
        self.templates = None if templates is None else list(templates)

    @property
    def classes(self) -> list[str] | None:
        """Names by label; clip_benchmark replaces them by those of --custom_classname_file."""
        return self.read.classes

    @classes.setter
    def classes(self, names: list[str] | None) -> None:
        self.read.classes = names


def _samples(cache_dir: str | None, sources: Iterable[dict]) -> Iterator[dict]:
    """Shards, each {"url": ...}, to samples as `ReadSample` takes them."""
    for source in sources:
        url, count = source["url"], 0
        stream = _open(url, cache_dir)
        try:
            with stream:
                for sample in group_by_keys(_members(url, stream)):
                    count += 1
                    yield sample
        except Exception as error:  # Cure: what tarfile, network or disk say names no shard
            if not isinstance(error, OSError):
                error.args = error.args[:1]  # webdataset adds its stream to them
            reason = plain_message(error)
            raise ValueError(f"{url} cannot be read ({reason}); fetch it anew") from error
        if not count:
            raise ValueError(f"{url} holds no samples; remove it and correct nshards.txt")


def _open(url: str, cache_dir: str | None) -> BinaryIO:
    if not is_url(url):
        return open(url, "rb")  # Cure: a path was cut at "#" and "?", as a URL would be
    if cache_dir is None:
        return open_shard(url)
    # Cure: the name in the cache was "0.tar" for the first shard of every split and data set, so
    # whichever came first was read for all.
    return open(fetch_shard(url, folder=cache_dir, quiet=True), "rb")


class _Header(tarfile.TarInfo):
    """Tells its tar when the closing mark is met."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:
            tar.complete = True
            raise


def _members(url: str, stream: BinaryIO) -> Iterator[dict]:
    """The files in a tar, as webdataset's `group_by_keys` takes them."""
    with tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Header) as tar:
        while (member := tar.next()) is not None:
            if member.isreg() and not re.match(r"__[^/]*__($|/)", member.name):
                data = tar.extractfile(member).read()
                yield {"fname": member.name, "data": data, "__url__": url}
            tar.members.clear()  # nobody goes back to it
        # Cure: a tar that breaks off between two files, or has a damaged header there, was taken
        # for a whole one.
        if not getattr(tar, "complete", False):
            raise tarfile.ReadError("it breaks off, or is damaged, before its end")
