"""What a training has done: after every epoch, in its log, at its end."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..utils.files import write_atomically

logger = logging.getLogger(__name__)

LOG = "log.jsonl"


@dataclass(frozen=True)
class TrainSummary:
    """What a finished run took."""

    seconds: float
    images: int
    steps: int
    skipped_steps: int
    final_loss: float
    notes: tuple[str, ...] = ()
    """Warnings of a `GraphedStep`."""

    @property
    def ms_per_image(self) -> float:
        """Milliseconds of training per image."""
        return 1000 * self.seconds / max(self.images, 1)


@dataclass(frozen=True)
class TrainState:
    """What a run has done after its last finished epoch; in its checkpoint as a dict."""

    epoch: int = 0
    """Finished epochs."""
    seconds: float = 0.0
    images: int = 0
    steps: int = 0
    skipped_steps: int = 0
    loss: float = 0.0
    """Mean of the last epoch."""


def add_row(log: Path, row: dict[str, Any]) -> None:
    """Write a finished epoch to the log."""
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def keep_rows(log: Path, epochs: int) -> None:
    """Keep the rows of so many epochs: those without a checkpoint will be written again."""
    rows = log.read_bytes().splitlines() if log.is_file() else []
    kept = [row for row in rows[:epochs] if _is_json(row)]
    if len(kept) < len(rows[:epochs]):
        logger.warning("%s has rows that are no JSON; they are left out.", log)
    write_atomically(log, b"".join(row + b"\n" for row in kept))


def _is_json(row: bytes) -> bool:
    try:
        json.loads(row)
    except (ValueError, RecursionError):
        return False
    return True
