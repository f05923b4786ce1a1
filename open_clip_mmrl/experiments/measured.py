"""What the steps of a run return; `execute` makes a `RunResult` of it.

The fields are those of `RunResult` with the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..evaluation.class_metrics import Confusions
from .result_parts import AlphaPoint, ProbeStrength, Scores, Selection


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """How a method was trained, and what that took."""

    trainable_parameters: int | None
    train_seconds: float | None = None
    train_ms_per_image: float | None = None
    skipped_steps: int | None = None
    trained_in: str | None = None
    selection: Selection | None = None
    regularization: ProbeStrength | None = None


@dataclass(frozen=True, kw_only=True)
class RunScores:
    """All scores of a test split, in percent."""

    metrics: Scores
    zero_shot: Scores
    generalized_rule: str | None = None
    generalized: Scores = field(default_factory=dict)
    generalized_zero_shot: Scores = field(default_factory=dict)
    calibration: Scores = field(default_factory=dict)
    calibration_zero_shot: Scores = field(default_factory=dict)
    unknown: Scores = field(default_factory=dict)
    unknown_zero_shot: Scores = field(default_factory=dict)
    calibrated: Scores = field(default_factory=dict)
    calibrated_zero_shot: Scores = field(default_factory=dict)
    per_class: Mapping[str, Scores] = field(default_factory=dict)
    alpha_curve: tuple[AlphaPoint, ...] = ()
    confusions: Confusions | None = None
    """Of the classes trained on; not written to results.json."""
    frozen_features: Tensor | None = field(default=None, repr=False, compare=False)
    """Of all images of the split, see `Logits.features`; not written either."""
    eval_images_per_second: float | None = None
