"""Small tools for every room: files, progress bars, messages, devices, seeds, wording.

Nothing here knows the method. May import `errors` only; every other room may import it.
"""
