"""What is said to the user beside clip_benchmark's own output: on standard error, in one line."""

from __future__ import annotations

import sys


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
