"""Data sets by one string, the SPEC.

`digits`, `scrawl`, `folder:PATH`, `coop:NAME`, `wds:PATH_OR_URL`, `clip_benchmark:NAME`.

`load_data` hands what follows the colon to the reader of that prefix. A new kind of source is a
function that returns an `ImageData`, and a line in `_READERS`.
"""

from .dataset import Classes, Example, ImageData, read_image
from .load import load_data
from .prompts import DEFAULT_TEMPLATE, parse_template, prompts

__all__ = [
    "DEFAULT_TEMPLATE",
    "Classes",
    "Example",
    "ImageData",
    "load_data",
    "parse_template",
    "prompts",
    "read_image",
]
