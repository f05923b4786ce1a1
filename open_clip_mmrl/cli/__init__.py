"""The command line: one file per command; `common` holds what they share, `app` joins them.

A command imports what it needs when it is called, so that `--help` is quick: modules here import
only config, errors, typer and rich at their top. May import every other room of the package;
only `__main__` imports this one.
"""
