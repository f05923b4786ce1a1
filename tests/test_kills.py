"""Commands killed at random moments, and given again: the results are those without a kill.

MMRL_KILLS=30 for a long run of 12 minutes (100 take 40): that many kills of runs side by side, a
quarter as many of trainings, a tenth of every other command.
"""

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from helpers.made_results import base_to_novel, write_runs
from helpers.runs import go as train
from helpers.runs import make_run
from helpers.site import serve
from helpers.trees import write_tree

from benchmark_adapters.cli import main as benchmark
from open_clip_mmrl import TrainConfig
from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.cli.demo import run_demo
from open_clip_mmrl.data.shards.download import fetch_shard
from open_clip_mmrl.experiments.engines.workers import Workers
from open_clip_mmrl.experiments.experiment import Experiment
from open_clip_mmrl.experiments.protocols import plan
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.experiments.runner import run_all
from open_clip_mmrl.report import write_report
from open_clip_mmrl.training.checkpoint import CHECKPOINT
from open_clip_mmrl.training.record import LOG
from open_clip_mmrl.utils.folder_lock import LOCK, OWNER

KILLS = int(os.environ.get("MMRL_KILLS", 0))
SETTINGS = make_run(train=TrainConfig(epochs=12, batch_size=5))
MEASURED = (
    "seconds", "images_per_second", "train_seconds", "train_ms_per_image", "environment",
    "eval_images_per_second",
)  # fmt: skip


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


def unmeasured(values):
    return {key: value for key, value in values.items() if key not in MEASURED}


def content(folder):
    """All that a finished folder holds, without times and the files of its lock."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name, data = str(path.relative_to(folder)), path.read_bytes()
        if path.name in (LOCK, OWNER):
            continue  # one that was killed just after the last run leaves its name
        if path.suffix == ".json":
            found[name] = unmeasured(json.loads(data))
        elif path.suffix == ".jsonl":
            found[name] = [unmeasured(json.loads(line)) for line in data.splitlines()]
        else:
            found[name] = re.sub(rb"Made [0-9-]{10} [0-9:]{5}", b"", data)
    return found


def kill_and_resume(target, expected, folder, kills, seconds, seed):
    """Kill a command a few times in one folder, let it end, compare; again until it is enough.

    `seconds` is about how long it takes; it comes nearer with every kill, and every one too late.
    """
    draw, done, rounds = random.Random(seed), 0, 0
    while done < kills:
        output, rounds = folder / str(rounds), rounds + 1
        for _ in range(min(4, kills - done)):
            if not killed(in_process(target, output), draw.uniform(0, seconds)):
                seconds *= 0.8
                break
            done, seconds = done + 1, seconds * 1.05
        assert not killed(in_process(target, output), 300)
        assert content(output) == expected
        print(f"{done} kills in {rounds} folders, no difference", flush=True)


def train_quietly(folder):
    train(folder, train=SETTINGS.train)


def test_a_killed_training_resumes_and_ends_the_same(tmp_path):
    start = time.monotonic()
    train_quietly(tmp_path / "whole")
    seconds = time.monotonic() - start
    expected = content(tmp_path / "whole")
    kill_and_resume(train_quietly, expected, tmp_path, KILLS // 4 or 4, seconds, seed=1)


@pytest.mark.skipif(not KILLS, reason="processes that import torch, five times")
def test_torchrun_ends_with_a_killed_process_and_resumes_with_more(tmp_path):
    def torchrun(count, folder):
        words = f"--nproc_per_node {count} -m open_clip_mmrl train --data digits --shots 2 --quiet"
        words += f" --no-flip --no-probe --epochs 30 --output {tmp_path / folder}"
        start = [sys.executable, "-m", "torch.distributed.run", *words.split()]
        return subprocess.Popen(start, stderr=subprocess.PIPE, text=True)

    process = torchrun(2, "killed")
    while not (tmp_path / "killed" / CHECKPOINT).is_file():
        time.sleep(0.05)
    os.kill(random.Random(1).choice(sorted(children(process.pid))), signal.SIGKILL)
    start = time.monotonic()
    _, text = process.communicate(timeout=60)
    print(f"ended after {time.monotonic() - start:.1f} s")
    assert process.returncode
    assert re.search("(another process of this training has ended|Stopped).*resumes from", text)
    for process in (torchrun(3, "killed"), torchrun(1, "whole")):
        assert process.wait() == 0
    ours, theirs = (
        [json.loads(line)["loss"] for line in (tmp_path / name / LOG).read_text().splitlines()]
        for name in ("killed", "whole")
    )
    assert ours == pytest.approx(theirs, abs=1e-5)


def planned(root, protocol, **changes):
    overrides = {"epochs": 20, "batch_size": 16, "start_layer": 6, "rep_dim": 8}
    return plan(
        Experiment(
            protocol=protocol, model=MODEL_NAME, pretrained=None, datasets=["eurosat"],
            seeds=(1, 2), overrides=overrides, data_root=str(root),
            methods=["zeroshot", "mmrl"], **changes,
        )
    )  # fmt: skip


def run(items, folder, jobs=2):
    outcomes = run_all(items, folder, Runtime(device="cpu", quiet=True), Workers(jobs=jobs))
    assert not [outcome.error for outcome in outcomes if outcome.error]


def run_forked(items, folder):
    """Without workers that import torch again, 5 s each; MMRL_KILLS spawns them, as outside."""
    if not KILLS:
        fork = multiprocessing.get_context("fork")
        multiprocessing.get_context = lambda _: fork  # in a process that ends with this
    run(items, folder)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small data set in CoOp's layout."""
    root = tmp_path_factory.mktemp("root")
    write_tree(root, "eurosat")
    return root


