"""Jobs that do no more than their test wants: picklable, for processes of other machines too."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

from open_clip_mmrl.experiments.job import Outcome


def planned(name):
    return SimpleNamespace(folder=PurePosixPath(name))


@dataclass(frozen=True)
class FakeJob:
    """A job that notes its process and the GPU that it sees, and may kill its process once."""

    name: str
    folder: Path
    dies_once: bool = False

    @property
    def planned(self):
        return planned(self.name)

    def __call__(self):
        marker = self.folder / f"{self.name}.died"
        if self.dies_once and not marker.exists():
            marker.touch()
            os._exit(9)
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
        (self.folder / f"{self.name}.gpu").write_text(str(gpu))
        return Outcome(self.planned, 0, metrics={"accuracy": float(os.getpid())})

    def lost(self, reason):
        return Outcome(self.planned, 0, error=reason, may_succeed=True)
