"""Fixtures of all tests; what they are built from lies in `helpers`."""

import gc
import json
import logging
import os
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

# Tiny tensors: a second thread only waits, and one thread sums in one order on every machine.
# Before numpy and torch are imported, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import open_clip
import pytest
import torch
from helpers.golden import golden
from helpers.tiny import BASE, kept_registries, shake, tiny_model_config
from open_clip import factory, pretrained, tokenizer
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from safetensors.torch import save_file

import open_clip_mmrl
from open_clip_mmrl.data import load
from open_clip_mmrl.utils.log import PACKAGES

torch.set_num_threads(1)
# Thousands of small models, among the many objects of imported packages: a tenth of the time went
# into looking for garbage.
gc.set_threshold(200_000, 20, 20)
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

pytest_plugins = ["helpers.benchmark_fixtures", "helpers.hub", "helpers.site"]

# What hundreds of tests would do again: to read CLIP's vocabulary (0.06 s), to score 500 digits.
_vocabulary, _read_vocabulary = vars(SimpleTokenizer()), SimpleTokenizer.__init__
_read_digits = load.read_digits


@cache
def _few_digits():
    digits = _read_digits()
    return replace(digits, val=digits.val[:120], test=digits.test[:120])


def _copy_vocabulary(self, *args, context_length=77, clean="lower", **kwargs):
    if args or kwargs:
        _read_vocabulary(self, *args, context_length=context_length, clean=clean, **kwargs)
        return
    vars(self).update(_vocabulary, cache={**_vocabulary["cache"]}, context_length=context_length)
    self.clean_fn = tokenizer.get_clean_fn(clean)


SimpleTokenizer.__init__ = _copy_vocabulary
load.read_digits = _few_digits


@pytest.fixture(params=["mmrl_small", "mmrlpp_small"])
def golden_case(request):
    return golden(request.param)


@pytest.fixture(autouse=True)
def _quiet_loggers():
    """Undo what `show_messages` of an earlier test did, so that `caplog` sees all messages."""
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


# A tiny base in open_clip's registry, for everything that goes through open_clip.create_model.


@pytest.fixture
def registries():
    """open_clip's registries of models and tags, put back afterwards."""
    with kept_registries():
        yield


@pytest.fixture
def base(registries, tmp_path) -> SimpleNamespace:
    """A registered base with weights: `name`, `tag`, `path` of its weights, and the `model`."""
    factory._MODEL_CONFIGS[BASE] = tiny_model_config()
    torch.manual_seed(0)
    model = shake(open_clip.create_model(BASE)).eval()
    path = tmp_path / "base" / "weights.safetensors"
    path.parent.mkdir()
    save_file(model.state_dict(), path)
    pretrained._PRETRAINED[BASE] = {"tiny": {"file": str(path)}}
    open_clip_mmrl.register()
    return SimpleNamespace(name=BASE, tag="tiny", path=path, model=model)


# Files for the readers of data sets.


@pytest.fixture
def write_image():
    """Write a small image of one color; the suffix decides the format. Returns the path."""

    def write(path, color=(200, 30, 60), size=(6, 4)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, color).save(path)
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
