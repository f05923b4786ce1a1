"""Cached features of a linear probe: old ones are used when something has changed.

clip_benchmark 1.6.2 names its files by model and data set alone: with a retrained adapter, changed
data, another normalization or precision it continues with the old features without a word. To see
it: run its probe, change `adapter.safetensors`, run again: the metrics are the same. Here files
contain what they were computed from.

Shapes: N images, E feature width.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from open_clip_mmrl.utils.files import write_atomically
from open_clip_mmrl.utils.text import listing

logger = logging.getLogger(__name__)

_FIRST = 8
"""Images by which a change of preprocessing is recognized."""
_KEY = "made_from"


class Features(NamedTuple):
    """Features [N, E], float32, and class labels [N], both on the CPU."""

    values: Tensor
    labels: Tensor


class FeatureStore:
    """Features of one model, one file per split; computed where there is none that is up to date.

    They are `<folder>/<split>.safetensors`, whose headers hold what they were made from, as JSON.
    The model is a module with `encode_image`, on `device`; with amp it runs in the half precision
    that is torch's default there.
    """

    def __init__(
        self,
        folder: Path,
        model: Any,
        *,
        normalize: bool,
        amp: bool,
        device: torch.device,
        verbose: bool = False,
    ) -> None:
        self.folder, self.model, self.verbose = folder, model, verbose
        self.normalize, self.amp, self.device = normalize, amp, device
        precision = torch.get_autocast_dtype(device.type) if amp else torch.float32
        self._made_from = {
            "model": model_digest(model),
            "kind of features": getattr(model, "features", None),
            "normalize": normalize,
            "precision": str(precision).removeprefix("torch."),
        }

    def features(self, split: str, loader: DataLoader) -> Features:
        """Return features of the batches (images, class labels) of a loader, in its order.

        Raises:
            ValueError: there are no images, or there is not one class label for each.
        """
        batches = iter(loader)
        first = next(batches, None)
        if first is None:
            raise ValueError(f"there are no images in the {split} split.")
        made_from = {
            **self._made_from,
            "data": data_digest(loader.dataset),
            # As the model gets them, since preprocessing has no description of its own.
            "images": _digest([_bytes(torch.as_tensor(first[0][:_FIRST]))]),
        }
        path = self.folder / f"{split}.safetensors"
        found, changed = _load(path, made_from)
        if found is None:
            if changed:
                logger.info("%s is computed again: other %s", path, listing(changed))
            found = self._compute(split, chain([first], batches), _length(loader))
            tensors = {"features": found.values, "labels": found.labels}
            write_atomically(path, save(tensors, metadata={_KEY: json.dumps(made_from)}))
        return found

    @torch.no_grad()
    def _compute(self, split: str, batches: Iterable, total: int | None) -> Features:
        values, labels = [], []
        for images, targets in tqdm(batches, f"{split} features", total, disable=not self.verbose):
            labels.append(_class_labels(targets, split))
            with torch.autocast(self.device.type, enabled=self.amp):
                features = self.model.encode_image(images.to(self.device))
                if self.normalize:
                    features = F.normalize(features, dim=-1)
            values.append(features.float().cpu())
        return Features(torch.cat(values), torch.cat(labels))


def _class_labels(targets: Any, split: str) -> Tensor:
    is_label = isinstance(targets, Tensor) and targets.ndim == 1 and not targets.is_floating_point()
    if not is_label or targets.min() < 0:
        what = f"a batch of targets is of type {type(targets).__name__}"
        if isinstance(targets, Tensor):
            what = f"a batch of targets is {targets.dtype} of shape {list(targets.shape)}"
        if is_label:
            what = f"a label is {targets.min()}"
        raise ValueError(
            "a linear probe needs one class label for each image, a whole number from 0 on; in "
            f"the {split} split {what}."
        )
    return targets.long().cpu()


def _length(loader: DataLoader) -> int | None:
    try:
        return len(loader)
    except TypeError:  # a stream
        return None


def _load(path: Path, made_from: dict[str, Any]) -> tuple[Features | None, list[str]]:
    """Return the features of a file; or None, and the keys of its description that differ."""
    if not path.is_file():
        return None, []
    try:
        with safe_open(path, "pt") as file:
            there = json.loads((file.metadata() or {})[_KEY])
            changed = [key for key, value in made_from.items() if there.get(key) != value]
            if changed:
                return None, changed
            return Features(file.get_tensor("features"), file.get_tensor("labels")), []
    except (SafetensorError, KeyError, ValueError):
        return None, ["content than features"]


def model_digest(model: nn.Module) -> str:
    """Return a hash of what decides a model's features: weights, modules, config if it has one."""
    # Addresses of functions among a model's parts differ from process to process.
    parts = re.sub(r" at 0x[0-9a-f]+", "", f"{model!r} {getattr(model, 'config', None)!r}")
    state = model.state_dict().items()
    weights = chain.from_iterable((name.encode(), _bytes(value)) for name, value in state)
    return _digest(chain([parts.encode()], weights))


def data_digest(dataset: Dataset) -> str:
    """Return a hash of a data set's files, labels and size; of shards, their sizes and dates."""

    def parts(dataset: Any) -> Iterator[bytes]:
        yield type(dataset).__name__.encode()
        if hasattr(dataset, "__len__"):
            yield str(len(dataset)).encode()
        for name in ("samples", "targets", "indices"):  # of torchvision's sets, and of a Subset
            values = getattr(dataset, name, None)
            values = values.tolist() if hasattr(values, "tolist") else values
            if isinstance(values, Sequence):
                yield from (repr(value).encode() for value in values)
        for url in getattr(dataset, "urls", ()):
            yield repr((url, None if "://" in url else _size_and_date(url))).encode()
        if hasattr(dataset, "dataset"):
            yield from parts(dataset.dataset)

    return _digest(parts(dataset))


def _size_and_date(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


def _bytes(tensor: Tensor) -> bytes:
    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + content


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()[:32]
