"""Who carries out runs, and what every engine is."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ...config import Engine
from ...errors import UsageError
from ..job import Job, Outcome

Submit: TypeAlias = "Callable[[Sequence[Job]], list[Future[Outcome]]]"
Begin: TypeAlias = "Callable[[Path, Workers], AbstractContextManager[Submit]]"
"""Of the folder of all runs, absolute, and the workers.

Raises UsageError: its extra is not installed, an option is not known, the cluster cannot be
reached, or one of its machines has another version or does not see the folder.
"""


@dataclass(frozen=True)
class Workers:
    """Who carries out the runs.

    Attributes:
        engine: "local": processes of this machine; "slurm", "ray": a cluster.
        jobs: runs at a time; None is one on this machine, and on a cluster as many as it has room
            for.
        retries: how often a run is tried again that failed for another reason than its input.
        options: of the cluster, see `slurm` and `ray`.
    """

    engine: Engine = "local"
    jobs: int | None = None
    retries: int = 0
    options: Mapping[str, object] = field(default_factory=dict)


def package_of(engine: Engine, name: str) -> Any:
    """Return the package that an engine is made of.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"--engine {engine} needs {name}: pip install '.[{engine}]'.") from error
