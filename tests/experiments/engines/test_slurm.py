"""submitit with jobs of this machine, and the queue of SLURM as it answers."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from helpers.jobs import FakeJob

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.engines import slurm as slurm_
from open_clip_mmrl.experiments.engines.workers import Workers

pytest.importorskip("submitit")


def test_jobs_leave_their_outcome_as_json_and_a_lost_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_, "POLL_SECONDS", 0.2)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    jobs = [FakeJob("data/a", tmp_path), FakeJob("data/b", tmp_path, dies_once=True)]
    (tmp_path / "data").mkdir()
    with slurm_.slurm_cluster(tmp_path, Workers(options={"cluster": "local"})) as submit:
        good, lost = (future.result(120) for future in submit(jobs))
    assert good.metrics and good.error is None and good.planned.folder.name == "a"
    assert lost.may_succeed and "ended without a result; see " in lost.error
    ids = json.loads((tmp_path / ".slurm" / "jobs.json").read_text())
    assert set(ids) == {"data/a", "data/b"}
    assert json.loads((tmp_path / ".slurm" / "data_a.json").read_text())["error"] is None


def test_a_machine_that_does_not_see_the_folder_is_guessed_from_its_silence(tmp_path):
    paths = SimpleNamespace(stderr=tmp_path / "1_0_log.err")
    entry = SimpleNamespace(handle=SimpleNamespace(paths=paths))
    assert "give an --output that all share" in slurm_._see(entry)


def test_options_that_are_not_of_submitit_are_of_sbatch(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    options = {"partition": "gpu", "timeout_min": 90, "gpus_per_node": 1, "reservation": "mine"}
    executor = slurm_._executor(tmp_path, Workers(jobs=7, options=options))
    text = executor._make_submission_file_text("run", "uid")
    for line in ("partition=gpu", "time=90", "gpus-per-node=1", "reservation=mine"):
        assert f"#SBATCH --{line}\n" in text
    assert executor.parameters["array_parallelism"] == 7


def test_without_slurm_the_place_to_go_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UsageError, match=r"no SLURM here .*login node"):
        slurm_._executor(tmp_path, Workers())


def answer(code, stdout="", stderr=""):
    return lambda *_, **__: SimpleNamespace(returncode=code, stdout=stdout, stderr=stderr)


def test_queued_jobs_of_arrays_have_both_their_ids(monkeypatch):
    monkeypatch.setattr(subprocess, "run", answer(0, "17_0|17\n17_1|18\n20|20\n"))
    assert slurm_.queued() == {"17_0", "17", "17_1", "18", "20"}


def test_a_silent_slurm_is_an_error_and_not_an_empty_queue(monkeypatch):
    monkeypatch.setattr(subprocess, "run", answer(1, stderr="Unable to contact slurm controller"))
    with pytest.raises(ValueError, match="does not answer: Unable to contact"):
        slurm_.queued()
