"""Small tools for every room: files, progress bars, messages, devices, seeds, wording.

Nothing here knows the method. May import `config` and `errors` only; every room may import it.
"""
