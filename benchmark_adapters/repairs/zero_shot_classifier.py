"""The zero-shot classifier: slow, and in half precision when it is saved.

clip_benchmark 1.6.2 calls the text tower once per class; here prompts of many classes go through it
together, with the same arithmetic. Under amp its classifier is bfloat16 or float16, so that one
stored by `--save_clf` fails with `--load_clfs --no_amp`. Templates that cannot be filled in fail
with a bare IndexError or KeyError. To see the first two: count the calls of `model.encode_text`
during its `zero_shot_classifier(..., amp=True)`, and look at the dtype of what it returns.

Shapes: C classes, E embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from open_clip_mmrl.hub.class_tokens import warn_of_look_alikes

from ..auto import is_auto, with_new_classes

PROMPTS_AT_ONCE = 1024
"""Bounds the memory of the text tower: about 1 GB under amp at a width of 1,024."""


def zero_shot_classifier(
    model: Any,
    tokenizer: Callable[[list[str]], Tensor],
    classnames: Sequence[str],
    templates: Sequence[str] | Mapping[str, Sequence[str]],
    device: str,
    amp: bool = True,
) -> Tensor:
    """Return one unit vector per class, [E, C], float32 or better: the mean of its prompts.

    Arguments as clip_benchmark's: templates are prompts with {c} for the class name, or the prompts
    of each class by its name.

    Raises:
        ValueError: no classes or templates, or templates that cannot be filled in.
    """
    texts = [class_prompts(name, templates) for name in classnames]
    if not texts:
        raise ValueError("there are no class names: zero-shot classification needs them.")
    columns: list[Tensor] = []
    first: dict[tuple[bytes, ...], int] = {}  # of the classes with the same token ids
    progress = tqdm(total=sum(map(len, texts)), unit=" prompts", desc="classifier")
    with torch.no_grad(), torch.autocast(device, enabled=amp), progress:
        for group in _groups(texts):
            parts, ids = [], []
            for prompts in _chunks([text for class_texts in group for text in class_texts]):
                tokens = tokenizer(prompts)
                parts.append(F.normalize(model.encode_text(tokens.to(device)), dim=-1))
                ids += [row.numpy().tobytes() for row in tokens]
                progress.update(len(prompts))
            counts = [len(class_texts) for class_texts in group]
            for features in torch.cat(parts).split(counts):
                place = first.setdefault(tuple(ids[: len(features)]), len(columns))
                ids = ids[len(features) :]
                mean = features.mean(dim=0)
                columns.append(columns[place] if place < len(columns) else mean / mean.norm())
    classifier = at_least_float32(torch.stack(columns, dim=1))
    warn_of_look_alikes(classnames, classifier.T)
    if is_auto(model) and model.features == "fused":
        classifier = with_new_classes(model, classifier, classnames)
    return classifier


def class_prompts(name: str, templates: Sequence[str] | Mapping[str, Sequence[str]]) -> list[str]:
    """Return the prompts of one class."""
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


def at_least_float32(values: Tensor) -> Tensor:
    """Return half precision as float32, and everything else as it is."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _groups(texts: Sequence[list[str]]) -> Iterator[list[list[str]]]:
    """Yield classes together as long as their prompts fit into one batch."""
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
