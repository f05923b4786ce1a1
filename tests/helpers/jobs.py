"""Jobs that do no more than their test wants: picklable, for processes of other machines too."""

import os
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

from open_clip_mmrl.experiments.job import Outcome


def planned(name):
    return SimpleNamespace(folder=PurePosixPath(name))


@dataclass(frozen=True)
class FakeJob:
    """A job that notes the GPU that it sees; it may kill its process once, or wait for a file."""

    name: str
    folder: Path
    dies_once: bool = False
    waits: bool = False

    @property
    def planned(self):
        return planned(self.name)

    def __call__(self):
        marker = self.folder / f"{self.name}.died"
        if self.dies_once and not marker.exists():
            marker.touch()
            os._exit(9)
        if self.waits:
            with (self.folder / f"{self.name}.began").open("a") as log:
                log.write("began\n")
            while not (self.folder / f"{self.name}.may_end").exists():
                time.sleep(0.1)
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
        (self.folder / f"{self.name}.gpu").write_text(str(gpu))
        return Outcome(self.planned, 0, metrics={"accuracy": float(os.getpid())})

    def lost(self, reason):
        return Outcome(self.planned, 0, error=reason, may_succeed=True)
