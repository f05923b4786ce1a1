"""The runs of `fewshot`: planned and trained by `open_clip_mmrl`, scored by clip_benchmark."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import re
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from clip_benchmark.datasets.builder import build_dataset, get_dataset_collate_fn
from clip_benchmark.metrics import zeroshot_classification
from torch import Tensor
from torch.utils.data import DataLoader

from open_clip_mmrl.config import METHODS, VARIANTS, Peer, Shots
from open_clip_mmrl.data import ImageData
from open_clip_mmrl.data.prompts import readable
from open_clip_mmrl.data.sampling import shots_number
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.evaluation.linear_probe import frozen_features, train_probe
from open_clip_mmrl.experiments.execute import execute
from open_clip_mmrl.experiments.experiment import Experiment
from open_clip_mmrl.experiments.peer_baseline import fit_peer
from open_clip_mmrl.experiments.protocols import plan
from open_clip_mmrl.experiments.recipes import recipe
from open_clip_mmrl.experiments.resolve import resolve
from open_clip_mmrl.experiments.results import ADAPTER
from open_clip_mmrl.experiments.run_spec import FewShotRun, Runtime
from open_clip_mmrl.experiments.score import score_split
from open_clip_mmrl.hub.load import LoadedModel, build_for_training, resolve_pretrained
from open_clip_mmrl.hub.names import ModelName
from open_clip_mmrl.utils.devices import pick_device

from ..model_types import load
from ..repairs.accuracy import metrics
from ..repairs.result_json import strict
from ..repairs.run import naming
from ..repairs.task_choice import filled_root

SPEC = "clip_benchmark:"
"""Prefix of the data spec of clip_benchmark's data sets."""


def plan_runs(args: argparse.Namespace) -> list[FewShotRun]:
    """Plan all methods x shots x seeds, the cheap ones first and the zero-shot model once.

    Raises:
        UsageError: an option with a name, tag, file or value that does not exist.
    """
    dataset = args.dataset
    name, model = dataset.removeprefix("wds/"), ModelName.parse(args.model)
    if not name:
        raise UsageError(f"dataset is {dataset!r}; give wds/NAME or another name.")
    for option, value in {
        "shots": min(map(shots_number, args.shots)),
        "eval_batch_size": args.eval_batch_size,
    }.items():
        if value < 1:
            raise UsageError(f"--{option} has {value}; it takes whole numbers from 1 up.")
    filled_root(dataset, args.dataset_root)
    overrides = {"precision": args.precision}
    if name == "imagenet1k":  # the recipes know it as imagenet, with one training for all methods
        paper = recipe("mmrl", "few-shot", "imagenet").train
        overrides |= {"epochs": paper.epochs, "batch_size": paper.batch_size, "lr": paper.lr}
    given = {"epochs": args.epochs, "batch_size": args.batch_size, "lr": args.lr}
    given["flip"] = False if args.no_flip else None
    overrides |= {field: value for field, value in given.items() if value is not None}
    experiment = Experiment(
        protocol="few-shot",
        model=model.base,
        pretrained=resolve_pretrained(
            ModelName(model.base, "mmrl"), None if model.is_place else args.pretrained
        ),
        datasets=[SPEC + dataset],
        methods=sorted(set(args.methods), key=lambda method: (*METHODS, method).index(method)),
        shots=sorted(set(args.shots), key=shots_number),
        seeds=sorted(set(args.seeds)),
        overrides=overrides,
        data_root=args.dataset_root,
    )
    return [planned.run.replace(settings_source="custom") for planned in plan(experiment)]


def file_name(run: FewShotRun) -> str:
    """Return the name of a run's result and folder: readable, and different for other settings."""
    dataset, base, weights = run.data.removeprefix(SPEC), _base(run), str(run.pretrained)
    shots, seed = shots_and_seed(run)
    decides = [
        *(dataset, run.data_root, base, weights, run.train.precision, run.template),
        (run.method, shots, seed),
        run.train.to_dict() if run.method in VARIANTS or run.peer else None,
    ]
    digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:8]
    method = str(run.method).replace("+", "p")
    parts = [dataset.removeprefix("wds/"), base, Path(weights).name, method]
    parts += [f"{shots}shots", f"seed{seed}"] if shots else []
    return "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", part)[-60:] for part in (*parts, digest))


def shots_and_seed(run: FewShotRun) -> tuple[Shots, int | None]:
    """Return a run's shots and seed; the zero-shot model has 0 shots and no seed."""
    return (0, None) if run.method == "zeroshot" else (run.shots, run.train.seed)


def _base(run: FewShotRun) -> str:
    return ModelName.parse(run.model).base


