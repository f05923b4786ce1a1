"""Tables as data, a module per protocol.

`builder` makes cells and footnotes; `comparison` decides which published results are shown and
subtracted. Imports `load` only.
"""
