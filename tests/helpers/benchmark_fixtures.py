"""Fixtures of the tests of the seam: `conftest.py` names this module in `pytest_plugins`."""

from pathlib import Path

import pytest

import benchmark_adapters
from helpers.shard_sets import DIGITS, single_label, write_adapter


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
