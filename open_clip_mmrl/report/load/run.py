"""One finished run as the report sees it: its result, and where in the report it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from ...config import VARIANTS, Shots
from ...experiments.result_parts import known
from ...experiments.results import ADAPTER, TRAINED_ON_BASE, TRANSFER, RunResult
from ...hub.names import ModelName
from .settings import Settings, asked_settings, settings_of

METRICS = ("base", "novel", "hm")
"""Where base classes are trained on and novel ones tested too."""
MIN_CLASSES = 4
"""Of a data set that is divided: two base and two novel classes, as `ImageData.select` requires."""
METHODS = {
    "zeroshot": "frozen CLIP",
    "linear_probe": "linear probe",
    "tip_adapter": "Tip-Adapter",
    "tip_adapter_f": "Tip-Adapter-F",
    "coop": "CoOp",
    "clip_lora": "CLIP-LoRA",
    "mmrl": "MMRL",
    "mmrl++": "MMRL++",
}
"""Titles, in the order in which a report has the methods."""


class Series(NamedTuple):
    """One method with settings from one source; only MMRL and MMRL++ have settings and fusion."""

    method: str
    settings_source: str | None = None
    fusion: str | None = None


FROZEN = Series("zeroshot")


class Setup(NamedTuple):
    """What all runs of a section share; `source` and `sweep` are "" where there is none."""

    protocol: str
    backbone: str
    """open_clip's name of the base model, without our prefix."""
    pretrained: str
    """Tag, or the name of a weights file without its folder."""
    test_split: str
    source: str
    """What transfer runs were trained on."""
    shots: Shots | None
    """None for few-shot, which varies it."""
    sweep: str
    """What an ablation varies."""


def metrics_of(protocol: str) -> tuple[str, ...]:
    """Return the metrics of a protocol, the main one last."""
    return METRICS if protocol in TRAINED_ON_BASE else ("accuracy",)


@dataclass(frozen=True)
class Run:
    """A result, and what follows from it."""

    path: Path
    result: RunResult
    setup: Setup
    series: Series
    point: str
    """The shots of few-shot or the varied value of an ablation, as text; "" elsewhere."""
    scores: dict[str, float]
    """By metric: base, novel, hm or accuracy; generalized_*; ece_*; unknown_*; calibrated_*."""
    frozen_scores: dict[str, float]
    """The same of frozen CLIP, as far as it was measured."""
    settings: Mapping[str, Any]
    """What decides the numbers, without the seed and what was chosen for it."""

    @property
    def paper_split(self) -> bool | None:
        """Whether the data set is split as the paper's; None where it is none of the paper's."""
        return self.result.sizes.paper_split if self.result.sizes else None

    @property
    def train_seconds(self) -> float | None:
        """Seconds of training; None where another run's adapter was taken, which counts there."""
        return None if self.result.trained_in else self.result.train_seconds

    @property
    def hours(self) -> float:
        """Hours of training and of choosing settings."""
        if self.result.trained_in:
            return 0.0
        selection = self.result.selection.seconds if self.result.selection else 0.0
        return ((self.result.train_seconds or 0.0) + selection) / 3600


def read_run(path: Path) -> Run:
    """Read a results.json.

    Raises:
        ValueError: not JSON, or not a result, the adapter next to it is damaged, or there were
            too few classes for base and novel ones; the message names the file.
        OSError: the file cannot be read.
    """
    _check_adapter(path.with_name(ADAPTER))
    result = RunResult.read(path)
    classes = result.sizes.classes if result.sizes else None
    few = classes is not None and classes < MIN_CLASSES
    if result.protocol in TRAINED_ON_BASE and (few or len(result.per_class.get("novel", "ab")) < 2):
        raise ValueError(
            f"{path}: its novel classes are a single one, of which every image is right; base and "
            f"novel classes need a data set of {MIN_CLASSES}"
        )
    return run_of(result, path, asked_settings(path.parent))


def _check_adapter(path: Path) -> None:
    """Check that an adapter, where there is one, is whole; without torch, which takes seconds."""
    if not path.exists():
        return
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a safetensors file ({error})") from error


def run_of(result: RunResult, path: Path, asked: Settings) -> Run:
    """Return where a result belongs, and its scores in one flat mapping."""
    few_shot = result.protocol == "few-shot"
    adapted = result.method in VARIANTS
    point = point_text(result.ablation.value) if result.ablation else ""
    return Run(
        path=path,
        result=result,
        setup=Setup(
            result.protocol,
            ModelName.parse(result.model).base,
            PurePath(result.pretrained or "none").name,
            result.test_split,
            result.dataset if result.protocol in TRANSFER else "",
            None if few_shot else result.shots,
            result.ablation.sweep if result.ablation else "",
        ),
        series=Series(
            result.method,
            result.settings_source if adapted else None,
            result.fusion if adapted else None,
        ),
        point=str(result.shots) if few_shot and result.method != FROZEN.method else point,
        scores={
            **known(result.metrics),
            **_prefixed("generalized_", known(result.generalized)),
            **_prefixed("ece_", known(result.calibration)),
            **_prefixed("unknown_", known(result.unknown)),
            **_prefixed("calibrated_", known(result.calibrated)),
        },
        frozen_scores={
            **known(result.zero_shot),
            **_prefixed("generalized_", known(result.generalized_zero_shot)),
            **_prefixed("ece_", known(result.calibration_zero_shot)),
            **_prefixed("unknown_", known(result.unknown_zero_shot)),
            **_prefixed("calibrated_", known(result.calibrated_zero_shot)),
        },
        settings=settings_of(result, asked),
    )


def point_text(value: str | float) -> str:
    """Return a varied setting as text that equal numbers share: 7 and 7.0 are "7"."""
    return value if isinstance(value, str) else f"{value:g}"


def _prefixed(prefix: str, scores: dict[str, float]) -> dict[str, float]:
    return {prefix + name: value for name, value in scores.items()}
