"""Pictures, a module per kind; `drawing` is what they share.

Imports `load` and `tables`; matplotlib is imported when something is drawn.
"""
