"""What is broken in clip_benchmark, one file for each thing, with its replacement.

A file's docstring says what is broken, since which version, and how to see it. `seam.py` puts the
replacements in place, and `commands` may use them; nothing here imports either.
"""
