"""One planned run as a job that any process, on any machine, can carry out."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ..utils.files import json_bytes, read_json, write_atomically
from ..utils.ranks import RankError
from ..version import __version__
from .execute import execute
from .protocols import PlannedRun
from .result_parts import Scores
from .run_spec import Runtime

PROBE, PLAN, FAILED = ".probe", "plan.json", "failed.json"
"""Below the folder of all runs, whether a machine sees it, and which runs are planned; in a run's
folder, why it failed."""

logger = logging.getLogger(__name__)


def planned_folders(output: Path) -> set[str]:
    """Return what plan.json names, below `output`; nothing where it is damaged, or not there."""
    try:
        names = read_json(output / PLAN)["folders"]
        return {name for name in names if not {"..", "/"} & {*PurePath(name).parts}}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


@dataclass(frozen=True)
class Outcome:
    """Metrics of one run, or the reason why there are none."""

    planned: PlannedRun
    seconds: float
    metrics: Scores | None = None
    error: str | None = None
    may_succeed: bool = False
    """Whether the same run may succeed when it is carried out again."""

    def to_json(self) -> dict[str, Any]:
        """Return all but the run."""
        return {k: v for k, v in vars(self).items() if k != "planned"}

    @classmethod
    def from_json(cls, planned: PlannedRun, values: Mapping[str, Any]) -> Outcome:
        """Return the outcome of a run from `to_json`."""
        return cls(planned, **values)


@dataclass(frozen=True)
class Origin:
    """Where jobs come from: what a worker on another machine has to have in common."""

    probe: Path
    """A file below the folder of all runs."""
    version: str
    working_folder: str
    """Of the command: paths of data may be relative to it."""

    @classmethod
    def below(cls, output: Path) -> Origin:
        """Write the probe file, and return where it is."""
        write_atomically(output / PROBE, b"")
        return cls((output / PROBE).resolve(), __version__, str(Path.cwd()))

    def enter(self) -> str | None:
        """Work in the same folder; return what this machine does not have in common, or None."""
        host = socket.gethostname()
        if self.version != __version__:
            return (
                f"{host} has open_clip_mmrl {__version__}, the command {self.version}: install "
                "the same version on all machines."
            )
        if not self.probe.is_file():
            return (
                f"{host} does not see {self.probe.parent}: give an --output that all machines "
                "share."
            )
        try:
            os.chdir(self.working_folder)
        except OSError as error:
            return f"{host} cannot work in {self.working_folder}: {error.strerror}."
        return None


@dataclass(frozen=True)
class Job:
    """One planned run, and what it needs."""

    planned: PlannedRun
    output: Path
    runtime: Runtime
    origin: Origin | None = None
    """None where the worker is on the machine of the command."""

    def __call__(self) -> Outcome:
        """Carry out the run; every error becomes an outcome."""
        start = time.perf_counter()
        folder = self.output / self.planned.folder

        def failed(error: str, *, may_succeed: bool) -> Outcome:
            seconds = time.perf_counter() - start
            with suppress(OSError):  # it may be the reason
                if folder.is_dir():
                    write_atomically(folder / FAILED, json_bytes({"error": error}))
            return Outcome(self.planned, seconds, error=error, may_succeed=may_succeed)

        difference = None if self.origin is None else self.origin.enter()
        if difference:
            return failed(difference, may_succeed=False)
        reuse_from = [self.output / other for other in self.planned.reuse_from]
        try:
            result = execute(self.planned.run, folder, self.runtime, reuse_from=reuse_from)
        except RankError:  # the other processes are no longer where this one is
            raise
        except ValueError as error:  # the same input has the same fault again
            return failed(str(error), may_succeed=False)
        except (RuntimeError, OSError) as error:
            return failed(str(error), may_succeed=True)
        except Exception as error:  # nobody foresaw it; other runs do not depend on this one
            logger.debug("%s", self.planned.folder, exc_info=True)
            return failed(f"{type(error).__name__}: {error}", may_succeed=False)
        with suppress(OSError):
            (folder / FAILED).unlink(missing_ok=True)
        return Outcome(self.planned, time.perf_counter() - start, metrics=result.metrics)

    def lost(self, reason: str) -> Outcome:
        """Return the outcome where the worker ended before the run did."""
        return Outcome(self.planned, 0, error=reason, may_succeed=True)
