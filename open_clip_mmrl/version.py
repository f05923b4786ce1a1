"""The version of this package; a file of its own, since every room may read it."""

__version__ = "0.1.0"
