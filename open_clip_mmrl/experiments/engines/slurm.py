"""Runs as jobs of a SLURM cluster, through submitit: one array per call of `submit`.

Below the folder of all runs, `.slurm` holds submitit's files (job scripts, standard output and
error), the job of every run in `jobs.json`, and the outcome of every job as JSON. Jobs do not
depend on the command: given again, it finds those that still wait or run, and waits for them.
submitit signals a job before its time is over or when it is preempted; the job is queued again then
and its run resumes from its last epoch.
"""

from __future__ import annotations

import logging
import re
import subprocess
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...utils.files import json_bytes, read_json, write_atomically
from ..job import Job, Outcome
from .workers import Submit, Workers, package_of

logger = logging.getLogger(__name__)

FOLDER, JOBS = ".slurm", "jobs.json"
POLL_SECONDS = 2.0


@dataclass(frozen=True)
class RecordedJob:
    """A job that writes its outcome into a file: what submitit carries out."""

    job: Job
    path: Path

    def __call__(self) -> None:
        """Carry out the run."""
        outcome = self.job()
        write_atomically(self.path, json_bytes(outcome.to_json()))

    def checkpoint(self) -> Any:
        """Begin again where submitit queues the job again: the run resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@contextmanager
def slurm_cluster(output: Path, workers: Workers) -> Generator[Submit, None, None]:
    """Submit runs to SLURM, at most `workers.jobs` of an array at a time.

    Options: of submitit: "timeout_min", "gpus_per_node", "cpus_per_task", "mem_gb", ...; any other
    is one of sbatch ("partition", "account", ...). "cluster": "local" is for tests.
    """
    cluster = _Cluster(output.resolve() / FOLDER, workers)
    watcher = threading.Thread(target=cluster.watch, daemon=True)
    watcher.start()
    try:
        yield cluster.submit
    finally:
        cluster.ended.set()
        watcher.join()


@dataclass(eq=False)
class _Entry:
    """A job that was submitted; `handle` is submitit's."""

    recorded: RecordedJob
    handle: Any = None
    future: Future[Outcome] = field(default_factory=Future)

    @property
    def id(self) -> str:
        return str(self.handle.job_id)


class _Cluster:
    """submitit's executor, and the jobs that are not finished."""

    def __init__(self, folder: Path, workers: Workers) -> None:
        self.folder = folder
        self.is_local = workers.options.get("cluster") == "local"
        self.executor = _executor(folder, workers)
        self.waiting: dict[str, _Entry] = {}
        """By id of the job."""
        self.lock, self.ended = threading.Lock(), threading.Event()

    def submit(self, jobs: Sequence[Job]) -> list[Future[Outcome]]:
        known = self._known()
        alive = self._alive(set(known.values()))
        entries, fresh = [], []
        for job in jobs:
            name = str(job.planned.folder)
            entry = _Entry(RecordedJob(job, self._path(name)))
            entries.append(entry)
            if known.get(name) in alive:
                entry.handle = self.executor.job_class(self.folder, known[name])
            else:
                fresh.append(entry)
                entry.recorded.path.unlink(missing_ok=True)
        for entry, handle in zip(fresh, self._submit(fresh), strict=True):
            entry.handle = handle
        ids = {str(e.recorded.job.planned.folder): e.id for e in entries}
        write_atomically(self.folder / JOBS, json_bytes({**known, **ids}))
        for what, some in (
            ("submitted", fresh),
            ("joined", [entry for entry in entries if entry not in fresh]),
        ):
            if some:
                span = some[0].id if len(some) == 1 else f"{some[0].id} to {some[-1].id}"
                logger.info("%s job %s; output in %s", what, span, self.folder)
        logger.info("Jobs do not end with this command: give it again to join them.")
        with self.lock:
            self.waiting.update({entry.id: entry for entry in entries})
        return [entry.future for entry in entries]

    def _submit(self, entries: Sequence[_Entry]) -> list[Any]:
        if not entries:
            return []
        try:
            return self.executor.submit_array([entry.recorded for entry in entries])
        except Exception as error:  # submitit passes sbatch's message on in errors of its own
            raise ValueError(f"SLURM refused the jobs: {_last_line(error)}") from error

    def _path(self, name: str) -> Path:
        """Return the file of an outcome; one per run."""
        return self.folder / f"{name.replace('/', '_')}.json"

    def _known(self) -> dict[str, str]:
        path = self.folder / JOBS
        return {str(k): str(v) for k, v in read_json(path).items()} if path.is_file() else {}

    def _alive(self, ids: set[str]) -> set[str]:
        """Return which jobs wait or run."""
        if self.is_local:
            with self.lock:
                return {i for i in ids if i in self.waiting and not self.waiting[i].handle.done()}
        return queued() & ids if ids else set()

    def watch(self) -> None:
        """Set the futures of jobs that have ended, until the context ends."""
        gone: set[str] = set()  # at the last look: the queue may be ahead of the disk
        while not self.ended.wait(POLL_SECONDS):
            with self.lock:
                waiting = dict(self.waiting)
            try:
                alive = self._alive(set(waiting))
            except (OSError, ValueError) as error:
                logger.warning("%s; asked again in a minute", error)
                self.ended.wait(60)
                continue
            for job_id, entry in waiting.items():
                job, path = entry.recorded.job, entry.recorded.path
                if path.is_file():
                    outcome = Outcome.from_json(job.planned, read_json(path))
                elif job_id in alive or job_id not in gone:
                    continue
                else:
                    outcome = job.lost(f"job {job_id} ended without a result; {_see(entry)}")
                with self.lock:
                    del self.waiting[job_id]
                entry.future.set_result(outcome)
            gone = set(waiting) - alive


def _executor(folder: Path, workers: Workers) -> Any:
    submitit = package_of("slurm", "submitit")
    options = dict(workers.options)
    if options.pop("cluster", "slurm") == "local":
        executor = submitit.LocalExecutor(folder)
        executor.update_parameters(timeout_min=60, **options)
        return executor
    try:
        executor = submitit.SlurmExecutor(folder)
    except RuntimeError as error:
        raise UsageError(
            "there is no SLURM here (srun was not found): give the command on a login node."
        ) from error
    names = executor._equivalence_dict() or {}
    renamed = {names.get(name, name): value for name, value in options.items()}
    valid = executor._valid_parameters()
    ours = {name: value for name, value in renamed.items() if name in valid}
    if workers.jobs is not None:
        ours["array_parallelism"] = workers.jobs
    more = {name: value for name, value in renamed.items() if name not in valid}
    executor.update_parameters(job_name="mmrl", **ours, additional_parameters=more)
    return executor


def queued() -> set[str]:
    """Return the ids of this user's jobs that wait or run, of arrays one by one.

    Raises:
        ValueError: SLURM does not answer.
    """
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i|%A"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise ValueError(f"SLURM does not answer: {done.stderr.strip()}")
    return {word for word in re.split(r"[|\s]+", done.stdout) if word}


def _see(entry: _Entry) -> str:
    log = entry.handle.paths.stderr
    if log.is_file():
        return f"see {log}"
    return f"its machine wrote nothing: it has to see {log.parent}; give an --output that all share"


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
