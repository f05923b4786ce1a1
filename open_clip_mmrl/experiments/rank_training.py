"""Trainings that several processes share, where `torchrun` started them.

Rank 0 carries out the command as one process does: it alone reads data sets and checkpoints,
chooses settings, scores and writes. The other ranks wait for the trainings that it begins, and
take every step with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import MMRLConfig, TrainConfig
from ..data import Example
from ..data.loading.device_augment import training_images
from ..errors import DivergedError
from ..hub.load import LoadedModel
from ..models.prompt_tokens import PromptTokens
from ..training.trainer import Trainer
from ..utils.devices import pick_device
from ..utils.ranks import RankError, Ranks
from ..utils.torchrun import local_rank
from .kept_base import build_on_kept_base
from .resolve import ResolvedRun


@dataclass(frozen=True)
class _Order:
    """What the other ranks need for a training; None instead of it ends them."""

    name: str
    pretrained: str
    config: MMRLConfig
    device: str
    tokens: Tensor | PromptTokens
    examples: Sequence[Example]
    train: TrainConfig
    cache_gb: float
    workers: int


@contextmanager
def training(
    loaded: LoadedModel,
    tokens: Tensor | PromptTokens,
    examples: Sequence[Example],
    job: ResolvedRun,
    run_digest: str,
) -> Iterator[Trainer]:
    """Return a trainer of these images and classes, which all ranks have if there are several.

    Args:
        loaded: its model is trained.
        tokens: as in `Trainer`.
        examples: the images.
        job: whose folder holds checkpoint and log.
        run_digest: as in `Trainer`.

    Raises:
        RankError: the ranks cannot go on together.
    """
    train, runtime, model = job.run.train, job.runtime, loaded.model
    if runtime.ranks is not None:
        runtime.ranks.from_first(
            _Order(
                name=loaded.name,
                pretrained=job.pretrained,
                config=model.config,
                device=job.device.type,
                tokens=tokens,
                examples=examples,
                train=train,
                cache_gb=runtime.cache_gb,
                workers=runtime.workers,
            )
        )
    with nullcontext() if runtime.ranks is None else runtime.ranks.in_step():
        yield Trainer(
            model,
            tokens,
            training_images(model, examples, train, runtime.cache_gb),
            train,
            folder=job.folder,
            workers=runtime.workers,
            quiet=runtime.quiet,
            cuda_graph=runtime.cuda_graph,
            run_digest=run_digest,
            ranks=runtime.ranks,
        )


def follow(ranks: Ranks) -> bool:
    """Train what rank 0 trains, until it is done; False where it ended otherwise.

    Raises:
        RankError: the ranks cannot go on together.
    """
    while True:
        try:
            order = ranks.from_first()
        except RankError:  # between trainings: rank 0 has its own reason
            return False
        if order is None:
            return True
        with ranks.in_step(), suppress(DivergedError):  # rank 0 says so
            device = pick_device("cpu" if order.device == "cpu" else f"cuda:{local_rank()}")
            if device.type == "cuda":
                torch.cuda.set_device(device)  # for exchanges, and threads that pin memory
            model = build_on_kept_base(
                order.name,
                order.pretrained,
                method=None,
                settings=order.config.to_dict(),
                device=device,
                seed=0,
            ).model
            Trainer(
                model,
                order.tokens,
                training_images(model, order.examples, order.train, order.cache_gb),
                order.train,
                workers=order.workers,
                quiet=True,
                ranks=ranks,
            ).fit()
