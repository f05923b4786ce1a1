"""The linear probe: on CUDA only, and no metrics where a class has too few images.

clip_benchmark 1.6.2 asserts `device == "cuda"`, which also excludes "cuda:1", and returns None
after "insufficient data for this eval". To see them: call its `linear_probe.evaluate` with
`device="cpu"`, or with a `fewshot_k` that is larger than the smallest class. It also trains again
for weight decays that it has tried, and its shots depend on how many random numbers the features
took; here both depend on the seed alone. Its features are repaired by `feature_cache`.

The same method and the same draws: AdamW on one linear layer with cross-entropy and a cosine
schedule; with validation images a search for the weight decay, coarse to fine (after appendix A.3
of the CLIP paper).

Shapes: N images, E feature width, C classes.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import classification_report
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from open_clip_mmrl.errors import UsageError

from .accuracy import accuracy, metrics
from .feature_cache import Features, FeatureStore

WEIGHT_DECAYS = tuple(np.logspace(-6, 2, 97).tolist())
_COARSE, _SPANS = 16, (8, 4, 2, 1)  # steps between the first candidates, and of each refinement
_STREAMS = ("wds/", "tfds/", "vtab/")


@dataclass(frozen=True)
class Recipe:
    """How a probe is trained, apart from its weight decay."""

    classes: int
    lr: float
    epochs: int
    batch_size: int
    seed: int
    device: torch.device


def check_val_proportion(dataset: str, proportion: float | None) -> None:
    """Check that clip_benchmark can split validation images off this data set's training images.

    Raises:
        UsageError: the data set is a stream, which cannot be split, or the share is not in 0..1.
    """
    if proportion is None:
        return
    if not 0 < proportion < 1:
        raise UsageError(f"--val_proportion is {proportion}; give a share between 0 and 1.")
    if dataset.startswith(_STREAMS):
        raise UsageError(
            f"--val_proportion cannot split {dataset}, which is read as a stream; if the data set "
            "has a split of validation images, give --val_split val."
        )


def evaluate(
    model: nn.Module,
    train_dataloader: DataLoader,
    dataloader: DataLoader,
    fewshot_k: int,
    batch_size: int,
    num_workers: int,
    lr: float,
    epochs: int,
    model_id: str,
    seed: int,
    feature_root: str | Path,
    device: str | torch.device,
    val_dataloader: DataLoader | None = None,
    normalize: bool = True,
    amp: bool = True,
    verbose: bool = False,
) -> dict[str, Any]:
    """Return accuracies of a linear classifier of the model's image features.

    Arguments as clip_benchmark's. `dataloader` is scored; on `val_dataloader` the weight decay is
    chosen, which is 0 without it; any of the three may be a stream. `fewshot_k` images per class
    are drawn by `seed` alone, all if it is below 0. Features are kept in `feature_root`, in a
    folder named by `model_id` and the kind of features. `amp` is for the model; the probe itself is
    trained in float32. `num_workers` is not used, since features fit into memory.

    Returns:
        clip_benchmark's: lp_acc1, lp_acc5 (NaN with fewer than five classes) and
        lp_mean_per_class_recall, all in 0..1, and the settings.

    Raises:
        ValueError: a class with fewer than `fewshot_k` images, no images, targets that are no
            class labels, or a number that makes no sense.
    """
    del num_workers
    for name, value in {"fewshot_epochs": epochs, "batch_size": batch_size}.items():
        if value < 1:
            raise UsageError(f"--{name} is {value}; give 1 or more.")
    if not fewshot_k:
        raise UsageError("--fewshot_k is 0; give 1 or more, or -1 for all images.")
    device = torch.device(device)
    store = FeatureStore(
        Path(feature_root) / _folder(model_id, getattr(model, "features", None)),
        model,
        normalize=normalize,
        amp=amp,
        device=device,
        verbose=verbose,
    )
    train = store.features("train", train_dataloader)
    val = None if val_dataloader is None else store.features("val", val_dataloader)
    test = store.features("test", dataloader)
    rows = draw(train.labels, fewshot_k, seed, tested=test.labels)
    train = Features(train.values[rows], train.labels[rows])
    classes = 1 + int(max(part.labels.max() for part in (train, val) if part is not None))
    recipe = Recipe(classes, lr, epochs, batch_size, seed, device)
    weight_decay = 0.0
    if val is not None:
        weight_decay = search(train, val, recipe, verbose)
        if fewshot_k < 0:
            # With a few shots this would be training on more images than `fewshot_k`.
            train = Features(*(torch.cat(pair) for pair in zip(train, val, strict=True)))
    logits = _logits(fit(train, weight_decay, recipe), test)
    if verbose:
        print(classification_report(test.labels, logits.argmax(1), digits=3, zero_division=0))
        print(f"weight decay {weight_decay:g}")
    return {
        **{f"lp_{name}": value for name, value in metrics(logits, test.labels).items()},
        "weight_decay": weight_decay,
        "epochs": epochs,
        "seed": seed,
        "fewshot_k": fewshot_k,
        "normalized": normalize,
    }


def _folder(model_id: str, kind: str | None) -> str:
    """Return a name for every kind of features; long ones (of paths) end in a hash."""
    name = model_id if kind is None else f"{model_id}-{kind}"
    if len(name) <= 200:
        return name
    return f"{name[-180:]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def draw(labels: Tensor, shots: int, seed: int, *, tested: Tensor) -> Tensor:
    """Draw the rows of `shots` images of every class, or of all (below 0), in a random order.

    Raises:
        ValueError: a class of `labels` or `tested` has fewer.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    if shots < 0:
        return order
    drawn, counts = [], Counter()
    for row, label in zip(order.tolist(), labels[order].tolist(), strict=True):
        if counts[label] < shots:
            counts[label] += 1
            drawn.append(row)
    fewest, label = min((counts[label], label) for label in {*labels.tolist(), *tested.tolist()})
    if fewest < shots:
        remedy = f"at most {fewest}, or " if fewest else ""
        raise ValueError(
            f"fewshot_k is {shots}, but the class with label {label} has {fewest} training "
            f"images; give {remedy}-1 for all images."
        )
    return torch.tensor(drawn)


