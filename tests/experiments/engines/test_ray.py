"""Ray on this machine: workers of which one dies."""

import os
import sys

import pytest
from helpers.jobs import FakeJob

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.engines.ray import ray_cluster
from open_clip_mmrl.experiments.engines.workers import Workers

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two cores and something that Ray takes for a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("RAY_worker_niceness", "0")  # 15 else: minutes to start on a busy machine
        yield ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
        ray.shutdown()


def test_a_worker_stays_and_one_that_dies_takes_only_its_run_along(tmp_path):
    jobs = [FakeJob(name, tmp_path, dies_once=name == "c") for name in "abcde"]
    with ray_cluster(tmp_path, Workers(jobs=1, options={"num_gpus": 0.5})) as submit:
        first = [future.result(120) for future in submit(jobs)]
        (again,) = [future.result(120) for future in submit(jobs[2:3])]
    assert [bool(outcome.error) for outcome in first] == [False, False, True, False, False]
    assert first[2].may_succeed and again.error is None
    processes = [outcome.metrics["accuracy"] for outcome in (*first[:2], *first[3:], again)]
    assert processes[0] == processes[1] != processes[2] == processes[3] == processes[4]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_gpus": 64}, "needs 64 GPU"), ({"num_gpu": 1}, "num_gpu")],
)
def test_options_that_cannot_be_are_refused(tmp_path, options, message):
    workers = Workers(jobs=1, options=options)
    with pytest.raises(UsageError, match=message), ray_cluster(tmp_path, workers):
        pytest.fail("began")


def test_a_cluster_that_does_not_answer_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    workers = Workers(options={"address": "ray://127.0.0.1:1"})
    with pytest.raises(UsageError, match=r"127.0.0.1:1.*refused"), ray_cluster(tmp_path, workers):
        pytest.fail("began")
