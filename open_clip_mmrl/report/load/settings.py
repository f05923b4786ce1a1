"""A run's settings by the names a user types, to see in what runs differ."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path, PurePath
from typing import Any

from ...config import LOSS_TERMS, MMRLConfig, TrainConfig
from ...experiments.results import RunResult
from ...hub.adapter_path import SETTINGS
from ...hub.names import ModelName
from ...utils.files import expand_home, read_json

Settings = Mapping[str, Any]
TRAINED = frozenset(f.name for config in (MMRLConfig, TrainConfig) for f in fields(config))
"""Settings that methods without training do not have."""
WITHOUT_OPTION = (
    "residual_rank", "proj_rank", "token_sides", "space", "regularizer",
    "warmup_lr", "weight_decay", "betas", "text_cache", *LOSS_TERMS,
)  # fmt: skip
"""Fields that the command line changes by `--set NAME=VALUE` only."""
TEST_IMAGES = "test images"
_FROM_RESULT = (
    "model", "pretrained", "method", "protocol", "classes", "shots", "test_split", "fusion",
    "settings", "settings_source", "train", "ablation", "targets", "train_images",
    "working_folder", "written_by",
)  # fmt: skip
"""Keys of run.json that results.json has as well, or that change no number."""


def settings_of(result: RunResult, asked: Settings) -> dict[str, Any]:
    """Return all that decides a run's numbers, but for its seed and its test split.

    What a run chose for itself on held-out shots is left out: it differs between seeds that belong
    together.

    Args:
        result: of the run.
        asked: options that results.json does not have, as `asked_settings` finds them.
    """
    found: dict[str, Any] = {
        "method": result.method,
        "model": ModelName.parse(result.model).base,
        "pretrained": PurePath(result.pretrained or "none").name,
        "shots": result.shots,
        "settings": "validation" if result.settings_source == "validation" else None,
        "fusion": result.fusion,
        TEST_IMAGES: result.sizes.test if result.sizes else None,
        "data": result.data,
        **asked,
        "precision": result.environment.precision,
        **(dict.fromkeys(LOSS_TERMS, 0.0) if result.config else {}),
        **result.config,
        **result.train,
    }
    chosen = result.selection.chosen if result.selection else ()
    variant = found.pop("variant", "mmrl")
    if found.get("beta") == MMRLConfig(variant=variant).beta:
        found["beta"] = None  # its default goes by the method
    return {name: value for name, value in found.items() if name not in ("seed", *chosen)}


def differing(settings: Iterable[Settings]) -> list[str]:
    """Return the names of the settings that are not the same in all of them."""
    settings = list(settings)
    names = dict.fromkeys(name for one in settings for name in one)
    return [
        name
        for name in names
        if len({repr(s.get(name)) for s in settings if name in s or name not in TRAINED}) > 1
    ]


def option(name: str) -> str:
    """Return a setting as it is typed: "--reg-weight", "--set weight_decay"."""
    if name == TEST_IMAGES:
        return name
    return f"--set {name}" if name in WITHOUT_OPTION else f"--{name.replace('_', '-')}"


def value_text(value: Any) -> str | None:
    """Return a setting's value as it is typed; None where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict) and isinstance(value.get("templates"), list):  # prompts
        return f"{len(value['templates'])} more templates, {len(value['classes']):,} classes' own"
    if isinstance(value, dict):  # class names
        return f"{len(value):,} names"
    return None if value is None else str(value)


def asked_settings(folder: Path) -> dict[str, Any]:
    """Return what only a run's run.json has, one spelling for each place; nothing without the file.

    A damaged run.json does not matter here: results.json has the numbers.
    """
    try:
        content = read_json(folder / SETTINGS)
    except (ValueError, OSError):
        return {}
    if not isinstance(content, dict):
        return {}
    found = {key: value for key, value in content.items() if key not in _FROM_RESULT}
    seen_from = str(content.get("working_folder", ""))
    kind, _, place = str(found.get("data", "")).partition(":")
    if kind in ("folder", "wds") and "://" not in place:
        found["data"] = f"{kind}:{_absolute(place, seen_from)}"
    if found.get("data_root"):
        found["data_root"] = _absolute(str(found["data_root"]), seen_from)
    return found


def _absolute(path: str, seen_from: str) -> str:
    return os.path.normpath(seen_from / expand_home(path))
