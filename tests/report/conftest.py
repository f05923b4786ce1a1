"""Sections of made-up runs."""

import pytest
from helpers.made_results import write_runs

from open_clip_mmrl.report.load.arrange import arrange
from open_clip_mmrl.report.load.collect import collect


@pytest.fixture
def sections_of(tmp_path):
    return lambda contents: arrange(collect([write_runs(tmp_path, contents)]).runs)


@pytest.fixture
def section_of(tmp_path):
    def build(contents):
        (section,) = arrange(collect([write_runs(tmp_path, contents)]).runs)
        return section

    return build