def search(train: Features, val: Features, recipe: Recipe, verbose: bool = False) -> float:
    """Return the one of `WEIGHT_DECAYS` that is best on the validation images."""
    most = len(WEIGHT_DECAYS[::_COARSE]) + 2 * len(_SPANS)
    with tqdm(total=most, desc="weight decay", leave=False, disable=not verbose) as bar:

        def value(index: int) -> float:
            logits = _logits(fit(train, WEIGHT_DECAYS[index], recipe), val)
            bar.update()
            return accuracy(logits, val.labels)[0]

        return WEIGHT_DECAYS[peak(value, len(WEIGHT_DECAYS))]


def peak(value: Callable[[int], float], count: int) -> int:
    """Return the best of every 16th index, then of its neighbors at smaller and smaller distances.

    The first of equal ones. Each index is tried once: training it again would give the same.
    """
    found: dict[int, float] = {}

    def best(indices: Sequence[int]) -> int:
        for index in indices:
            if index not in found:
                found[index] = value(index)
        return max(indices, key=found.__getitem__)

    top = best(range(0, count, _COARSE))
    for span in _SPANS:
        top = best([max(top - span, 0), top, min(top + span, count - 1)])
    return top


def fit(train: Features, weight_decay: float, recipe: Recipe) -> nn.Linear:
    """Train a linear layer from E to C; the same every time."""
    torch.manual_seed(recipe.seed)  # the layer's start and the order of the images
    classifier = nn.Linear(train.values.shape[1], recipe.classes).to(recipe.device)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=recipe.lr, weight_decay=weight_decay)
    values, labels = train.values.to(recipe.device), train.labels.to(recipe.device)
    # Of row numbers: the features themselves stay on the device.
    row_numbers = TensorDataset(torch.arange(len(labels)))
    batches = DataLoader(row_numbers, batch_size=recipe.batch_size, shuffle=True)
    steps = recipe.epochs * len(batches)
    for step, (rows,) in enumerate(chain.from_iterable(repeat(batches, recipe.epochs))):
        optimizer.param_groups[0]["lr"] = 0.5 * (1 + math.cos(math.pi * step / steps)) * recipe.lr
        rows = rows.to(recipe.device)
        optimizer.zero_grad()
        F.cross_entropy(classifier(values[rows]), labels[rows]).backward()
        optimizer.step()
    return classifier


@torch.no_grad()
def _logits(classifier: nn.Linear, features: Features) -> Tensor:
    return classifier(features.values.to(classifier.weight.device)).cpu()
