"""Ray on this machine: workers of which one dies."""

import os
import sys

import pytest
from helpers.jobs import FakeJob

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.engines.ray import ray_cluster

pytest.importorskip("ray")


def test_a_worker_that_dies_takes_only_its_run_along(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    jobs = [FakeJob("a", tmp_path), FakeJob("b", tmp_path, dies_once=True), FakeJob("c", tmp_path)]
    with ray_cluster(tmp_path, 2, {"num_cpus": 1}) as submit:
        first = [future.result(120) for future in submit(jobs)]
        (again,) = [future.result(120) for future in submit(jobs[1:2])]
    assert [bool(outcome.error) for outcome in first] == [False, True, False]
    assert first[1].may_succeed and again.error is None


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_gpus": 64}, "needs 64 GPU"), ({"num_gpu": 1}, "num_gpu")],
)
def test_options_that_cannot_be_are_refused(tmp_path, options, message):
    with pytest.raises(UsageError, match=message), ray_cluster(tmp_path, None, options):
        pytest.fail("began")
