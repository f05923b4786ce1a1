"""Standard streams that are closed or in ASCII, and a working folder that is gone."""

import os
import subprocess
import sys

import pytest

START = "from open_clip_mmrl.utils.streams import prepare; prepare(); import os, sys; "


def run(code, closed=(), **options):
    def close():
        for number in closed:
            os.close(number)

    return subprocess.run(
        [sys.executable, "-c", START + code], preexec_fn=close, capture_output=True, **options
    )


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2)])
def test_a_file_never_takes_the_place_of_a_closed_stream(tmp_path, closed):
    code = f"f = open({str(tmp_path / 'a')!r}, 'w'); os.write(2, b'Stopped.'); sys.exit(f.fileno())"
    assert run(code, closed).returncode > 2
    assert (tmp_path / "a").read_bytes() == b""


def test_characters_that_an_output_does_not_have_are_escapes():
    found = run("print('caf\xe9 \u2212')", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (found.stdout, found.returncode) == (b"caf\\xe9 \\u2212\n", 0)


def test_a_working_folder_that_is_gone_is_one_line(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    leave = (
        f"import os, sys; sys.path = {sys.path!r}; os.chdir({str(gone)!r}); os.rmdir(os.getcwd())"
    )
    found = subprocess.run([sys.executable, "-c", f"{leave}; {START}"], capture_output=True)
    assert found.returncode == 1 and found.stderr.count(b"\n") == 1
    assert b"the working folder is gone" in found.stderr
