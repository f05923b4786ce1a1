"""What lies in the folders tells how far the runs are, also while they run elsewhere."""

import json

import pytest

from open_clip_mmrl.experiments.status import seconds_left, statuses
from open_clip_mmrl.utils.folder_lock import lock_folder


def write(folder, log=0, **files):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"train": {"epochs": 4}}))
    rows = [
        {"epoch": n, "loss": 3.0 - n, "images_per_second": 50.0, "seconds": 2.0 * (n + 1)}
        for n in range(log)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def runs(tmp_path):
    write(tmp_path / "a" / "done", results={})
    write(tmp_path / "a" / "failed", failed={"error": "no space"})
    write(tmp_path / "a" / "stopped", log=1)
    write(tmp_path / "a" / "works", log=2)
    (tmp_path / "plan.json").write_text(json.dumps({"folders": ["a/done", "a/later"]}))
    return tmp_path


def test_every_state_is_told_from_the_files(runs):
    with lock_folder(runs / "a" / "works"):
        found = {run.folder: run for run in statuses(runs)}
        assert statuses(runs)[-1].state == "running"  # looking has taken no lock
    states = {name: run.state for name, run in found.items()}
    assert states == {
        "a/done": "finished", "a/failed": "failed", "a/later": "waiting",
        "a/stopped": "stopped", "a/works": "running",
    }  # fmt: skip
    works = found["a/works"]
    assert works.epochs == (2, 4) and works.loss == 2.0 and works.seconds_left == 4.0
    assert "process" in works.note and found["a/failed"].note == "no space"
    assert {run.folder: run.state for run in statuses(runs)}["a/works"] == "stopped"


def test_the_time_left_is_the_pace_of_the_finished_ones(runs):
    assert seconds_left(statuses(runs), runs) is None
    write(runs / "a" / "second", results={})
    assert seconds_left(statuses(runs), runs) >= 0


def test_half_written_files_are_no_error(runs):
    with (runs / "a" / "works" / "log.jsonl").open("a") as log:
        log.write('{"epoch": 2, "lo')
    (runs / "plan.json").write_text('{"fold')
    assert len(statuses(runs)) == 4


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_without_runs_is_named(tmp_path, make):
    folder = tmp_path / "empty"
    if make:
        folder.mkdir()
    with pytest.raises(ValueError, match=r"empty .*give (one|a folder) that `run`"):
        statuses(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plan.json", '{"folders": 3}'),
        ("plan.json", '{"folders": ["../../out", null]}'),
        ("plan.json", '{"folders": ["../../out", "/out"]}'),
        ("a/works/log.jsonl", "[1]"),
        ("a/works/log.jsonl", "[" * 10**5),
        ("a/works/log.jsonl", '{"seconds": "x", "loss": [1], "images_per_second": 1e999}'),
        ("a/works/run.json", '{"train": {"epochs": 1' + "0" * 400 + "}}"),
    ],
)
def test_damaged_files_tell_nothing(runs, name, content):
    (runs / name).write_text(content)
    found = {run.folder: run for run in statuses(runs)}
    assert found["a/works"].state == "stopped" and len(found) in (4, 5)
    assert name == "plan.json" or found["a/works"].loss is None
