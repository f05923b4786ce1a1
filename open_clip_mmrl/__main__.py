"""`open-clip-mmrl` and `python -m open_clip_mmrl`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also while it is starting."""
    try:
        from .cli.app import app

        app()
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
