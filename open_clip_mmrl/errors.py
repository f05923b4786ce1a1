"""The errors that are told from others."""


class UsageError(ValueError):
    """A name, option or value that does not exist or does not fit: exit code 2 instead of 1."""


class DivergedError(ValueError):
    """A training whose loss or parameters became infinite or NaN."""
