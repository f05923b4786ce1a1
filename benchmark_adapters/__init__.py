"""The seam into clip_benchmark: our model types, data sets and repairs, on its own command line.

`python -m benchmark_adapters eval ...` takes clip_benchmark's arguments unchanged. Those who call
clip_benchmark themselves do `import benchmark_adapters; benchmark_adapters.register()` first.
"""

from .seam import register, unregister

__all__ = ["register", "unregister"]
