"""A peer on a run's training images."""

from __future__ import annotations

import time

from ..config import Peer as Name
from ..hub.load import LoadedModel
from ..peers.methods import PEER_METHODS
from ..peers.peer import Peer, PeerTask
from .measured import TrainingRecord
from .resolve import ResolvedRun


def fit_peer(loaded: LoadedModel, job: ResolvedRun, name: Name) -> tuple[Peer, TrainingRecord]:
    """Train a peer on the run's training images."""
    start, runtime, method = time.perf_counter(), job.runtime, PEER_METHODS[name]
    peer = method.train(
        PeerTask(
            loaded=loaded,
            subset=job.subset,
            train=job.run.train,
            max_steps=method.max_steps(job.run.shots),
            cache_gb=runtime.cache_gb,
            workers=runtime.workers,
            quiet=runtime.quiet,
        )
    )
    seconds = time.perf_counter() - start
    return peer, TrainingRecord(
        trainable_parameters=peer.num_parameters,
        train_seconds=round(seconds, 3),
        train_ms_per_image=round(1000 * seconds / peer.images_seen, 3),
    )
