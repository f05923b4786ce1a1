"""Shards (`wds/NAME`): fewer than workers are an error, and damaged ones pass for whole.

clip_benchmark 1.6.2 with webdataset 1.0.2, item by item:

- Fewer shards than workers (4 by default) are an error.
- The pipeline has lambdas, which workers started by spawn or forkserver cannot receive (the default
  of Python 3.14).
- A tar that ends, or has a damaged header, between two files is read as a whole one.
- With too small a number in nshards.txt images are dropped; a missing shard is found late, in a
  worker, by an error that does not name it.
- In `--wds_cache_dir`, which has to exist, the first shard of every split and data set has the name
  "0.tar": the one that was read first is read for all.
- A path is cut at "#" and "?", as a URL would be; and there is a warning about `shardshuffle`.

To see the first: its `build_wds_dataset` in a DataLoader with more workers than shards. Samples are
repaired by `wds_samples`. The images and their order are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from webdataset.compat import FluidInterface
from webdataset.pipeline import DataPipeline
from webdataset.shardlists import SimpleShardList, split_by_worker
from webdataset.tariterators import group_by_keys

from open_clip_mmrl.data.shards.download import cached, fetch_shard, is_url, open_shard
from open_clip_mmrl.data.shards.index import read_layout, shard_urls
from open_clip_mmrl.data.shards.tar_file import members
from open_clip_mmrl.errors import UsageError

from .wds_samples import ReadSample, plain_message


def build_wds_dataset(
    dataset_name: str,
    transform: Callable[[Image.Image], Any] | None,
    split: str = "test",
    data_dir: str = "root",
    cache_dir: str | None = None,
) -> Shards:
    """Return the images of one split below `data_dir`, a folder or a URL, in the order of shards.

    Each is (transform(RGB image), target): the label of a classification set, zeros and ones [C]
    of a multi-label set, a list of captions of a retrieval set. `dataset_name` is not used; shards
    from a URL are kept in `cache_dir`, if it is given.

    Raises:
        ValueError: what `read_layout` and `shard_urls` find wrong, or a `cache_dir` that cannot
            be created. While images are read: a shard that is cut off or empty, a sample without
            its members, a broken image, a target that does not fit the class names.
    """
    del dataset_name
    layout = read_layout(data_dir)
    urls = shard_urls(layout, split)
    if cache_dir:
        try:
            Path(cache_dir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make cache folder {cache_dir}: {error.strerror}") from error
    read = ReadSample(transform, layout.kind, layout.class_names)
    return Shards(urls, cache_dir or None, read, layout.templates)


# pyrefly: ignore[inconsistent-inheritance]  (webdataset's own WebDataset inherits the same two)
class Shards(DataPipeline, FluidInterface):
    """A webdataset pipeline with the `classes` and `templates` that clip_benchmark uses."""

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
        """Return names by label; clip_benchmark sets those of --custom_classname_file."""
        return self.read.classes

    @classes.setter
    def classes(self, names: list[str] | None) -> None:
        self.read.classes = names


def _samples(cache_dir: str | None, sources: Iterable[dict]) -> Iterator[dict]:
    """Yield the samples of shards, each {"url": ...}, as `ReadSample` takes them."""
    for source in sources:
        url, count = source["url"], 0
        stream = _open(url, cache_dir)
        try:
            with stream:
                for sample in group_by_keys(_members(url, stream)):
                    count += 1
                    yield sample
        except Exception as error:  # of tarfile, network or disk, without the name of the shard
            if not isinstance(error, OSError):
                error.args = error.args[:1]  # webdataset adds its stream to them
            kept = cached(url, cache_dir) if cache_dir and is_url(url) else None
            remedy = f"remove {kept}, and it is downloaded again" if kept else "download it again"
            raise ValueError(f"{url} cannot be read ({plain_message(error)}); {remedy}") from error
        if not count:
            raise ValueError(f"{url} holds no samples; remove it and correct nshards.txt")


def _open(url: str, cache_dir: str | None) -> BinaryIO:
    if not is_url(url):
        return Path(url).open("rb")
    if cache_dir is None:
        return open_shard(url)
    return Path(fetch_shard(url, folder=cache_dir, quiet=True)).open("rb")


def _members(url: str, stream: BinaryIO) -> Iterator[dict]:
    """Yield the files in a tar, as webdataset's `group_by_keys` takes them."""
    for member, read in members(stream):
        if not re.match(r"__[^/]*__($|/)", member.name):
            yield {"fname": member.name, "data": read(), "__url__": url}
