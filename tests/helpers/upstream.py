"""Calls of clip_benchmark's own code, to see whether it is still broken as a repair says."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from clip_benchmark import cli


def mended(repair: str) -> str:
    """The message of a test that fails because a repair is no longer needed."""
    return (
        f"clip_benchmark has mended what repairs/{repair}.py is for: delete that file, its row in "
        "seam.py and this test"
    )


@contextmanager
def still_broken(
    repair: str, error: type[Exception] | tuple[type[Exception], ...], match: str
) -> Iterator[None]:
    """Around a call of clip_benchmark's own code that has to fail in the way the repair names."""
    try:
        yield
    except error as raised:
        message = str(raised)
    else:
        pytest.fail(mended(repair))
    assert re.search(match, message), f"another error: {message}"


def eval_args(**changes) -> argparse.Namespace:
    """Arguments of clip_benchmark's `run`, which is one model on one data set."""
    with mock.patch("sys.argv", ["clip_benchmark", "eval"]):
        _, args = cli.get_parser_args()
    one = {"model": "ViT-B-16", "pretrained": "openai", "dataset": "wds/x", "language": "en"}
    return argparse.Namespace(**{**vars(args), **one, **changes})
