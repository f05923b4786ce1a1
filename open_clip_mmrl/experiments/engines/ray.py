"""Runs as tasks of a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ..job import Job, Origin, Outcome

if TYPE_CHECKING:
    from . import Submit


@contextmanager
def ray_cluster(
    output: Path, jobs: int | None, options: Mapping[str, object]
) -> Generator[Submit, None, None]:
    """Carry out runs on a Ray cluster, or on a new one of this machine alone.

    Args:
        output: folder of all runs, which all machines share.
        jobs: runs at a time; None takes as many as the cluster's resources allow.
        options: "address" of a cluster ("auto", "host:port"); any other is one of a Ray task, such
            as "num_gpus" (0.25 lets four runs share a GPU) and "num_cpus".
    """
    ray = _ray()
    options = dict(options)
    address = options.pop("address", None)
    begun = not ray.is_initialized()
    try:
        if begun:
            ray.init(
                address=address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        task = ray.remote(max_retries=0, **options)(_carry_out)
    except (ConnectionError, ValueError, TypeError, RuntimeError) as error:
        raise UsageError(f"--engine ray with {options or address!r}: {error}") from error
    try:
        _check_nodes(ray, Origin.below(output))
        count = jobs or _room(ray, options)

        def carry_out(job: Job) -> Outcome:
            try:
                return ray.get(task.remote(job))
            except ray.exceptions.RayError as error:
                return job.lost(str(error).strip().splitlines()[0])

        threads = ThreadPoolExecutor(count)

        def submit(several: Sequence[Job]) -> list[Future[Outcome]]:
            return [threads.submit(carry_out, job) for job in several]

        try:
            yield submit
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
    finally:
        if begun:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError("--engine ray needs Ray: pip install '.[ray]'.") from error
    return ray


def _carry_out(job: Job) -> Outcome:
    """Carry out a run in a worker process."""
    return job()


def _difference(origin: Origin) -> str | None:
    return origin.enter()


def _check_nodes(ray: Any, origin: Origin) -> None:
    """Let every machine say whether it sees the folder and has the same version.

    Raises:
        UsageError: one does not.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    check = ray.remote(num_cpus=0)(_difference)
    asked = [
        check.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(origin)
        for node in ray.nodes()
        if node["Alive"]
    ]
    try:
        found = [answer for answer in ray.get(asked, timeout=120) if answer]
    except ray.exceptions.RayError as error:
        raise UsageError(
            "a machine of the Ray cluster cannot load open_clip_mmrl: install the same version on "
            f"all ({str(error).strip().splitlines()[-1]})."
        ) from error
    if found:
        raise UsageError(found[0])


def _room(ray: Any, options: Mapping[str, object]) -> int:
    """Return how many tasks the cluster has resources for at a time.

    Raises:
        UsageError: for none.
    """
    total = ray.cluster_resources()
    wanted = {"CPU": options.get("num_cpus", 1), "GPU": options.get("num_gpus", 0)}
    rooms = {name: total.get(name, 0) / float(str(w)) for name, w in wanted.items() if w}
    for name, room in rooms.items():
        if room < 1:
            raise UsageError(
                f"a run needs {wanted[name]} {name}, but the Ray cluster has {total.get(name, 0)}."
            )
    return max(1, int(min(rooms.values(), default=1)))
