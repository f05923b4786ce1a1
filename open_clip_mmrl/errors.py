"""The one kind of error that the command line distinguishes."""


class UsageError(ValueError):
    """A name, option or value that does not exist or does not fit: exit code 2 instead of 1."""
