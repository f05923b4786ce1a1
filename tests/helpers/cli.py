"""A command of the shell, run in this process."""

from __future__ import annotations

import re

from typer.testing import CliRunner

from open_clip_mmrl.cli.app import app


def run(*args):
    result = CliRunner().invoke(app, [str(a) for a in args])
    text = re.sub(r"\x1b\[[0-9;]*m", "", result.output)
    return result.exit_code, " ".join(text.split()), result
