"""Data sets in tar files, in the webdataset layout of clip_benchmark: `index` and `download`.

`index` finds the images in local shards without decoding them; `download` fetches what is at an
http(s) address. The reader `readers/wds.py` and the benchmark's repairs import them.
"""
