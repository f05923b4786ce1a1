"""The seam into clip_benchmark: all that is changed in its modules stands in the table below.

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
    """One name of clip_benchmark and what stands in its place."""

    module: str
    name: str
    ours: Callable[[Any], Any]
    """clip_benchmark's own -> what replaces it."""


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
    originals = [_find(patch.module, patch.name) for patch in table]
    _add_model_types()
    for patch, original in zip(table, originals, strict=True):
        ours = patch.ours(original)
        setattr(importlib.import_module(patch.module), patch.name, ours)
        _replaced[patch.module, patch.name] = (original, ours)


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
    """clip_benchmark's own object, registered or not."""
    held = _replaced.get((module, name))
    return held[0] if held else _find(module, name)


def _patches() -> tuple[Patch, ...]:
    """The table. Everything slow is imported here, so that importing this package is not."""
    from .repairs import build_table, evaluate, linear_probe, run, wds_reader, zero_shot

    return (
        # Names results by the file name alone, so that adapters overwrite each other; writes NaN;
        # takes retrieval shards for classification; crashes with --skip_load.
        Patch(CLI, "run", run.wrap_run),
        # Dies of results without metrics; orders its columns by a set.
        Patch(CLI, "main_build", _instead(build_table.main_build)),
        # Fails with fewer shards than workers; lambdas that spawned workers cannot take.
        Patch(BUILDER, "build_wds_dataset", _instead(wds_reader.build_wds_dataset)),
        # One call of the text tower per class.
        Patch(CLASSIFICATION, "zero_shot_classifier", _instead(zero_shot.zero_shot_classifier)),
        # Labels are never checked; a saved bfloat16 classifier cannot be used without amp.
        Patch(CLASSIFICATION, "run_classification", _instead(zero_shot.run_classification)),
        # float() of an array with one dimension: an error from numpy 2.4 on. Imported by name in
        # the second module.
        Patch(CLASSIFICATION, "accuracy", _instead(zero_shot.accuracy)),
        Patch(PROBE, "accuracy", _instead(zero_shot.accuracy)),
        # All tasks hand a device with an index ("cuda:1", under --distributed) to autocast, which
        # takes it only in recent versions of PyTorch; none knows of features to choose from.
        Patch(CLASSIFICATION, "evaluate", evaluate.wrap_classification),
        # A recall@k beyond the data fails in topk after all the work.
        Patch(RETRIEVAL, "evaluate", evaluate.wrap_retrieval),
        Patch(SELECTION, "evaluate", evaluate.wrap_selection),
        # Runs on CUDA only; a cache of features keyed by names; writes "metrics": null.
        Patch(PROBE, "evaluate", lambda _: evaluate.wrap_probe(linear_probe.evaluate)),
    )


def _instead(ours: Any) -> Callable[[Any], Any]:
    return lambda _: ours


def _add_model_types() -> None:
    """In place: argparse and `load_clip` hold these very objects."""
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
        if isinstance(error, ModuleNotFoundError) and not _is_theirs(error.name):
            raise  # something that clip_benchmark needs
        version = importlib.metadata.version("clip-benchmark")
        raise ValueError(
            f"clip_benchmark {version} has no {module}.{name}, where benchmark_adapters "
            f"joins it: install clip-benchmark {VERSION}, or a later version that has it."
        ) from error


def _is_theirs(module: str | None) -> bool:
    return (module or "").split(".")[0] == "clip_benchmark"
