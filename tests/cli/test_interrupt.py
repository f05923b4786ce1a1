"""Ctrl-C and SIGTERM: one line on standard error, exit codes 130 and 143, no process left."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers.cli import run

from open_clip_mmrl.training.trainer import Trainer

TRAIN = ["train", "--data", "digits", "--shots", "2", "--epochs", "1", "--device", "cpu"]
# The command line in a process of its own, with Ctrl-C as soon as a module is imported.
START = """
import runpy, signal, sys

class Interrupt:
    def find_spec(self, name, *rest):
        if name == sys.argv[0]:
            signal.raise_signal(getattr(signal, number))

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
program, number, module, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = module
sys.meta_path.insert(0, Interrupt())
runpy.run_module(program, run_name="__main__")
"""


def test_ctrl_c_in_training_names_the_way_to_resume(tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_epoch", stop)
    code, text, result = run(*TRAIN, "--output", tmp_path)
    assert code == 130 and "Traceback" not in text
    line = "Stopped. The same command resumes from the last finished epoch."
    assert result.stderr.splitlines()[-1] == line


OURS, BENCHMARK = "open_clip_mmrl", "benchmark_adapters"
FEWSHOT = ["fewshot", "--dataset", "wds/a"]
RESUMES = "Stopped. The same command resumes from the last finished epoch.\n"


@pytest.mark.parametrize(
    ("program", "number", "module", "command", "code", "line"),
    [
        (OURS, "SIGINT", "typer", TRAIN, 130, RESUMES),
        (OURS, "SIGINT", "torch", TRAIN, 130, RESUMES),
        (OURS, "SIGTERM", "torch", TRAIN, 143, RESUMES),
        (BENCHMARK, "SIGTERM", "clip_benchmark", FEWSHOT, 143, RESUMES),
        (BENCHMARK, "SIGINT", "clip_benchmark", ["eval"], 130, "Stopped. Finished results are "),
    ],
)
def test_a_signal_while_modules_are_imported_is_one_line(
    tmp_path, program, number, module, command, code, line
):
    start = [sys.executable, "-c", START, program, number, module, *command]
    process = subprocess.run(
        [*start, "--output", tmp_path], capture_output=True, text=True, timeout=60
    )
    assert process.returncode == code, process.stderr
    assert process.stderr.startswith(line) and process.stderr.count("\n") == 1
    assert not process.stdout and not list(tmp_path.iterdir())


def processes(group):
    """Return the living processes of a group."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,pid=,stat="], capture_output=True, text=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    return [row[1] for row in rows if row[0] == str(group) and row[2][0] != "Z"]


@pytest.mark.parametrize(
    ("number", "code", "seconds"), [(signal.SIGINT, 130, 0), (signal.SIGTERM, 143, 0.4)]
)
def test_workers_that_are_starting_end_silently(tmp_path, number, code, seconds):
    """Ctrl-C reaches all processes of a terminal at once; SIGTERM only the one it is sent to."""
    command = ["run", "few-shot", "--datasets", "digits", "--jobs", "2", "--output", tmp_path]
    process = subprocess.Popen(
        [sys.executable, "-m", "open_clip_mmrl", *command],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while process.poll() is None and len(processes(process.pid)) < 3:
        time.sleep(0.02)
    time.sleep(seconds)
    start = time.monotonic()
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, text = process.communicate(timeout=30)
    assert process.returncode == code and text.splitlines()[-1:] == [RESUMES.strip()], text
    assert text.count("Stopped") == 1 and "Traceback" not in text
    while processes(process.pid):
        assert time.monotonic() - start < 3  # a second, on a machine that does nothing else
        time.sleep(0.02)
