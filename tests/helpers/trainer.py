"""A trainer on a tiny model."""

from __future__ import annotations

import torch

from helpers.tiny import tiny_clip, tiny_config, tiny_prompts
from open_clip_mmrl import MMRLCLIP, TrainConfig
from open_clip_mmrl.data import Example
from open_clip_mmrl.data.loading.images import ImageSet, train_transform
from open_clip_mmrl.training.trainer import Trainer


def examples(count=7, classes=3, size=20):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)
    return [Example(image=p.numpy(), label=i % classes) for i, p in enumerate(pixels)]


def make(folder=None, *, epochs=3, precision="fp32", variant="mmrl", config=None, items=None):
    model = MMRLCLIP.from_open_clip(tiny_clip().float(), tiny_config(variant=variant))
    model.learner.reset_parameters(torch.Generator().manual_seed(5))
    config = config or TrainConfig(epochs=epochs, batch_size=3, precision=precision, seed=2)
    images = ImageSet(items or examples(), train_transform(model), seed=config.seed)
    return Trainer(model, tiny_prompts([4, 6, 8]), images, config, folder=folder, quiet=True)


def weights(trainer):
    return {n: p.detach().clone() for n, p in trainer.model.learner.named_parameters()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
