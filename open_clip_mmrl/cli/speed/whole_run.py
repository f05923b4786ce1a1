"""How long a whole training takes, data path included, on images made for it.

By default a base-to-novel training of ImageNet's size: 500 classes, 16 images each, 5 epochs,
batches of 32, JPEG files of 500 x 375 pixels. The weights are random, as are the images.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ...config import TrainConfig
from ...data.example import Example
from ...data.loading.device_augment import training_images
from ...errors import UsageError
from ...hub.load import RANDOM, build_for_training
from ...training.trainer import Trainer
from ...utils.devices import pick_device
from .bench import class_names

_PICTURES = 32  # different ones; every file holds one of them


@dataclass(frozen=True, kw_only=True)
class WholeRun:
    """What is trained; sizes can be lowered to try it out."""

    model: str = "ViT-B-16"
    method: str = "mmrl"
    classes: int = 500
    shots: int = 16
    epochs: int = 5
    batch_size: int = 32
    width: int = 500
    height: int = 375
    precision: str = "fp32"
    text_chunk_size: int | None = None
    augment: str = "classic"
    device: str | None = None
    workers: int = 0
    cuda_graph: bool = False


def write_pictures(folder: Path, run: WholeRun) -> list[Example]:
    """JPEG files of blurred noise, which decode as slowly as photographs do; one per example."""
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


def time_run(run: WholeRun, say: Callable[[str], None] = lambda text: None) -> dict:
    """Train once and say what it took, as a JSON-ready dict.

    Raises:
        UsageError: a size below 1, or what `Trainer` and `build_for_training` do not take.
    """
    names = ("classes", "shots", "epochs", "batch_size", "width", "height")
    if any(getattr(run, name) < 1 for name in names):
        raise UsageError(f"{', '.join(names)} have to be 1 or more.")
    device = pick_device(run.device)
    config = TrainConfig(
        epochs=run.epochs,
        batch_size=run.batch_size,
        precision=run.precision,
        text_chunk_size=run.text_chunk_size,
        augment=run.augment,
    )
    torch.manual_seed(0)
    loaded = build_for_training(run.model, RANDOM, method=run.method, device=device, seed=0)
    tokens = loaded.class_tokens(class_names(run.classes), "a photo of a {}.")
    with tempfile.TemporaryDirectory(prefix="mmrl-speed-") as folder:
        say(f"writing {run.classes * run.shots} images of {run.width} x {run.height} pixels ...")
        examples = write_pictures(Path(folder), run)
        images = training_images(loaded.model, examples, config)
        say("training ...")
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
    on_gpu = device.type == "cuda"
    return {
        "seconds": summary.seconds,
        "steps": summary.steps,
        "images": summary.images,
        "images_per_second": summary.images / summary.seconds,
        "ms_per_image": summary.ms_per_image,
        "notes": list(summary.notes),
        "settings": {
            **asdict(run),
            "device": str(device),
            "device_name": torch.cuda.get_device_name(device) if on_gpu else "cpu",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
    }


def in_words(result: dict) -> str:
    """The result of `time_run` in a line or two."""
    told = result["settings"]
    lines = [
        f"{told['model']}, {told['method']}, {told['precision']}, {told['device_name']}: "
        f"{told['classes']} classes x {told['shots']} images x {told['epochs']} epochs of "
        f"{told['width']} x {told['height']} pixels in {result['seconds']:.1f} s "
        f"({result['images_per_second']:.1f} images/s, {result['ms_per_image']:.2f} ms per image)",
        *result["notes"],
    ]
    return "\n".join(lines)
