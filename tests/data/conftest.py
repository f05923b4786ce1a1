import json

import pytest
from PIL import Image


@pytest.fixture
def write_image():
    """Write a small image of one colour; the suffix decides the format. Returns the path."""

    def write(path, colour=(200, 30, 60), size=(6, 4)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)
        return path

    return write


@pytest.fixture
def write_split(write_image):
    """Write a split file and the images it lists below `images`. Returns the split file."""

    def write(split_file, images, content):
        split_file.parent.mkdir(parents=True, exist_ok=True)
        split_file.write_text(json.dumps(content), encoding="utf-8")
        for rows in content.values():
            for path, _, _ in rows:
                write_image(images / path)
        return split_file

    return write
