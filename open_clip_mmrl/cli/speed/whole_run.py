"""How long a whole training takes, with reading the images, on images made for it.

By default a base-to-novel training of ImageNet's size: 500 classes, 16 images each, 5 epochs,
batches of 32, JPEG files of 500 x 375 pixels. The weights are random, as are the images.
"""

from __future__ import annotations

import io
import logging
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...config import TrainConfig
from ...data.example import Example
from ...data.loading.device_augment import training_images
from ...training.record import TrainSummary
from ...training.trainer import Trainer
from .settings import TEMPLATE, Machine, WholeRun, class_names

logger = logging.getLogger(__name__)

_PICTURES = 32  # different ones; every file is one of them


@dataclass(frozen=True)
class WholeRunResult:
    """What a whole training took."""

    run: WholeRun
    machine: Machine
    summary: TrainSummary

    @property
    def images_per_second(self) -> float:
        """Images trained on per second."""
        return self.summary.images / self.summary.seconds

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "seconds": self.summary.seconds,
            "steps": self.summary.steps,
            "images": self.summary.images,
            "images_per_second": self.images_per_second,
            "ms_per_image": self.summary.ms_per_image,
            "notes": list(self.summary.notes),
            "settings": {**asdict(self.run), **asdict(self.machine)},
        }


def write_pictures(folder: Path, run: WholeRun) -> list[Example]:
    """Write JPEG files of blurred noise, as slow to decode as photographs; one per example."""
    random = np.random.default_rng(0)
    pictures = []
    for _ in range(min(_PICTURES, run.classes * run.shots)):
        coarse = random.integers(0, 256, (run.height // 8 + 1, run.width // 8 + 1, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((run.width, run.height), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=95)
        pictures.append(buffer.getvalue())
    examples = []
    for index in range(run.classes * run.shots):
        path = folder / f"{index:06}.jpg"
        path.write_bytes(pictures[index % len(pictures)])
        examples.append(Example(image=path, label=index // run.shots))
    return examples


def time_run(run: WholeRun) -> WholeRunResult:
    """Train once and return what it took.

    Raises:
        UsageError: the device is not there, or cannot do what the run asks for.
    """
    device = run.check_device()
    config = TrainConfig(
        epochs=run.epochs,
        batch_size=run.batch_size,
        precision=run.precision,
        text_chunk_size=run.text_chunk_size,
        augment=run.augment,
    )
    loaded = run.load(device)
    tokens = loaded.class_tokens(class_names(run.classes), TEMPLATE)
    with tempfile.TemporaryDirectory(prefix="mmrl-speed-") as folder:
        count = run.classes * run.shots
        logger.info("writing %d images of %d x %d pixels ...", count, run.width, run.height)
        examples = write_pictures(Path(folder), run)
        images = training_images(loaded.model, examples, config)
        logger.info("training ...")
        trainer = Trainer(
            loaded.model,
            tokens,
            images,
            config,
            workers=run.workers,
            quiet=True,
            cuda_graph=run.cuda_graph,
        )
        summary = trainer.fit()
    return WholeRunResult(run, Machine.of(device), summary)
