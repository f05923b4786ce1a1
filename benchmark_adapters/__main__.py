"""`python -m benchmark_adapters`, the same as `clip-benchmark-mmrl`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
