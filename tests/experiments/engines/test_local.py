"""Processes of this machine: a share of it each, and one that dies takes only its run along."""

import multiprocessing

import pytest
from helpers.jobs import FakeJob

from open_clip_mmrl.experiments.engines import local
from open_clip_mmrl.experiments.engines.workers import Workers


def test_a_process_that_dies_takes_only_its_run_along(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "gpu_of", lambda number: str(number + 4))
    # Only the second is spawned, as all are outside of tests: that imports torch, 5 s.
    contexts = iter([multiprocessing.get_context(kind) for kind in ("fork", "spawn")])
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: next(contexts))
    jobs = [FakeJob("a", tmp_path, dies_once=True), FakeJob("b", tmp_path)]
    with local.processes(tmp_path, Workers()) as submit:
        lost, kept = (future.result(120) for future in submit(jobs))
    assert "process died" in lost.error and lost.may_succeed
    assert kept.error is None and (tmp_path / "b.gpu").read_text() == "4"


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0", "1", "2", "0"]), ("5,2,7", ["5", "2", "7", "5"])],
)
def test_gpus_are_dealt_out(monkeypatch, visible, expected):
    monkeypatch.setattr(local.torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [local.gpu_of(number) for number in range(4)] == expected


@pytest.mark.parametrize("count", [0, 1])
def test_one_gpu_or_none_is_left_as_it_is(monkeypatch, count):
    monkeypatch.setattr(local.torch.cuda, "device_count", lambda: count)
    assert local.gpu_of(0) is None
