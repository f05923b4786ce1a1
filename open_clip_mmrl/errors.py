"""The one distinction the command line makes between errors."""


class UsageError(ValueError):
    """What was asked for does not exist or does not fit together: exit code 2, not 1."""
