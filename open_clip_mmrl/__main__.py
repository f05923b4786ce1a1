"""`open-clip-mmrl` and `python -m open_clip_mmrl`."""

import sys

from .utils import stop, streams

RESUMED = {"train", "run", "demo"}
"""Commands that resume when they are given again."""


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also while it is starting."""
    streams.prepare()
    stop.install(stop.RESUMES if RESUMED & set(sys.argv[1:2]) else stop.AGAIN)
    try:
        from .cli.app import app

        app()
    finally:
        stop.end_if_stopped()


if __name__ == "__main__":
    main()
