"""Testing a trained model on other data sets, without further training."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data import ImageData, load_data
from ..data.coop.check import sizes
from ..hub.load import LoadedModel
from ..utils.files import json_bytes, write_atomically
from .recipes import target_beta
from .run_dir import TARGETS
from .run_spec import FewShotRun, Runtime, dataset_name
from .score import score_target

logger = logging.getLogger(__name__)


def score_targets(
    loaded: LoadedModel,
    run: FewShotRun,
    output: Path,
    runtime: Runtime,
    score: Callable[..., dict[str, float | None]] = score_target,
) -> dict[str, dict[str, Any]]:
    """Every target that is there, by its short name; each is written down as it is done.

    Args:
        score: what gives {"accuracy", "zero_shot"} of (built, data, run, runtime).
    """
    trained = loaded.model.config
    found = {}
    for spec in run.targets:
        name = dataset_name(spec)
        path = output / TARGETS / f"{name}.json"
        if path.is_file():
            found[name] = json.loads(path.read_text(encoding="utf-8"))
            continue
        try:
            data = load_data(spec, data_root=run.data_root, quiet=runtime.quiet)
        except ValueError as error:
            logger.warning("%s is left out: %s", name, error)
            found[name] = {"missing": str(error)}
            continue
        beta = target_beta(name, run.settings_source) if trained.variant == "mmrl++" else None
        if beta is not None:
            loaded.model.config = replace(trained, beta=beta)
        found[name] = {
            **score(loaded, data, run, runtime),
            "beta": loaded.model.config.beta,
            "sizes": sizes_of(data, spec, run),
        }
        loaded.model.config = trained
        write_atomically(path, json_bytes(found[name]))
        accuracy = found[name]["accuracy"]
        logger.info("%s: %s", name, "other classes" if accuracy is None else f"{accuracy:.1f}")
    return found


def sizes_of(data: ImageData, spec: str, run: FewShotRun) -> dict[str, Any]:
    """Counts of a data set, and whether they are the paper's."""
    return sizes(
        data, spec.removeprefix("coop:") if spec.startswith("coop:") else "", run.data_root
    )


def late_targets(results: dict[str, Any], run: FewShotRun) -> bool:
    """Whether a target that was missing when this run was finished is there now."""
    for spec in run.targets:
        if "missing" in results[TARGETS][dataset_name(spec)]:
            try:
                load_data(spec, data_root=run.data_root)
                return True
            except ValueError:
                continue
    return False
