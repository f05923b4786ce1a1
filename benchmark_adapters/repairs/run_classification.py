"""Scoring images: labels are never checked, and a saved classifier may not fit.

clip_benchmark 1.6.2 compares whatever labels a data set has with its class names: with the names of
another data set, images of labels beyond them only count as wrong. A classifier saved under amp
(bfloat16) fails with `--no_amp`, one of another width in a matrix product without a hint. To see
the first: its `run_classification` with a label of 10 and a classifier [E, 10] raises nothing.

Shapes: N images, B of them at a time, C classes, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from .zero_shot_classifier import at_least_float32


def run_classification(
    model: Any,
    classifier: Tensor,
    dataloader: Iterable[tuple[Tensor, Tensor]],
    device: str,
    amp: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return logits [N, C] and targets, [N] or 0 and 1 in [N, C], of all images.

    Arguments as clip_benchmark's; the classifier is [E, C].

    Raises:
        ValueError: a target that is none of the classes, features of another width than the
            classifier's, or no images.
    """
    classifier = at_least_float32(classifier)
    first = _first_equal(classifier)
    logits, targets = [], []
    for images, target in tqdm(dataloader):
        target = torch.as_tensor(target)
        check_targets(target, classifier.shape[1])
        with torch.no_grad(), torch.autocast(device, enabled=amp):
            features = F.normalize(model.encode_image(images.to(device)), dim=-1)
            _check_width(features, classifier)
            found = 100.0 * features @ classifier.to(features.dtype)
        logits.append(found[:, first].float().cpu())
        targets.append(target.cpu())
    if not logits:
        raise ValueError("there are no images to classify.")
    return torch.cat(logits), torch.cat(targets)


def _first_equal(classifier: Tensor) -> Tensor:
    """Return for each class the first whose column is the same, [C]: equals get equal logits."""
    group = classifier.T.unique(dim=0, return_inverse=True)[1]
    order = torch.arange(len(group), device=group.device)
    return torch.full_like(order, len(order)).scatter_reduce(0, group, order, "amin")[group]


def check_targets(target: Tensor, classes: int) -> None:
    """Raise ValueError where labels [B], or multi-label targets [B, C], exceed the class names."""
    if target.ndim == 2:
        if target.shape[1] != classes:
            raise ValueError(
                f"the multi-label targets have {target.shape[1]} columns, but there are {classes} "
                "class names: each column needs a name."
            )
        return
    wrong = target[(target < 0) | (target >= classes)]
    if len(wrong):
        raise ValueError(
            f"an image has label {int(wrong[0])}, but there are {classes} class names, for labels "
            f"0 to {classes - 1}: give the class names of this data set, in the order of its "
            "labels."
        )


def _check_width(features: Tensor, classifier: Tensor) -> None:
    if features.shape[1] != len(classifier):
        raise ValueError(
            f"the classifier is for features of width {len(classifier)}, this model's have "
            f"{features.shape[1]}: it was saved with another model or --model_type (mmrl_fused "
            "doubles the width). Save it again with the model and type used here."
        )
