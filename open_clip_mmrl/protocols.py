"""One few-shot run from names to numbers, in a folder of its own."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .adapters import save_adapter
from .building import Built, build_for_training, resolve_name, resolve_pretrained
from .config import TrainConfig
from .data import ImageData, load_data
from .errors import UsageError
from .evaluate import Predictions, build_classifier, predict
from .files import json_bytes, write_atomically
from .folders import ADAPTER, RESULTS, claim, digest
from .images import ImageSet, eval_transform, in_order, loader, train_transform
from .metrics import harmonic_mean
from .precision import pick_device
from .progress import Progress
from .prompting import class_tokens, look_alikes
from .trainer import CHECKPOINT, Trainer, TrainSummary


@dataclass(frozen=True, kw_only=True)
class FewShotRun:
    """Everything that decides a run's numbers."""

    model: str
    pretrained: str | None
    data: str
    method: str | None = None
    """"mmrl" or "mmrl++"; None goes by the model's name."""
    classes: str = "all"
    """What is trained on: "all", or the "base" half (then the novel half is tested as well)."""
    shots: int = 16
    test_split: str = "test"
    """"test", or "val" for choosing settings."""
    fusion: str = "logits"
    data_root: str | None = None
    template: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of MMRLConfig that differ from the model's own."""
    train: TrainConfig = field(default_factory=TrainConfig)

    @property
    def protocol(self) -> str:
        return "base-to-novel" if self.classes == "base" else "few-shot"

    def to_dict(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))


@dataclass(frozen=True)
class Runtime:
    """Where and how a run is carried out; has no say in its numbers."""

    device: str | None = None
    workers: int = 0
    quiet: bool = False
    say: Any = print


def execute(run: FewShotRun, output: str | Path, runtime: Runtime | None = None) -> dict[str, Any]:
    """Train, save the adapter, test, write `results.json`; returns its content.

    A finished run is read, not repeated; a broken one goes on from its last epoch.

    Raises:
        UsageError: the folder belongs to a run with other settings, or a name is not known.
        ValueError: the data or the files are not what they should be.
    """
    runtime = runtime or Runtime()
    device = pick_device(runtime.device)
    output = Path(output)
    if run.classes not in ("all", "base"):
        raise UsageError(f"classes is {run.classes!r}; a run trains on 'all' or 'base'.")
    if run.test_split not in ("test", "val"):
        raise UsageError(f"test_split is {run.test_split!r}; it has to be 'test' or 'val'.")
    resolve_pretrained(resolve_name(run.model, run.method), run.pretrained)
    data = load_data(run.data, data_root=run.data_root, template=run.template)
    short = data.shortfall(run.shots)
    if short:
        names = ", ".join(f"{name} ({count})" for name, count in list(short.items())[:5])
        runtime.say(
            f"{len(short)} of {data.num_classes} classes have fewer than {run.shots} training "
            f"images, which are all used: {names}{', ...' if len(short) > 5 else ''}."
        )
    subset = data.few_shot(run.shots, run.train.seed).select(run.classes)
    if claim(output, {**run.to_dict(), "train_images": digest(subset)}):
        runtime.say(f"{output} holds this very run, finished already: nothing to do.")
        return json.loads((output / RESULTS).read_text(encoding="utf-8"))
    built = build_for_training(
        run.model,
        run.pretrained,
        method=run.method,
        settings=run.settings,
        device=device,
        seed=run.train.seed,
    )
    summary = _train(built, subset, run, output, runtime)
    halves = {"accuracy": data} if run.classes == "all" else _halves(data)
    metrics, zero_shot, speed = _test(built, halves, run, runtime)
    results = {
        "method": built.model.config.variant,
        "model": built.name,
        "pretrained": run.pretrained or built.model.base_origin["pretrained"],
        "data": run.data,
        "protocol": run.protocol,
        "shots": run.shots,
        "seed": run.train.seed,
        "metrics": metrics,
        "zero_shot": zero_shot,
        "test_split": run.test_split,
        "fusion": run.fusion,
        "trainable_parameters": sum(p.numel() for p in built.model.learner.parameters()),
        "train_images": len(subset.train),
        "train_seconds": round(summary.seconds, 3),
        "train_ms_per_image": round(summary.ms_per_image, 3),
        "skipped_steps": summary.skipped_steps,
        "eval_images_per_second": round(speed, 1),
        "config": built.model.config.to_dict(),
        "train": run.train.to_dict(),
        "environment": environment(device, run.train.precision),
    }
    save_adapter(
        built.model,
        output / ADAPTER,
        class_names=subset.class_names,
        template=subset.template,
        settings=run.to_dict(),
        scores={"metrics": metrics, "zero_shot": zero_shot},
    )
    write_atomically(output / RESULTS, json_bytes(results))
    (output / CHECKPOINT).unlink(missing_ok=True)
    return results


