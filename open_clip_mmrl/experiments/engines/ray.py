"""Runs on a Ray cluster, in worker processes that end with the command.

An actor, not tasks: those with a GPU get a new process each, which reads the base's weights again.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ...errors import UsageError
from ..job import Job, Origin, Outcome
from .workers import Submit, Workers, package_of


class Worker:
    """A process of the cluster with its share of a machine."""

    def is_ready(self) -> bool:
        """Return as soon as the process is there: until then others take the jobs."""
        return True

    def carry_out(self, job: Job) -> Outcome:
        """Carry out a run."""
        return job()


@contextmanager
def ray_cluster(output: Path, workers: Workers) -> Generator[Submit, None, None]:
    """Carry out runs on a Ray cluster, or on a new one of this machine alone.

    Options: "address" of a cluster ("auto", "host:port"); any other is one of a Ray actor, such as
    "num_gpus" (0.25 lets four runs share a GPU) and "num_cpus".
    """
    ray = package_of("ray", "ray")
    options = {"num_cpus": 1, **workers.options}
    address = options.pop("address", None)
    begun = not ray.is_initialized()
    try:
        if begun:
            _require_answer(address or os.environ.get("RAY_ADDRESS"))
            with _own_signals():
                ray.init(
                    address=address,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        kind = ray.remote(**options)(Worker)
    except (ConnectionError, ValueError, TypeError, RuntimeError) as error:
        raise UsageError(f"--engine ray with {dict(workers.options)}: {error}") from error
    try:
        _check_nodes(ray, Origin.below(output))
        room = _room(ray, options)
        count = workers.jobs or room
        crew, free, ended = list[Any](), SimpleQueue[Any](), threading.Event()
        threads = ThreadPoolExecutor(count)

        def begin_worker() -> None:
            worker = kind.remote()
            crew.append(worker)
            worker.is_ready.remote().future().add_done_callback(lambda _: free.put(worker))

        def carry_out(job: Job) -> Outcome:
            worker = free.get()
            try:
                outcome = ray.get(worker.carry_out.remote(job))
            except ray.exceptions.RayError as error:
                ray.kill(worker)  # it may only be out of reach, and work on
                if not ended.is_set():
                    begin_worker()
                return job.lost(f"its worker died: {str(error).strip().splitlines()[0]:.100}")
            free.put(worker)
            return outcome

        def submit(several: Sequence[Job]) -> list[Future[Outcome]]:
            return [threads.submit(carry_out, job) for job in several]

        for _ in range(count):
            begin_worker()
        try:
            yield submit
        finally:
            ended.set()
            for worker in crew:
                ray.kill(worker)
            threads.shutdown(wait=True, cancel_futures=True)  # none waits for a killed worker
    finally:
        if begun:
            ray.shutdown()


@contextmanager
def _own_signals() -> Generator[None, None, None]:
    """Keep the way in which SIGTERM ends this program: Ray aborts it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _require_answer(address: object) -> None:
    """Try to reach "host:port" once: Ray itself tries for many minutes."""
    host, _, port = str(address).rpartition("://")[2].rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except OSError as error:
            raise ConnectionError(
                f"nothing answers there ({error}); check `ray status` on the cluster's head node."
            ) from error


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
        found = [answer for answer in ray.get(asked, timeout=600) if answer]
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
