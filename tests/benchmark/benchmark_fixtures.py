"""What the tests of the seam share, given by `pytest_plugins = ["benchmark_fixtures"]`.

Not a conftest.py: it would take the place of tests/conftest.py, which tests import by that name.
"""

from pathlib import Path

import pytest
from shard_sets import DIGITS, single_label, write_adapter

import benchmark_adapters


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
