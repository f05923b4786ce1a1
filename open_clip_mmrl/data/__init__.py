"""Data sets by one string, the data spec: labeled images in splits, class names, a prompt.

`digits`, `scrawl`, `folder:PATH`, `coop:NAME`, `wds:PATH_OR_URL`, `clip_benchmark:NAME`.

`load` holds the table of readers. A new kind of source is one module in `readers/` with a function
that returns an `ImageData`, and one line in that table; a data set of the paper in the CoOp layout
is an entry of `coop/catalog.py`. `loading/` turns examples into batches. Models are not known here;
evaluation, training and all that follows may import this folder.
"""

from .dataset import SPLITS, Classes, ImageData
from .example import Example, read_image
from .load import load_data
from .prompts import DEFAULT_TEMPLATE, parse_template, prompts
from .readers.image_folder import FolderOptions, Trained

__all__ = [
    "DEFAULT_TEMPLATE",
    "SPLITS",
    "Classes",
    "Example",
    "FolderOptions",
    "ImageData",
    "Trained",
    "load_data",
    "parse_template",
    "prompts",
    "read_image",
]
