"""Fixtures of the tests of the seam: `conftest.py` names this module in `pytest_plugins`."""

from pathlib import Path

import open_clip
import pytest

import benchmark_adapters
from helpers.shard_sets import DIGITS, OURS, single_label, write_adapter
from open_clip_mmrl.assets import MODEL_NAME, TAG


@pytest.fixture
def registered():
    benchmark_adapters.register()
    yield
    benchmark_adapters.unregister()


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Path:
    return single_label(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def adapter(tmp_path_factory) -> Path:
    """An adapter that has seen all ten digits."""
    return write_adapter(tmp_path_factory.mktemp("all") / "adapter.safetensors")


@pytest.fixture(scope="session")
def half_adapter(tmp_path_factory) -> Path:
    """An adapter that has seen zero to four."""
    return write_adapter(tmp_path_factory.mktemp("half") / "adapter.safetensors", DIGITS[:5])


@pytest.fixture(scope="session")
def clip_tokenizer():
    return open_clip.get_tokenizer(MODEL_NAME)


@pytest.fixture(scope="session")
def stock_clip():
    return open_clip.create_model(MODEL_NAME, TAG).eval()


@pytest.fixture(scope="session", params=["stock", "class", "fused", "frozen"])
def clip_model(request, stock_clip, adapter):
    """The stock model, and ours with every kind of features."""
    if request.param == "stock":
        return stock_clip
    model = open_clip.create_model(OURS, str(adapter)).eval()
    model.features = request.param
    return model
