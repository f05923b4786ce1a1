"""`mmrl_auto`: both features for classes seen in training, the class feature for all others.

One classifier can hold both kinds: images are [sqrt(a) f_c ; sqrt(1-a) f_r], the text of a seen
class [sqrt(a) w ; sqrt(1-a) w], of a new one [w / sqrt(a) ; 0]; the inner products are
a f_c.w + (1-a) f_r.w and f_c.w. Where the adapter knows the mean image m of its training, all texts
are of the first kind, and every class loses what m scores: images are [f ; 1] / sqrt(2), texts
sqrt(2) [w ; -m.w]. Shapes: C classes, E embedding width.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from open_clip_mmrl.errors import UsageError

logger = logging.getLogger(__name__)

Evaluate = Callable[..., dict[str, Any]]


def choosing_features(evaluate: Evaluate) -> Evaluate:
    """Return a task's `evaluate` before which auto models choose their features.

    Class names are an argument, or those of the data set; tasks on captions have none. Only the
    first, zero-shot classification, can use both kinds of features in one classifier.
    """
    signature = inspect.signature(evaluate)

    @functools.wraps(evaluate)
    def choosing(*args: Any, **kwargs: Any) -> dict[str, Any]:
        given = signature.bind(*args, **kwargs).arguments
        mix, data = "classnames" in given, getattr(given["dataloader"], "dataset", None)
        names = given["classnames"] if mix else getattr(data, "classes", None)
        with chosen_features(given["model"], names, mix=mix):
            return evaluate(*args, **kwargs)

    return choosing


def is_auto(model: Any) -> bool:
    """Return whether a model is of the type mmrl_auto."""
    return hasattr(model, "seen_classes")


def seen_among(model: Any, class_names: Sequence[str]) -> Tensor:
    """Return which of the classes the model's adapter was trained on, bool [C]."""
    return model.seen_classes.among(class_names)


class SeenClasses:
    """The classes an adapter was trained on, compared by what the tokenizer makes of the prompts.

    Args:
        names: of the classes.
        readings: what the model reads of each name.
    """

    def __init__(
        self, names: Sequence[str], readings: Callable[[Sequence[str]], Sequence[Hashable]]
    ) -> None:
        self._readings, self._seen = readings, set(readings(names))

    def among(self, class_names: Sequence[str]) -> Tensor:
        """Return which of the classes are among them, bool [C]."""
        keys = self._readings(class_names) if class_names else []
        return torch.tensor([key in self._seen for key in keys], dtype=torch.bool)


@contextmanager
def chosen_features(
    model: Any, class_names: Sequence[str] | None, *, mix: bool = False
) -> Generator[None, None, None]:
    """Let an auto model choose its features for one task, and log which; leave others alone."""
    if not is_auto(model):
        yield
        return
    model.features, reason = _choose(model, class_names or (), mix)
    logger.info("mmrl_auto: %s", reason)
    own, centered = model.encode_image, is_centered(model, class_names or ())
    if centered:
        model.encode_image = _with_one(own)
    try:
        yield
    finally:
        model.features = "class"
        if centered:
            model.encode_image = own


def is_centered(model: Any, class_names: Sequence[str]) -> bool:
    """Return whether these classes compare by the mean image: seen and new ones together."""
    seen = seen_among(model, class_names)
    mixed = model.features == "fused" and bool(seen.any()) and not bool(seen.all())
    return mixed and model.image_means is not None


def _with_one(encode_image: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the function with a coordinate 1 after its unit vectors [B, 2E], for a constant."""

    def encode(images: Tensor) -> Tensor:
        return F.pad(encode_image(images), (0, 1), value=1.0) / 2**0.5

    return encode


def _choose(model: Any, class_names: Sequence[str], mix: bool) -> tuple[str, str]:
    count, seen = len(class_names), int(seen_among(model, class_names).sum())
    if not count:
        return "class", "the class feature, there are no class names."
    found = f"{seen} of {count} classes seen in training"
    if seen == count:
        return "fused", f"both features, {found}."
    if not seen or not mix:
        return "class", f"the class feature, {found}."
    if model.image_means is not None:
        return "fused", f"{found}: both features for all, less what the mean image scores."
    if model.config.alpha == 0:
        raise UsageError(
            f"{found}, and alpha is 0: the adapter's mix has no class feature for the others. "
            "Choose --model_type mmrl_fused or mmrl, or score the classes separately."
        )
    return "fused", f"{found}: both features for these, the class feature for the others."


def with_new_classes(model: Any, classifier: Tensor, class_names: Sequence[str]) -> Tensor:
    """Return a classifier [2E, C] for seen classes with new classes on the class feature.

    Or, where they compare by the mean image, one [2E + 1, C] that subtracts what it scores.
    """
    if is_centered(model, class_names):
        means, alpha = model.image_means, model.config.alpha
        rep = means.get("representation", means["class"])
        parts = zip((alpha, 1 - alpha), (means["class"], rep), strict=True)
        mean = torch.cat([a**0.5 * torch.tensor(m) for a, m in parts]).to(classifier)
        return 2**0.5 * torch.cat([classifier, -(mean @ classifier)[None]])
    new = ~seen_among(model, class_names).to(classifier.device)
    width = len(classifier) // 2
    by_class = classifier[:width] / model.config.alpha  # sqrt(a) w -> w / sqrt(a)
    return torch.cat(
        [
            torch.where(new, by_class, classifier[:width]),
            torch.where(new, 0.0, classifier[width:]),
        ]
    )
