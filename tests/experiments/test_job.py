"""A run as a job: errors become outcomes, other machines are looked at first."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.jobs import planned

from open_clip_mmrl.experiments import job as job_
from open_clip_mmrl.experiments.job import Job, Origin, Outcome
from open_clip_mmrl.experiments.run_spec import Runtime


@pytest.fixture
def job(tmp_path):
    item = planned("data/run")
    item.run, item.reuse_from = None, ()
    return Job(item, tmp_path, Runtime())


@pytest.mark.parametrize(
    ("error", "may_succeed"),
    [(ValueError("bad"), False), (OSError("full"), True), (KeyError("x"), False)],
)
def test_what_lies_in_the_input_is_not_tried_again(job, monkeypatch, error, may_succeed):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(job_, "execute", fail)
    outcome = job()
    assert outcome.may_succeed is may_succeed and str(error) in outcome.error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "0.0.1"}, "the command 0.0.1: install the same version"),
        ({"probe": Path("elsewhere/.probe")}, "does not see elsewhere: .* all machines share"),
        ({"working_folder": "/nowhere"}, "cannot work in /nowhere"),
    ],
)
def test_a_machine_that_differs_is_named_before_the_run(
    job, tmp_path, monkeypatch, change, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job_, "execute", lambda *_, **__: pytest.fail("ran"))
    outcome = replace(job, origin=replace(Origin.below(tmp_path), **change))()
    assert re.search(message, outcome.error)
    assert not outcome.may_succeed


def test_outcomes_survive_json(job):
    outcome = Outcome(job.planned, 1.5, {"base": 2.0, "novel": None}, None, False)
    assert Outcome.from_json(job.planned, outcome.to_json()) == outcome