def _train(
    built: Built, subset: ImageData, run: FewShotRun, output: Path, runtime: Runtime
) -> TrainSummary:
    tokens = class_tokens(built.model, built.tokenizer, subset.class_names, subset.template)
    images = ImageSet(
        subset.train, train_transform(built.model, run.train.flip), seed=run.train.seed
    )
    trainer = Trainer(
        built.model,
        tokens,
        images,
        run.train,
        folder=output,
        workers=runtime.workers,
        quiet=runtime.quiet,
    )
    for pair in look_alikes(subset.class_names, trainer.task.frozen_text_features)[:3]:
        runtime.say(
            f"Note: {pair[0]!r} and {pair[1]!r} read the same to this text tower and cannot be "
            "told apart by it; other class names or another model may help."
        )
    try:
        return trainer.fit()
    except KeyboardInterrupt:
        runtime.say(f"Stopped. The same command goes on from the last finished epoch in {output}.")
        raise


def _halves(data: ImageData) -> dict[str, ImageData]:
    return {"base": data.select("base"), "novel": data.select("novel")}


def _test(
    built: Built, halves: Mapping[str, ImageData], run: FewShotRun, runtime: Runtime
) -> tuple[dict[str, float], dict[str, float], float]:
    """Accuracies of the adapted and of the frozen model, and the adapted one's images/s."""
    metrics, zero_shot, speeds = {}, {}, []
    how = {"fusion": run.fusion, "precision": run.train.precision, "runtime": runtime}
    for name, data in halves.items():
        features = "class" if name == "novel" else "fused"
        adapted = score(built, data, run.test_split, features=features, **how)
        frozen = score(built, data, run.test_split, features="frozen", **how)
        metrics[name] = round(adapted.accuracy, 4)
        zero_shot[name] = round(frozen.accuracy, 4)
        speeds.append(adapted.images_per_second)
    if "novel" in metrics:
        for values in (metrics, zero_shot):
            values["hm"] = round(harmonic_mean(values["base"], values["novel"]), 4)
    return metrics, zero_shot, sum(speeds) / len(speeds)


def score(
    built: Built,
    data: ImageData,
    split: str = "test",
    *,
    features: str,
    fusion: str = "logits",
    precision: str = "fp32",
    runtime: Runtime,
) -> Predictions:
    """Score one part of a data set against all of its classes."""
    examples = getattr(data, split)
    if not examples:
        raise ValueError(f"{data.spec} has no {split} images to score.")
    tokens = class_tokens(built.model, built.tokenizer, data.class_names, data.template)
    classifier = build_classifier(built.model, tokens, precision)
    batches = in_order(len(examples))
    images = ImageSet(examples, eval_transform(built.model))
    with Progress(f"scoring ({features})", len(batches), quiet=runtime.quiet) as progress:
        return predict(
            built.model,
            classifier,
            loader(images, batches, runtime.workers),
            features=features,
            fusion=fusion,
            precision=precision,
            progress=progress,
        )


def environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Versions, device and precision, for the record."""
    packages = ("open_clip_mmrl", "open_clip_torch", "torch", "torchvision", "timm")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in packages},
        "device": device.type,
        "device_name": name or platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree
        return "not installed"
