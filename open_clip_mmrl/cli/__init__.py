"""The command line: one file per command, `app` puts them together.

Commands import what they need when they are called, so that `--help` is quick. May import every
other room; nothing imports this one.
"""
