"""Where many runs take place: processes of this machine, a SLURM cluster, a Ray cluster.

An engine is a context; within it, `submit(jobs)` returns a future of every job's outcome. Of this
package only `experiments.job` and what stands below it is known here; `runner` decides what runs
next.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...config import Engine
from .local import processes
from .ray import ray_cluster
from .slurm import slurm_cluster
from .workers import Begin

ENGINES: Mapping[Engine, Begin] = {"local": processes, "slurm": slurm_cluster, "ray": ray_cluster}
