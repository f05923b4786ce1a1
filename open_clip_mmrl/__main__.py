"""`open-clip-mmrl` and `python -m open_clip_mmrl`."""

import sys

from .utils import stop, streams, torchrun

RESUMED = {"train", "run", "demo"}
"""Commands that resume when they are given again."""


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also while it is starting.

    Of several processes of `torchrun` the first has the command line, and the others follow it.
    """
    streams.prepare()
    if torchrun.rank():
        from .cli.follow import follow_first

        return follow_first()
    stop.install(stop.RESUMES if RESUMED & set(sys.argv[1:2]) else stop.AGAIN)
    try:
        from .cli.app import app

        app()
    except SystemExit as end:
        if torchrun.process_count() > 1:
            from .cli.follow import end_others

            end_others(int(end.code or 0))
        raise
    finally:
        stop.end_if_stopped()


if __name__ == "__main__":
    main()
