"""The CoOp layout: the paper's fifteen data sets, and any folder with a CoOp split file.

`catalog` lists the data sets, `read` is the reader of `coop:NAME`, `check` reports what is on disk.
A new data set is an entry of the catalog; if it has no published split file, its original
annotations get a function in `annotations`. `experiments` and `cli` import `catalog` and `check`.
"""
