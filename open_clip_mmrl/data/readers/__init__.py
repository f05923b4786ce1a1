"""One module per kind of source, each with a `read_...` function that returns an `ImageData`.

A new reader goes here; `data/load.py` lists it under its prefix. A reader only finds out which
images there are: pixels are read later, one example at a time. Only `data/load.py` imports readers;
they import `shards/`, `folders`, `dataset`, `example` and `prompts`.
"""
