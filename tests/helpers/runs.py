"""Small runs on the shipped tiny CLIP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image

from open_clip_mmrl import TrainConfig
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.data import load_data
from open_clip_mmrl.experiments.execute import execute
from open_clip_mmrl.experiments.resolve import ResolvedRun, resolve
from open_clip_mmrl.experiments.run_spec import FewShotRun, Runtime


def make_run(**changes) -> FewShotRun:
    values = {
        "model": MODEL_NAME,
        "pretrained": TAG,
        "data": "digits",
        "method": "mmrl",
        "classes": "base",
        "shots": 2,
        "test_split": "val",
        "settings": {"start_layer": 5, "rep_dim": 16},
        "train": TrainConfig(epochs=2, batch_size=5),
    }
    return FewShotRun(**{**values, **changes})


QUIET = Runtime(device="cpu", quiet=True)


def go(folder, runtime=QUIET, **changes):
    return execute(make_run(**changes), folder, runtime)


def resolved(run, folder, subset=None, data=None) -> ResolvedRun:
    """Return a run on given images; they need not be what its data spec stands for."""
    job = resolve(run, folder, Runtime(device="cpu", quiet=True))
    return replace(job, data=data or job.data, subset=subset or job.subset)


def write_folder(root: Path, train: dict[str, int], test: int = 3) -> str:
    """Handwritten digits as PNG files, `train[name]` of a class."""
    digits = load_data("digits")
    for part, source in (("train", digits.train), ("test", digits.test)):
        for label, name in enumerate(digits.class_names):
            if name not in train:
                continue
            pixels = [e.image for e in source if e.label == label]
            folder = root / part / name
            folder.mkdir(parents=True)
            for i, array in enumerate(pixels[: train[name] if part == "train" else test]):
                Image.fromarray(array).save(folder / f"{i}.png")
    return f"folder:{root}"
