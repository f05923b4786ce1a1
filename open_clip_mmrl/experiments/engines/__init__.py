"""Where many runs take place: processes of this machine, a SLURM cluster, a Ray cluster.

An engine is a context; within it, `submit(jobs)` returns a future of every job's outcome. Of this
package only `experiments.job` and what stands below it is known here; `runner` decides what runs
next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from ...config import Engine
from ..job import Job, Outcome

Submit: TypeAlias = "Callable[[Sequence[Job]], list[Future[Outcome]]]"


def engine(
    name: Engine, output: Path, jobs: int | None, options: Mapping[str, object]
) -> AbstractContextManager[Submit]:
    """Return an engine.

    Args:
        name: which.
        output: folder of all runs; absolute.
        jobs: runs at a time; None leaves it to the cluster.
        options: of the cluster.

    Raises:
        UsageError: its extra is not installed, an option is not known, the cluster cannot be
            reached.
    """
    if name == "slurm":
        from .slurm import slurm

        return slurm(output, jobs, options)
    if name == "ray":
        from .ray import ray_cluster

        return ray_cluster(output, jobs, options)
    from .local import processes

    return processes(jobs or 1)
