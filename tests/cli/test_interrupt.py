"""Ctrl-C: one line on standard error, exit code 130, no traceback."""

import subprocess
import sys

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
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
module, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = module
sys.meta_path.insert(0, Interrupt())
runpy.run_module("open_clip_mmrl", run_name="__main__")
"""


def test_ctrl_c_in_training_names_the_way_to_resume(tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_epoch", stop)
    code, text, result = run(*TRAIN, "--output", tmp_path)
    assert code == 130 and "Traceback" not in text
    line = "Stopped. The same command resumes from the last finished epoch."
    assert result.stderr.splitlines()[-1] == line


@pytest.mark.parametrize("module", ["typer", "torch"])
def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path, module):
    command = [sys.executable, "-c", START, module, *TRAIN, "--output", tmp_path]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert process.returncode == 130, process.stderr
    assert process.stderr.startswith("Stopped.") and process.stderr.count("\n") == 1
    assert not process.stdout and not list(tmp_path.iterdir())
