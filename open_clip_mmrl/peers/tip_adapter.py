"""Tip-Adapter and Tip-Adapter-F: a cache of the training images' frozen features.

Zhang et al., Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification (ECCV 2022).
With f an image's feature, F the cache's keys, all of unit length, and L the keys' classes, one-hot:

    logits = scale * f W^T + alpha * exp(-beta (1 - f F^T)) L

- A key is the mean over `VIEWS` augmented views of one image, as in the released code. "F" trains
  the keys; the last ones are used (the released code keeps the best on *test* images).
- alpha and beta are the paper's defaults. It searches better ones on validation images, the
  released code so; here nothing is searched. They belong to a logit scale of 100; where the model's
  is smaller, the cache weighs more.
- The cache knows the classes trained on. Others have frozen CLIP's logits.

Shapes: B images, N training images, S classes trained on, C classes scored, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import Shots, TrainConfig
from ..data import ImageData
from ..data.loading.device_augment import training_images
from ..data.loading.images import in_order, loader
from ..evaluation.predict import FrozenBatch, Scorer, build_classifier
from ..hub.load import LoadedModel
from ..models.ops import cosine_logits, unit
from ..models.precision import autocast, in_half
from .peer import Peer, PeerTask, cosine, minimize

ALPHA, BETA = 1.0, 5.5
VIEWS = 10


def recipe(_: Shots, __: str) -> TrainConfig:
    """Return the released code's settings of "F"."""
    return TrainConfig(epochs=20, batch_size=256, lr=1e-3, weight_decay=1e-2)


def cache_logits(features: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return the cache's logits [B, C], without alpha.

    Args:
        features: of images, unit length, [B, E].
        keys: [N, E]; of unit length before they are trained.
        values: the keys' classes, one-hot, [N, C].
    """
    return (-BETA * (1 - features @ keys.T)).exp() @ values


@dataclass(frozen=True, kw_only=True)
class TipAdapter(Peer):
    """A cache."""

    keys: Tensor
    """F, [N, E]."""
    values: Tensor
    """L, [N, S]."""
    class_names: Sequence[str]
    """Of the S classes."""

    def scorer(self, loaded: LoadedModel, data: ImageData) -> Scorer:
        """Return the frozen logits with the cache's in the columns of classes trained on."""
        known = loaded.readings(self.class_names, data.template)
        place = {reading: label for label, reading in enumerate(known)}
        columns = [place.get(key, -1) for key in loaded.readings(data.class_names, data.template)]
        values = F.pad(self.values, (0, 1))[:, columns]  # the last column, of zeros: other classes

        def score(batch: FrozenBatch) -> Tensor:
            return batch.logits + ALPHA * cache_logits(unit(batch.features), self.keys, values)

        return score


def train_tip_adapter(task: PeerTask) -> TipAdapter:
    """Return the cache of the training images; nothing is trained."""
    subset, keys = task.subset, _keys(task)
    labels = torch.tensor([example.label for example in subset.train], device=keys.device)
    return TipAdapter(
        num_parameters=0,
        images_seen=VIEWS * len(labels),
        keys=keys,
        values=F.one_hot(labels, subset.num_classes).to(keys.dtype),
        class_names=subset.class_names,
    )


def train_tip_adapter_f(task: PeerTask) -> TipAdapter:
    """Return a cache with trained keys."""
    cache, train, (model, *_) = train_tip_adapter(task), task.train, task.loaded
    keys, half = nn.Parameter(cache.keys.clone()), in_half(model, train.precision)
    data = task.subset
    tokens = task.loaded.class_prompts(data.class_names, data.template, data.prompts)
    text = build_classifier(model, tokens, train.precision).frozen

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            features = unit(half.encode_image(images, features="frozen"))
        with torch.autocast(images.device.type, enabled=False):
            cached = ALPHA * cache_logits(features, keys, cache.values)
            return F.cross_entropy(cosine_logits(model, features, text) + cached, labels)

    optimizer = torch.optim.AdamW([keys], eps=1e-4, weight_decay=train.weight_decay)
    seen = minimize(task, loss, optimizer, cosine(train.lr))
    return TipAdapter(
        num_parameters=keys.numel(),
        images_seen=cache.images_seen + seen,
        keys=keys.detach(),
        values=cache.values,
        class_names=cache.class_names,
    )


@torch.no_grad()
def _keys(task: PeerTask) -> Tensor:
    """Return the training images' features [N, E] of unit length, means over their views."""
    train, model = task.train, task.loaded.model
    images = training_images(model, task.subset.train, train, task.cache_gb)
    half, views = in_half(model, train.precision), []
    for epoch in range(VIEWS):
        found = []
        for pixels, _ in loader(images, in_order(len(images)), task.workers, epoch):
            with autocast(train.precision, model.device):
                found.append(half.encode_image(pixels.to(model.device), features="frozen"))
        views.append(unit(torch.cat(found)))
    return unit(torch.stack(views).mean(dim=0))
