"""A real SLURM on loopback: jobs outlive the command, are joined again, and are queued again."""

import json
import os
import subprocess
import sys
import time

import pytest
from helpers.jobs import FakeJob
from helpers.slurm_here import is_installed, slurm_here

from open_clip_mmrl.experiments.engines import slurm as slurm_
from open_clip_mmrl.experiments.engines.workers import Workers

pytest.importorskip("submitit")
pytestmark = pytest.mark.skipif(not is_installed(), reason="needs SLURM's daemons, munge and root")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with slurm_here(tmp_path) as env:
        monkeypatch.setenv("SLURM_CONF", env["SLURM_CONF"])
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        yield tmp_path


def wait_for(path, seconds=120):
    """Wait until a job has written a file."""
    last = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < last, f"{path} was not written within {seconds} s"
        time.sleep(0.2)


def test_jobs_outlive_the_command_are_joined_and_a_canceled_one_is_lost(cluster):
    workers = Workers(options={"timeout_min": 5, "cpus_per_task": 1})
    jobs = [FakeJob(name, cluster, waits=name == "slow") for name in ("slow", "b", "c")]
    with slurm_.slurm_cluster(cluster, workers) as submit:
        futures = submit(jobs)  # the command ends here
    with slurm_.slurm_cluster(cluster, workers) as submit:
        futures = submit(jobs)
        ids = json.loads((cluster / ".slurm" / "jobs.json").read_text())
        assert all(future.result(120).error is None for future in futures[1:])
        assert {i.split("_")[0] for i in ids.values()} == {ids["slow"].split("_")[0]}
        wait_for(cluster / "slow.began")
        subprocess.run(["scancel", ids["slow"]], check=True)
        assert "ended without a result; see" in futures[0].result(60).error


def test_a_job_that_is_preempted_is_queued_again(cluster):
    job = FakeJob("slow", cluster, waits=True)
    with slurm_.slurm_cluster(cluster, Workers(options={"timeout_min": 5})) as submit:
        (future,) = submit([job])
        began = cluster / "slow.began"
        wait_for(began)
        job_id = json.loads((cluster / ".slurm" / "jobs.json").read_text())["slow"]
        subprocess.run(["scancel", job_id, "--signal", "USR2"], check=True)
        time.sleep(3)
        (cluster / "slow.may_end").touch()
        # SLURM begins a job that it queued again after two minutes at the earliest.
        assert future.result(300).error is None
    assert began.read_text().count("began") == 2
