"""Standard streams and the working folder as a command finds them: closed, in ASCII, gone."""

from __future__ import annotations

import io
import os
import sys


def prepare() -> None:
    """Let none of them end a command in its midst; call this first. No heavy import.

    The number of a stream that is closed would be given to the next file that is opened, and
    messages be written into that. A character that an output does not have becomes an escape.

    Raises:
        SystemExit: the working folder was removed; libraries fail in many ways without it.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(handle, True)  # worker processes take over what is open here
    os.close(handle)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not None, or put there by a program
            stream.reconfigure(errors="backslashreplace")
    try:
        os.getcwd()  # noqa: PTH109 (pathlib is not loaded yet)
    except OSError as error:
        sys.exit(f"error: the working folder is gone ({error.strerror}): cd to another one.")
