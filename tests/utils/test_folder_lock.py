"""A lock on a folder: who holds it is named, and nobody holds it after its end."""

import errno
import multiprocessing
import os
import socket
import threading

import pytest
from filelock import FileLock

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.utils import folder_lock
from open_clip_mmrl.utils.folder_lock import lock_folder


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(folder_lock, "_SECONDS", 0)


def hold(folder, held, end):
    with lock_folder(folder):
        held.set()
        end.wait(60)


def test_another_process_is_named_by_id_and_host_and_its_end_frees_the_folder(tmp_path):
    fork = multiprocessing.get_context("fork")
    held = fork.Event()
    process = fork.Process(target=hold, args=(tmp_path, held, fork.Event()))
    process.start()
    assert held.wait(60)
    name = f"process {process.pid} on {socket.gethostname()} works in {tmp_path}"
    with pytest.raises(UsageError, match=f"{name}: wait .*another folder"), lock_folder(tmp_path):
        pass
    process.kill()
    process.join()
    with lock_folder(tmp_path):
        assert (tmp_path / ".lock-owner").read_text().startswith(f"process {os.getpid()} on ")
    assert not (tmp_path / ".lock-owner").exists()


def test_threads_exclude_each_other_too(tmp_path):
    held, end = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold, args=(tmp_path, held, end))
    thread.start()
    held.wait(60)
    with pytest.raises(UsageError, match=f"process {os.getpid()} "), lock_folder(tmp_path):
        pass
    end.set()
    thread.join()
    with lock_folder(tmp_path):
        pass


def test_a_failure_frees_the_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), lock_folder(tmp_path / "new"):
        raise ZeroDivisionError
    with lock_folder(tmp_path / "new"):
        pass


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "no locks")])
def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, caplog, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(FileLock, "acquire", fail)
    with lock_folder(tmp_path):
        assert "without locks" in caplog.text and str(tmp_path) in caplog.text


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "run"
    with pytest.raises(OSError, match=f"cannot write {folder}: Not a dir"), lock_folder(folder):
        pass
