"""Models under their open_clip names, and adapter files.

`registry` is the one seam into open_clip; `load` builds a model with its tokenizer;
`adapter_file` reads and writes adapters, `adapter_info` is their header. May be imported
by every room above `models` and `data`; imports these two.
"""
