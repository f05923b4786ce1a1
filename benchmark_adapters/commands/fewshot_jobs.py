"""Carrying out the results of a few-shot comparison; the seam has to be registered."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from open_clip_mmrl.config import VARIANTS
from open_clip_mmrl.data import ImageData
from open_clip_mmrl.data.prompts import readable
from open_clip_mmrl.evaluation.linear_probe import frozen_features, train_probe
from open_clip_mmrl.experiments.execute import FewShotRun, Runtime, execute
from open_clip_mmrl.experiments.run_dir import ADAPTER
from open_clip_mmrl.hub.load import build_for_training
from open_clip_mmrl.hub.names import ModelName
from open_clip_mmrl.models.mmrl_clip import MMRLCLIP
from open_clip_mmrl.utils.devices import pick_device
from open_clip_mmrl.utils.files import json_bytes

from ..cli import _command_line as as_command_line
from ..repairs.accuracy import metrics
from ..repairs.result_json import strict
from .comparison import Comparison, Job

RUNS = "runs"
"""Folder of the training runs, below the output."""


@dataclass(frozen=True)
class Worker:
    """Trains and tests; what several results share is computed once."""

    comparison: Comparison
    data: ImageData
    output: Path
    runtime: Runtime
    batch_size: int
    """Images at a time in clip_benchmark's evaluation."""

    def name(self, job: Job) -> str:
        """Of the result file and the run's folder: readable, and different where anything is."""
        comparison = self.comparison
        decides = [
            *(
                comparison.dataset,
                comparison.dataset_root,
                comparison.base,
                comparison.pretrained,
                comparison.precision,
            ),
            *(self.data.template, job),
            comparison.train_config(job.method, job.seed).to_dict()
            if job.method in VARIANTS
            else None,
        ]
        digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:8]
        parts = [
            comparison.name,
            comparison.base,
            Path(comparison.pretrained).name,
            job.method.replace("+", "p"),
        ]
        parts += [f"{job.shots}shots", f"seed{job.seed}"] if job.shots else []
        return "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", part)[-60:] for part in (*parts, digest))

    def carry_out(self, job: Job) -> dict[str, Any]:
        """The content of a result file: clip_benchmark's keys, then ours."""
        if job.method == "zeroshot":
            found = self._zeroshot()
        elif job.method == "linear_probe":
            found = self._linear_probe(job)
        else:
            found = self._adapter(job)
        comparison = self.comparison
        return {
            "dataset": comparison.dataset,
            "model": comparison.base,
            "pretrained": comparison.pretrained,
            "task": "zeroshot_classification",
            "metrics": None,
            "language": "en",
            **job._asdict(),
            "template": self.data.template,
            "precision": comparison.precision,
            "trainable_parameters": 0,
            "train_images": 0,
            "train_seconds": None,
            **found,
        }

    def _zeroshot(self) -> dict[str, Any]:
        comparison = self.comparison
        # Through our model type, since plain open_clip would run GELU with weights of QuickGELU.
        metrics = self._evaluate(
            "mmrl_frozen", str(ModelName(comparison.base, "mmrl")), comparison.pretrained
        )
        return {"metrics": metrics}

    def _linear_probe(self, job: Job) -> dict[str, Any]:
        subset = self.data.few_shot(job.shots, job.seed)
        model, test_features = self._frozen
        start = time.perf_counter()
        probe = train_probe(model, subset, shots=job.shots, seed=job.seed, **self._how)
        seconds = time.perf_counter() - start
        labels = torch.tensor([example.label for example in self.data.test])
        return {
            "task": "linear_probe",
            "metrics": strict(metrics(probe.scores(test_features), labels)),
            "trainable_parameters": probe.num_parameters,
            "train_images": len(subset.train),
            "train_seconds": round(seconds, 3),
            "regularisation": probe.regularisation,
            "regularisation_chosen_on": probe.chosen_on,
        }

    def _adapter(self, job: Job) -> dict[str, Any]:
        comparison, name = self.comparison, str(ModelName(self.comparison.base, job.method))
        config = comparison.train_config(job.method, job.seed)
        run = FewShotRun(
            model=name,
            pretrained=comparison.pretrained,
            data=comparison.spec,
            data_root=comparison.dataset_root,
            method=job.method,
            shots=job.shots,
            template=self.data.template,
            train=config,
        )
        folder = self.output / RUNS / self.name(job)
        trained = execute(run, folder, self.runtime)
        adapter = folder / ADAPTER
        return {
            "model": name,
            "metrics": self._evaluate("mmrl_fused", name, str(adapter)),
            **{k: trained[k] for k in ("trainable_parameters", "train_images", "train_seconds")},
            **{k: getattr(config, k) for k in ("epochs", "batch_size", "lr")},
            "adapter": adapter.relative_to(self.output).as_posix(),
        }

    @cached_property
    def _frozen(self) -> tuple[MMRLCLIP, Tensor]:
        """The base model, and its features of the test images [N, E]: one pass for all probes."""
        comparison = self.comparison
        name = str(ModelName(comparison.base, "mmrl"))
        built = build_for_training(name, comparison.pretrained, device=pick_device(None), seed=0)
        return built.model, frozen_features(built.model, self.data.test, **self._how)

    @property
    def _how(self) -> dict[str, Any]:
        runtime, precision = self.runtime, self.comparison.precision
        return {"precision": precision, "workers": runtime.workers, "quiet": runtime.quiet}

    def _evaluate(self, model_type: str, model: str, pretrained: str) -> dict[str, float | None]:
        """Metrics of clip_benchmark's own evaluation on the test split, with our prompt."""
        from clip_benchmark import cli

        comparison = self.comparison
        texts = {
            "--custom_template_file": [self.data.template.replace("{}", "{c}")],
            "--custom_classname_file": [readable(name) for name in self.data.class_names],
        }
        with tempfile.TemporaryDirectory() as folder:
            result, words = Path(folder, "result.json"), ["eval", "--split", "test"]
            for option, text in texts.items():
                path = Path(folder, f"{option[2:]}.json")
                path.write_bytes(json_bytes({comparison.dataset: text}))
                words += [option, str(path)]
            words += ["--dataset", comparison.dataset, "--dataset_root", comparison.dataset_root]
            words += ["--task", "zeroshot_classification", "--output", str(result), "--quiet"]
            words += ["--model_type", model_type, "--model", model, "--pretrained", pretrained]
            words += ["--num_workers", str(self.runtime.workers)]
            words += ["--batch_size", str(self.batch_size)]
            words += ["--no_amp"] if comparison.precision == "fp32" else []
            with as_command_line(words), _bars(not self.runtime.quiet):
                cli.main()
            return json.loads(result.read_text(encoding="utf-8"))["metrics"]


def _bars(shown: bool) -> contextlib.AbstractContextManager:
    """clip_benchmark's progress bars cannot be turned off; they go to standard error."""
    return contextlib.nullcontext() if shown else contextlib.redirect_stderr(io.StringIO())
