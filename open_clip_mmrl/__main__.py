"""`python -m open_clip_mmrl`, the same as `open-clip-mmrl`."""

from .cli import main

if __name__ == "__main__":
    main()
