"""`python -m open_clip_mmrl`, the same as `open-clip-mmrl`."""

from .cli.app import main

if __name__ == "__main__":
    main()