@dataclass(frozen=True)
class Worker:
    """Trains and tests; what several results share is computed once."""

    first: FewShotRun
    """Any of the runs: all share the data set, the base and the precision."""
    data: ImageData
    output: Path
    """Folder of the result files; runs are in its folder "runs"."""
    runtime: Runtime
    batch_size: int
    """Images at a time in clip_benchmark's evaluation."""

    def carry_out(self, run: FewShotRun) -> dict[str, Any]:
        """Return the content of a result file: clip_benchmark's keys, then ours."""
        shots, seed = shots_and_seed(run)
        content = {
            "dataset": run.data.removeprefix(SPEC),
            "model": _base(run),
            "pretrained": run.pretrained,
            "task": "zeroshot_classification",
            "metrics": None,
            "language": "en",
            "method": run.method,
            "shots": shots,
            "seed": seed,
            "template": run.template,
            "precision": run.train.precision,
            "trainable_parameters": 0,
            "train_images": 0,
            "train_seconds": None,
        }
        if run.method == "zeroshot":
            # As our model, since plain open_clip would run GELU with weights of QuickGELU.
            return content | {
                "metrics": self._evaluate("mmrl_frozen", run.model, str(run.pretrained))
            }
        if run.peer is not None:
            return content | self._peer(run, run.peer)
        return content | (self._probe(run) if run.method == "linear_probe" else self._adapter(run))

    def _peer(self, run: FewShotRun, name: Peer) -> dict[str, Any]:
        job = resolve(run, self.output, self.runtime)
        peer, trained = fit_peer(self._loaded, job, name)
        precision = run.train.precision
        logits, _ = score_split(self._loaded, self.data, "test", precision, self.runtime, peer)
        return {
            "metrics": strict(metrics(logits.by_class, logits.labels)),
            "trainable_parameters": trained.trainable_parameters,
            "train_images": len(job.subset.train),
            "train_seconds": trained.train_seconds,
        }

    def _probe(self, run: FewShotRun) -> dict[str, Any]:
        subset = self.data.few_shot(run.shots, run.train.seed)
        model, test_features = self._loaded.model, self._test_features
        start = time.perf_counter()
        probe = train_probe(model, subset, shots=run.shots, seed=run.train.seed, **self._how)
        seconds = time.perf_counter() - start
        labels = torch.tensor([example.label for example in self.data.test])
        return {
            "task": "linear_probe",
            "metrics": strict(metrics(probe.scores(test_features), labels)),
            "trainable_parameters": probe.num_parameters,
            "train_images": len(subset.train),
            "train_seconds": round(seconds, 3),
            "regularisation": probe.regularization,
            "regularisation_chosen_on": probe.chosen_on,
        }

    def _adapter(self, run: FewShotRun) -> dict[str, Any]:
        folder = self.output / "runs" / file_name(run)
        trained, adapter = execute(run, folder, self.runtime), folder / ADAPTER
        return {
            "model": run.model,
            "metrics": self._evaluate("mmrl_fused", run.model, str(adapter)),
            "trainable_parameters": trained.trainable_parameters,
            "train_images": trained.train_images,
            "train_seconds": trained.train_seconds,
            "epochs": run.train.epochs,
            "batch_size": run.train.batch_size,
            "lr": run.train.lr,
            "adapter": adapter.relative_to(self.output).as_posix(),
        }

    @cached_property
    def _loaded(self) -> LoadedModel:
        """The base model, for all probes and peers."""
        device = pick_device(None)
        return build_for_training(self.first.model, self.first.pretrained, device=device, seed=0)

    @cached_property
    def _test_features(self) -> Tensor:
        """Its features of the test images [N, E], for all probes."""
        return frozen_features(self._loaded.model, self.data.test, **self._how)

    @property
    def _how(self) -> dict[str, Any]:
        runtime, precision = self.runtime, self.first.train.precision
        return {"precision": precision, "workers": runtime.workers, "quiet": runtime.quiet}

    def _evaluate(self, model_type: str, model_name: str, weights: str) -> dict[str, Any]:
        """Return clip_benchmark's metrics of the test split, with our prompt for its templates."""
        dataset, names = self.first.data.removeprefix(SPEC), [*map(readable, self.data.class_names)]
        device = "cuda" if torch.cuda.is_available() else "cpu"  # as clip_benchmark chooses it
        with naming(f"{dataset} with {model_name}, {weights}"), _bars(not self.runtime.quiet):
            model, transform, tokenizer = load(model_type, model_name, weights, device=device)
            root = filled_root(dataset, str(self.first.data_root))
            images = build_dataset(dataset, root, transform, "test")
            images.classes = names
            prompts = [self.data.template.replace("{}", "{c}")]
            amp, batches = self.first.train.precision != "fp32", self._batches(dataset, images)
            return strict(
                zeroshot_classification.evaluate(
                    model.eval(), batches, tokenizer, names, prompts, device, amp=amp
                )
            )

    def _batches(self, dataset: str, images: Any) -> DataLoader:
        """Return the images in batches, as clip_benchmark's `run` does."""
        workers = self.runtime.workers
        if dataset.startswith("wds/"):
            return DataLoader(images.batched(self.batch_size), None, num_workers=workers)
        collate = get_dataset_collate_fn(dataset)
        return DataLoader(images, self.batch_size, num_workers=workers, collate_fn=collate)


def _bars(shown: bool) -> contextlib.AbstractContextManager:
    """Hide clip_benchmark's progress bars, which have no switch, with standard error."""
    return contextlib.nullcontext() if shown else contextlib.redirect_stderr(io.StringIO())
