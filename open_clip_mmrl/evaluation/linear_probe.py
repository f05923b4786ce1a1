"""The linear probe: logistic regression on frozen image features, the baseline of few-shot papers.

The recipe is CLIP's (Radford et al. 2021, appendix A.3: scikit-learn's L-BFGS, at most 1000
iterations, one swept regularization) in CoOp's few-shot form (github.com/KaiyangZhou/CoOp, lpclip):
features as they leave the projection, *not* of unit length, and a search on a few validation
images. The test images have no part in it.

Shapes: N images, C classes, E embedding width.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from ..config import Shots
from ..data import Example, ImageData
from ..data.loading.images import ImageSet, eval_transform, in_order, loader
from ..data.sampling import few_shot_subset, shots_number
from ..models.mmrl_clip import MMRLCLIP
from ..models.precision import autocast, in_half
from ..utils.progress import Progress

GRID = tuple(10.0**power for power in (6, 4, 2, 0, -2, -4, -6))
STEPS = 8
VALIDATION_SHOTS = 4
FOLDS = 5
DEFAULT_REGULARIZATION = 0.316
"""C where nothing can choose it (one image per class, no validation): CLIP's README uses it."""

_Trial = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""x, y, held-out x, held-out y."""


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier of raw image features."""

    weight: Tensor
    """[C, E], float32; a class without a training image has zeros."""
    bias: Tensor
    """[C]; a class without a training image has minus infinity: it is never the answer."""
    regularization: float
    """scikit-learn's C, the inverse of the strength."""
    chosen_on: str
    """What chose it: "validation", "folds" (of the training images) or "default"."""

    def scores(self, features: Tensor) -> Tensor:
        """Return logits [N, C] of `frozen_features` [N, E]."""
        return features.to(self.weight.dtype) @ self.weight.T + self.bias

    @property
    def num_parameters(self) -> int:
        """Return the number of weights and biases."""
        return self.weight.numel() + self.bias.numel()


@torch.no_grad()
def frozen_features(
    model: MMRLCLIP,
    examples: Sequence[Example],
    *,
    precision: str = "fp32",
    workers: int = 0,
    quiet: bool = False,
) -> Tensor:
    """Return the base model's image features [N, E], float32 on the CPU, not of unit length."""
    device, found = model.device, []
    images, batches = ImageSet(examples, eval_transform(model)), in_order(len(examples))
    model = in_half(model, precision)
    with Progress("image features", len(batches), quiet=quiet) as progress:
        for pixels, _ in loader(images, batches, workers):
            with autocast(precision, device):
                features = model.encode_image(pixels.to(device), features="frozen")
            found.append(features.float().cpu())
            progress.advance(1, images=len(pixels))
    if not found:
        raise ValueError("there are no images to take features of.")
    return torch.cat(found)