@pytest.mark.parametrize("protocol", ["base-to-novel", *["few-shot"] * bool(KILLS)])
def test_side_by_side_killed_and_resumed_is_the_same_as_one_by_one(protocol, root, tmp_path):
    """kill -9 ends the workers too, or they would go on training during the next command."""
    items = planned(root, protocol, shots=(2,) if protocol == "base-to-novel" else (1, 2))
    start = time.monotonic()
    run(items, tmp_path / "whole", jobs=1)
    seconds, expected = time.monotonic() - start, content(tmp_path / "whole")
    target, kills = partial(run_forked, items), KILLS // 2 or 1
    kill_and_resume(target, expected, tmp_path, kills, 12 if KILLS else seconds, seed=2)


QUICK = ("export", "download", "report")
OTHERS = (*QUICK, "demo", "fewshot") if KILLS else QUICK


@pytest.fixture(scope="module")
def commands(root, tmp_path_factory):
    """Commands that write, each as a function of its output folder, by name."""
    folder = tmp_path_factory.mktemp("commands")
    write_runs(folder / "runs", [base_to_novel("mmrl", "dtd", seed) for seed in (1, 2)])

    def export(output, data="coop:eurosat"):
        if not (output / "set").exists():  # it had finished before it was killed
            words = ["export", "--quiet", "--data", data, "--data-root", root, "--output"]
            assert benchmark([*map(str, words), str(output / "set")]) == 0

    def fewshot(output):
        words = ["fewshot", "--quiet", "--dataset", "wds/set", "--dataset_root", folder / "set"]
        words += ["--shots", "1", "--epochs", "20", "--num_workers", "0", "--output", output]
        assert benchmark([*map(str, words)]) == 0

    export(folder)
    with serve(folder / "set") as (address, _):
        yield {
            "export": export,
            "download": lambda output: fetch_shard(f"{address}/train/0.tar", folder=output),
            "report": lambda output: write_report([folder / "runs"], output),
            "demo": lambda output: run_demo(output, Runtime(device="cpu", quiet=True), (1,)),
            "fewshot": fewshot,
        }


@pytest.mark.parametrize("name", OTHERS)
def test_other_commands_killed_and_given_again_write_the_same(name, commands, tmp_path):
    start = time.monotonic()
    killed(in_process(commands[name], tmp_path / "whole"), 300)
    seconds, expected = time.monotonic() - start, content(tmp_path / "whole")
    assert expected
    kill_and_resume(commands[name], expected, tmp_path, KILLS // 10 or 2, seconds, seed=3)
