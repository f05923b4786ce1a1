"""Commands killed at random moments, and given again: the results are those without a kill.

MMRL_KILLS=200 for a long run: that many kills of each kind.
"""

import json
import multiprocessing
import os
import random
import subprocess
import time

import pytest
from helpers.runs import go as train
from helpers.runs import make_run
from helpers.trees import write_tree

from open_clip_mmrl import TrainConfig
from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.experiments.experiment import Experiment
from open_clip_mmrl.experiments.protocols import plan
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.experiments.runner import run_all
from open_clip_mmrl.utils.folder_lock import LOCK, OWNER

KILLS = int(os.environ.get("MMRL_KILLS", 0))
SETTINGS = make_run(train=TrainConfig(epochs=12, batch_size=5))
MEASURED = ("seconds", "images_per_second", "train_seconds", "train_ms_per_image")


def in_process(target, *args):
    process = multiprocessing.get_context("fork").Process(target=target, args=args)
    process.start()
    return process


def children(pid):
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {int(row[0]) for row in rows if row[1] == str(pid) and row[2][0] != "Z"}


def running(pids):
    listed = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {int(row[0]) for row in rows if row[1][0] != "Z"} & set(pids)


def killed(process, seconds):
    """Kill a process after some seconds, unless it has ended; return whether it was killed."""
    process.join(seconds)
    was_alive, workers = process.is_alive(), children(process.pid)
    process.kill()
    process.join()
    if not was_alive:
        assert process.exitcode == 0
        return False
    end = time.monotonic() + 120  # one that is still importing torch ends after that
    while (left := running(workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left, "workers go on after their parent was killed"
    return True


def content(folder):
    """All that a finished folder holds, without times and the files of its lock."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        if path.name in (LOCK, OWNER):
            continue  # one that was killed just after the last run leaves its name
        if path.name == "results.json":
            values = json.loads(path.read_text())
            found[name] = {k: v for k, v in values.items() if k not in (*MEASURED, "environment")}
            del found[name]["eval_images_per_second"]
        elif path.name == "log.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{k: v for k, v in r.items() if k not in MEASURED} for r in rows]
        else:
            found[name] = path.read_bytes()
    return found


def kill_and_resume(target, expected, folder, kills, seconds, seed):
    """Kill a command a few times in one folder, let it end, compare; again until it is enough."""
    draw, done, rounds = random.Random(seed), 0, 0
    while done < kills:
        output, rounds = folder / str(rounds), rounds + 1
        for _ in range(min(4, kills - done)):
            if not killed(in_process(target, output), draw.uniform(0, seconds)):
                break
            done += 1
        begin, process = time.monotonic(), in_process(target, output)
        assert not killed(process, 300)
        seconds = max(seconds, time.monotonic() - begin)
        assert content(output) == expected
        print(f"{done} kills in {rounds} folders, no difference", flush=True)


def train_quietly(folder):
    train(folder, train=SETTINGS.train)


def test_a_killed_training_resumes_and_ends_the_same(tmp_path):
    start = time.monotonic()
    train_quietly(tmp_path / "whole")
    seconds = time.monotonic() - start
    kill_and_resume(
        train_quietly, content(tmp_path / "whole"), tmp_path, KILLS or 4, seconds, seed=1
    )


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """The frozen model and two trainings on a small data set."""
    root = tmp_path_factory.mktemp("root")
    write_tree(root, "eurosat")
    overrides = {"epochs": 20, "batch_size": 16, "start_layer": 6, "rep_dim": 8}
    return plan(
        Experiment(
            protocol="base-to-novel", model=MODEL_NAME, pretrained=None, datasets=["eurosat"],
            seeds=(1, 2), shots=(2,), overrides=overrides, data_root=str(root),
            methods=["zeroshot", "mmrl"],
        )
    )  # fmt: skip


def test_side_by_side_killed_and_resumed_is_the_same_as_one_by_one(items, tmp_path):
    """kill -9 ends the workers too, or they would go on training during the next command."""

    def run(folder, jobs=2):
        outcomes = run_all(items, folder, Runtime(device="cpu", quiet=True), jobs)
        assert not [outcome.error for outcome in outcomes if outcome.error]

    run(tmp_path / "whole", jobs=1)
    kill_and_resume(run, content(tmp_path / "whole"), tmp_path, KILLS or 1, 12, seed=2)
