"""Small trainings of peers on the shipped tiny CLIP."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch

from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.data import load_data
from open_clip_mmrl.data.loading.images import ImageSet, eval_transform
from open_clip_mmrl.evaluation.predict import FrozenBatch, build_classifier
from open_clip_mmrl.hub.load import LoadedModel, build_for_training
from open_clip_mmrl.peers.methods import PEER_METHODS
from open_clip_mmrl.peers.peer import PeerTask


def peer_task(name: str, **train) -> PeerTask:
    """Two shots of four handwritten digits, with a peer's own settings but for those given."""
    data = load_data("digits")
    subset = data.few_shot(2, seed=1)
    kept = tuple(example for example in subset.train if example.label < 4)
    return PeerTask(
        loaded=_loaded(),
        subset=replace(subset, class_names=data.class_names[:4], train=kept, val=(), test=()),
        train=PEER_METHODS[name].recipe(2, "digits").replace(flip=False, **train),
        quiet=True,
    )


@cache
def _loaded() -> LoadedModel:
    return build_for_training(MODEL_NAME, TAG, device=torch.device("cpu"), seed=1)


def frozen_batch(task: PeerTask) -> FrozenBatch:
    """Return the task's own images as a batch."""
    loaded, images = task.loaded, ImageSet(task.subset.train, eval_transform(task.loaded.model))
    tokens = loaded.class_tokens(task.subset.class_names, task.subset.template)
    pixels = torch.stack([images.load(index)[0] for index in range(len(images))])
    with torch.no_grad():
        batch = FrozenBatch(loaded.model, build_classifier(loaded.model, tokens), pixels)
        assert batch.logits is not None
    return batch
