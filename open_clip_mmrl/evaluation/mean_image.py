"""The mean image: what it scores, subtracted, lets new classes and trained ones compare.

Some texts are near to all images of a kind, whatever these show, and training draws all images
towards the classes trained on. Each class's logits therefore lose their mean over held-back images.
That is the logit of the mean feature, so that it is known for names that come later as well.

Shapes: N images, C classes, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from ..models.mmrl_clip import MMRLCLIP
from ..models.ops import unit
from ..models.precision import autocast, in_half
from .logits import Logits
from .predict import Classifier

ImageMeans = Mapping[str, Sequence[float]]
"""The mean of images' unit features, E numbers each, by "class", "frozen" and, where the model has
image tokens, "representation"."""


@torch.no_grad()
def image_means(
    model: MMRLCLIP, batches: Iterable[tuple[Tensor, Tensor]], precision: str = "fp32"
) -> dict[str, list[float]]:
    """Return the means over batches (images [B, 3, H, W], labels [B]).

    Every class of these images counts the same.
    """
    half, found, labels = in_half(model, precision), dict[str, list[Tensor]](), []
    for images, targets in batches:
        with autocast(precision, model.device):
            both, frozen = half.image_branches(images.to(model.device), half.learner()[0])
        kinds = {"class": both.class_, "representation": both.representation, "frozen": frozen}
        for name, feature in kinds.items():
            if feature is not None:
                found.setdefault(name, []).append(unit(feature).double().cpu())
        labels.append(torch.as_tensor(targets))
    of_class = [torch.cat(labels) == label for label in torch.cat(labels).unique()]
    whole = {name: torch.cat(parts) for name, parts in found.items()}
    return {
        name: torch.stack([rows[one].mean(dim=0) for one in of_class]).mean(dim=0).tolist()
        for name, rows in whole.items()
    }


def mean_logits(model: MMRLCLIP, classifier: Classifier, means: ImageMeans) -> Logits:
    """Return what the mean image scores, [1, C], by every feature."""
    like = {"dtype": classifier.text.dtype, "device": classifier.text.device}

    def by(name: str, frozen: bool = False) -> Tensor:
        feature = torch.tensor([means[name]], **like)
        return classifier.logits(model, feature, frozen=frozen).cpu()

    return Logits(
        by_class=by("class"),
        by_rep=by("representation") if "representation" in means else None,
        frozen=by("frozen", frozen=True),
        labels=torch.zeros(1, dtype=torch.long),
    )
