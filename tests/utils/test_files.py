"""Files are written whole or not at all."""

import math
import stat
import subprocess
import sys

import pytest

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.utils import files
from open_clip_mmrl.utils.files import (
    json_bytes,
    read_bounded,
    read_json,
    remove_leftovers,
    temporary,
    write_atomically,
)


def test_a_file_is_replaced_and_others_may_read_it(tmp_path):
    path = tmp_path / "new" / "results.json"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second" and [*path.parent.iterdir()] == [path]
    assert stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444


def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_atomically(path, b"first")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*results\.json: No space left"):
        write_atomically(path, b"second")
    assert path.read_bytes() == b"first" and [*tmp_path.iterdir()] == [path]


def test_a_file_needs_a_name():
    with pytest.raises(UsageError, match="no name of a file"):
        write_atomically("", b"")


def test_json_refuses_what_it_cannot_hold():
    assert json_bytes({"a": 1.5}) == b'{\n  "a": 1.5\n}\n'
    with pytest.raises(ValueError, match="nan"):
        json_bytes({"a": math.nan})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b'{"a": [1, 2', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b'{"seed": 1, "train": {"lr": 1, "lr": 2}}', "not JSON .the key 'lr' is there twice"),
        (b"[" * 100_000, "nested deeper than"),
        (b"[" * 200 + b"]" * 200, "nested deeper than"),
    ],
)
def test_json_that_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.json: {message}"):
        read_json(path)


def test_no_more_is_read_than_allowed(tmp_path):
    (tmp_path / "x").write_bytes(b"123")
    assert read_bounded(tmp_path / "x", 3) == b"123"
    with pytest.raises(OSError, match="more than 2 bytes"):
        read_bounded(tmp_path / "x", 2)


def test_a_folder_in_place_of_json_is_named(tmp_path):
    with pytest.raises(OSError, match=f"cannot read {tmp_path}"):
        read_json(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from open_clip_mmrl.utils.files import temporary

path = Path(sys.argv[1])
with temporary(path), temporary(path.with_name("set"), folder=True) as (_, folder):
    (folder / "0.tar").touch()
    print("ready", flush=True)
    sys.stdin.read(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_but_not_what_a_living_one_writes(tmp_path):
    path, others = tmp_path / "checkpoint.pt", [".checkpoint.pt.user-file", ".other.pt.abcd1234"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".checkpoint.pt.abcd1234").touch()  # of a version that did not lock them
    command = [sys.executable, "-c", KILLED, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"ready\n"
        write_atomically(path, b"x")
        remove_leftovers(tmp_path / "set")
        alive = [entry.name for entry in tmp_path.iterdir() if entry.name not in others]
        assert len(alive) == 3 and ".checkpoint.pt.abcd1234" not in alive
        writer.stdin.write(b"x")
    write_atomically(path, b"y")
    remove_leftovers(tmp_path / "set")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([*others, path.name])


def test_a_temporary_file_ends_with_the_block(tmp_path):
    with temporary(tmp_path / "a") as (_, name):
        assert name.parent == tmp_path and name.is_file()
    assert not list(tmp_path.iterdir())