def train_probe(
    model: MMRLCLIP,
    subset: ImageData,
    *,
    shots: Shots,
    seed: int,
    precision: str = "fp32",
    workers: int = 0,
    quiet: bool = False,
) -> LinearProbe:
    """Fit a probe on what `ImageData.few_shot(shots, seed)` left in `train`.

    It has the images that every other method is trained on. The regularization is chosen on
    min(shots, 4) validation images per class, drawn with the same seed, as CoOp draws them.
    """
    held_out: tuple[Example, ...] = ()
    if subset.val:
        few = min(shots_number(shots), VALIDATION_SHOTS)
        drawn = few_shot_subset([e.label for e in subset.val], few, seed)
        held_out = tuple(subset.val[index] for index in drawn)

    def labeled(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        features = frozen_features(
            model, examples, precision=precision, workers=workers, quiet=quiet
        )
        return features, torch.tensor([example.label for example in examples])

    return fit_probe(
        *labeled(subset.train),
        *(labeled(held_out) if held_out else ()),
        num_classes=subset.num_classes,
        seed=seed,
        quiet=quiet,
    )


def fit_probe(
    features: Tensor,
    labels: Tensor,
    val_features: Tensor | None = None,
    val_labels: Tensor | None = None,
    *,
    num_classes: int,
    seed: int = 1,
    quiet: bool = True,
) -> LinearProbe:
    """Fit on features [N, E] and labels [N], with the regularization found on validation features.

    Where there are none, or where they leave out a class that was trained on, it is found by
    stratified cross-validation over the training images (as many folds as the largest class has
    images, five at most); with one image per class it is `DEFAULT_REGULARIZATION`.

    Raises:
        ValueError: fewer than two classes to tell apart, or a label beyond `num_classes`.
    """
    x, y = features.double().numpy(), labels.numpy()
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            f"a linear probe needs images of two classes at least; there are {len(classes)}."
        )
    if not 0 <= classes[0] <= classes[-1] < num_classes:
        raise ValueError(
            f"with {num_classes} classes labels are 0 to {num_classes - 1}; they are "
            f"{classes[0]} to {classes[-1]}."
        )
    folds = min(FOLDS, int(np.bincount(y).max()))
    trials: list[_Trial] = []
    chosen_on = "default"
    has_val = val_features is not None and val_labels is not None
    if has_val and np.isin(classes, val_labels.numpy()).all():
        chosen_on, trials = (
            "validation",
            [(x, y, val_features.double().numpy(), val_labels.numpy())],
        )
    elif folds > 1:
        chosen_on, trials = "folds", list(_folds(x, y, folds, seed))
    c = _search(trials, quiet) if trials else DEFAULT_REGULARIZATION
    fitted = _fit(x, y, c)
    weight, bias = fitted.coef_, fitted.intercept_
    if len(classes) == 2:  # scikit-learn keeps one row: the second class against the first
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    probe = LinearProbe(
        weight=torch.zeros(num_classes, x.shape[1]),
        bias=torch.full((num_classes,), -torch.inf),
        regularization=c,
        chosen_on=chosen_on,
    )
    probe.weight[classes] = torch.from_numpy(weight).float()
    probe.bias[classes] = torch.from_numpy(bias).float()
    return probe


def _search(trials: list[_Trial], quiet: bool) -> float:
    """Return the C with the best accuracy over all trials."""
    with Progress("regularization", len(GRID) + 1 + STEPS, quiet=quiet) as progress:

        def accuracy(power: float) -> float:
            right = total = 0
            for x, y, held_x, held_y in trials:
                right += int((_fit(x, y, 10.0**power).predict(held_x) == held_y).sum())
                total += len(held_y)
            progress.advance(1)
            return right / total

        return 10.0 ** best_power(accuracy)


def best_power(accuracy: Callable[[float], float]) -> float:
    """Return log10 of the C that CoOp's search ends at.

    The best of `GRID`, then between a tenth and ten times of it `STEPS` comparisons in the log
    domain towards the better end, of which the last better end is taken. A tie goes to the first
    of the grid, and between ends to the smaller C.
    """
    powers = [float(np.log10(c)) for c in GRID]
    found = [accuracy(power) for power in powers]
    peak = powers[int(np.argmax(found))]
    left, right = peak - 1, peak + 1
    at_left, at_right = accuracy(left), accuracy(right)
    for _ in range(STEPS - 1):
        middle = (left + right) / 2
        if at_left < at_right:
            left, at_left = middle, accuracy(middle)
        else:
            right, at_right = middle, accuracy(middle)
    return right if at_left < at_right else left


def _folds(x: np.ndarray, y: np.ndarray, count: int, seed: int) -> Iterator[_Trial]:
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer images than folds is missing in some: harmless, the same for every C.
        warnings.simplefilter("ignore", UserWarning)
        for train, held in splitter.split(x, y):
            yield x[train], y[train], x[held], y[held]


def _fit(x: np.ndarray, y: np.ndarray, c: float) -> LogisticRegression:
    with warnings.catch_warnings():
        # At large C the recipe's 1000 iterations are the stop.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # With one image per class it asks whether the labels are numbers of a regression.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return LogisticRegression(C=c, max_iter=1000).fit(x, y)
