"""The seam into clip_benchmark: everything that is changed in its modules is in the table below.

Written against clip_benchmark 1.6.2, whose functions look these names up when they are called.
`register()` checks every place before it changes any; `unregister()` puts all of them back.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any, NamedTuple

CLI = "clip_benchmark.cli"
BUILDER = "clip_benchmark.datasets.builder"
MODELS = "clip_benchmark.models"
CLASSIFICATION = "clip_benchmark.metrics.zeroshot_classification"
RETRIEVAL = "clip_benchmark.metrics.zeroshot_retrieval"
SELECTION = "clip_benchmark.metrics.image_caption_selection"
PROBE = "clip_benchmark.metrics.linear_probe"

VERSION = "1.6.2"


class Patch(NamedTuple):
    """One name of clip_benchmark and what replaces it."""

    module: str
    name: str
    wrap: Callable[[Any], Any]
    """From the present object to its replacement; of several rows each wraps the one before."""


_replaced: dict[tuple[str, str], tuple[Any, Any]] = {}
"""(module, name) -> (clip_benchmark's own, ours), while registered."""


def register() -> None:
    """Add our model types and repairs to clip_benchmark. Idempotent.

    Raises:
        ValueError: clip_benchmark is not installed, or is a version with other names.
    """
    if _replaced:
        return
    table = _patches()
    own = {(patch.module, patch.name): _find(patch.module, patch.name) for patch in table}
    _add_model_types()
    for module, name, wrap in table:
        holder = importlib.import_module(module)
        ours = wrap(getattr(holder, name))
        setattr(holder, name, ours)
        _replaced[module, name] = (own[module, name], ours)


def unregister() -> None:
    """Leave clip_benchmark as it was before `register()`. Idempotent."""
    if not _replaced:
        return
    for (module, name), (original, ours) in _replaced.items():
        holder = importlib.import_module(module)
        if getattr(holder, name) is ours:  # not where somebody wrapped it again
            setattr(holder, name, original)
    _replaced.clear()
    _remove_model_types()


def original(module: str, name: str) -> Any:
    """Return clip_benchmark's own object, registered or not."""
    held = _replaced.get((module, name))
    return held[0] if held else _find(module, name)


def _patches() -> tuple[Patch, ...]:
    """Return the table; the docstrings of `repairs` say what is broken. Imports what is slow."""
    from .auto import choosing_features
    from .repairs.accuracy import accuracy
    from .repairs.build_table import main_build
    from .repairs.caption_counts import check_captions
    from .repairs.linear_probe import evaluate as evaluate_probe
    from .repairs.retrieval_recall import check_recall
    from .repairs.run import wrap_main_eval, wrap_run
    from .repairs.run_classification import run_classification
    from .repairs.saved_classifiers import check_classifier_files
    from .repairs.wds_reader import build_wds_dataset
    from .repairs.zero_shot_classifier import zero_shot_classifier

    return (
        Patch(CLI, "run", wrap_run),
        Patch(CLI, "main_eval", wrap_main_eval),
        Patch(CLI, "main_build", _instead(main_build)),
        Patch(BUILDER, "build_wds_dataset", _instead(build_wds_dataset)),
        Patch(CLASSIFICATION, "zero_shot_classifier", _instead(zero_shot_classifier)),
        Patch(CLASSIFICATION, "run_classification", _instead(run_classification)),
        Patch(CLASSIFICATION, "accuracy", _instead(accuracy)),
        Patch(PROBE, "accuracy", _instead(accuracy)),  # imported by name there
        Patch(CLASSIFICATION, "evaluate", check_classifier_files),
        Patch(RETRIEVAL, "evaluate", check_recall),
        Patch(SELECTION, "evaluate", check_captions),
        Patch(PROBE, "evaluate", _instead(evaluate_probe)),
        # Not repairs: models of the type mmrl_auto choose their features for each task.
        *(
            Patch(task, "evaluate", choosing_features)
            for task in (CLASSIFICATION, RETRIEVAL, SELECTION, PROBE)
        ),
    )


def _instead(ours: Any) -> Callable[[Any], Any]:
    return lambda _: ours


def _add_model_types() -> None:
    """Add them in place: argparse and `load_clip` hold these very objects."""
    from . import model_types

    functions, names = _find(MODELS, "TYPE2FUNC"), _find(MODELS, "MODEL_TYPES")
    for name, load in model_types.loaders().items():
        functions[name] = load
        if name not in names:
            names.append(name)


def _remove_model_types() -> None:
    from . import model_types

    functions, names = _find(MODELS, "TYPE2FUNC"), _find(MODELS, "MODEL_TYPES")
    for name in model_types.loaders():
        functions.pop(name, None)
        if name in names:
            names.remove(name)


def _find(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except (AttributeError, ModuleNotFoundError) as error:
        lacks = error.name if isinstance(error, ModuleNotFoundError) else module
        if not (lacks or "").startswith("clip_benchmark"):
            raise  # something that clip_benchmark needs
        version = importlib.metadata.version("clip-benchmark")
        raise ValueError(
            f"clip_benchmark {version} has no {module}.{name}, which benchmark_adapters "
            f"replaces: install clip-benchmark {VERSION}, or a later version that has it."
        ) from error
