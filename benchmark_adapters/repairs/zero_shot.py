"""Zero-shot classification: the classifier from prompts in batches, and checked scoring.

Stand-ins for functions of the same names in clip_benchmark.metrics.zeroshot_classification, with
its arithmetic. Shapes: N images, B of them at a time, C classes, E embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..auto import is_auto, with_new_classes

PROMPTS_AT_ONCE = 1024
"""Bounds the memory of the text tower: at a width of 1,024 about 1 GB under amp."""


def autocast(device: Any, amp: bool) -> torch.autocast:
    """clip_benchmark's own arithmetic, for a device with or without an index."""
    return torch.autocast(torch.device(device).type, enabled=amp)


def zero_shot_classifier(
    model: Any,
    tokenizer: Callable[[list[str]], Tensor],
    classnames: Sequence[str],
    templates: Sequence[str] | Mapping[str, Sequence[str]],
    device: Any,
    amp: bool = True,
) -> Tensor:
    """One unit vector per class, [E, C], float32 or better: the mean of its prompts' features.

    Args:
        model: with `encode_text`.
        tokenizer: texts to token ids.
        templates: prompts with {c} for the class name, or the prompts of each class by its name.

    Raises:
        ValueError: no classes or templates, or templates that cannot be filled in.
    """
    texts = [class_prompts(name, templates) for name in classnames]
    if not texts:
        raise ValueError("there are no class names: zero-shot classification needs them.")
    columns = []
    progress = tqdm(total=sum(map(len, texts)), unit=" prompts", desc="classifier")
    with torch.no_grad(), autocast(device, amp), progress:
        for group in _groups(texts):
            parts = []
            for prompts in _chunks([text for class_texts in group for text in class_texts]):
                parts.append(F.normalize(model.encode_text(tokenizer(prompts).to(device)), dim=-1))
                progress.update(len(prompts))
            for features in torch.cat(parts).split([len(class_texts) for class_texts in group]):
                mean = features.mean(dim=0)
                columns.append(mean / mean.norm())
    # Under amp this is bfloat16, which --load_clfs could not use without amp. Nothing is lost.
    classifier = _at_least_float32(torch.stack(columns, dim=1))
    if is_auto(model) and model.features == "fused":
        classifier = with_new_classes(model, classifier, classnames)
    return classifier


def class_prompts(name: str, templates: Sequence[str] | Mapping[str, Sequence[str]]) -> list[str]:
    """The prompts of one class."""
    if isinstance(templates, Mapping):
        if not templates.get(name):
            raise ValueError(f"the templates by class have none for {name!r}.")
        return list(templates[name])
    if isinstance(templates, str) or not templates:
        raise ValueError(f"templates is {templates!r}; it has to be a list or a dict of prompts.")
    try:
        return [template.format(c=name) for template in templates]
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError(
            f"the templates {list(templates)!r} cannot be filled in ({error}): write {{c}} where "
            "the class name goes, and no other braces."
        ) from error


def run_classification(
    model: Any,
    classifier: Tensor,
    dataloader: Iterable[tuple[Tensor, Tensor]],
    device: Any,
    amp: bool = True,
) -> tuple[Tensor, Tensor]:
    """Logits [N, C] and targets, [N] or 0 and 1 in [N, C], of all images.

    Raises:
        ValueError: a target that is none of the classes, features of another width than the
            classifier's, or no images.
    """
    classifier = _at_least_float32(classifier)
    logits, targets = [], []
    for images, target in tqdm(dataloader):
        target = torch.as_tensor(target)
        check_targets(target, classifier.shape[1])
        with torch.no_grad(), autocast(device, amp):
            features = F.normalize(model.encode_image(images.to(device)), dim=-1)
            _check_width(features, classifier)
            found = 100.0 * features @ classifier.to(features.dtype)
        logits.append(found.float().cpu())
        targets.append(target.cpu())
    if not logits:
        raise ValueError("there are no images to classify.")
    return torch.cat(logits), torch.cat(targets)


def check_targets(target: Tensor, classes: int) -> None:
    """ValueError where labels [B], or multi-label targets [B, C], go beyond the class names."""
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


def accuracy(output: Tensor, target: Tensor, topk: Sequence[int] = (1,)) -> list[float]:
    """Shares of logits [N, C] whose k best hold the target [N], for every k."""
    best = output.topk(max(topk), dim=1).indices
    hits = best.eq(target.view(-1, 1))
    return [hits[:, :k].any(dim=1).sum().item() / len(target) for k in topk]


def metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """What clip_benchmark says of logits [N, C] and labels [N], in 0..1: acc1, acc5 (NaN with
    fewer than five classes), and the mean recall of the classes that have images.
    """
    shares = accuracy(logits, labels, topk=(1, 5) if logits.shape[1] >= 5 else (1,))
    right = logits.argmax(dim=1) == labels
    recalls = [right[labels == label].double().mean() for label in labels.unique()]
    return {
        "acc1": shares[0],
        "acc5": shares[1] if len(shares) > 1 else math.nan,
        "mean_per_class_recall": torch.stack(recalls).mean().item(),
    }


def _groups(texts: Sequence[list[str]]) -> Iterator[list[list[str]]]:
    """Classes together as long as their prompts fit into one batch."""
    group: list[list[str]] = []
    count = 0
    for class_texts in texts:
        if group and count + len(class_texts) > PROMPTS_AT_ONCE:
            yield group
            group, count = [], 0
        group.append(class_texts)
        count += len(class_texts)
    yield group


def _chunks(prompts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        yield prompts[start : start + PROMPTS_AT_ONCE]


def _at_least_float32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _check_width(features: Tensor, classifier: Tensor) -> None:
    if features.shape[1] != len(classifier):
        raise ValueError(
            f"the classifier is for features of width {len(classifier)}, this model's have "
            f"{features.shape[1]}: it was saved with another model or --model_type (mmrl_fused "
            "doubles the width). Save it again with the model and type used here."
        )
