"""Differences to the full method."""

import pytest
from helpers.figures import lines
from helpers.made_results import (
    ELEVEN,
    SWEEPS,
    ablation,
    write_runs,
)

from open_clip_mmrl.report.figures.bars import change_bars
from open_clip_mmrl.report.load.arrange import arrange
from open_clip_mmrl.report.load.collect import collect


def test_variants_are_bars_from_the_whole_method(section_of, tmp_path):
    contents = [ablation("variant", v, n, 1) for v in SWEEPS["variant"] for n in ELEVEN]
    section = section_of(contents)
    (series,) = section.series
    (axes,) = change_bars(section, series, "a").figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == SWEEPS["variant"][:-1]
    heights = [bar.get_height() for bar in axes.containers[0]]
    scores = [section.average(series, ELEVEN, "base", p).mean for p in ("w/o L", "full")]
    assert heights[0] == pytest.approx(scores[0] - scores[1])
    printed = lines(axes)["published"][1]
    assert printed[0] == pytest.approx(80.08 - 81.2)
    lone = [ablation("variant", "w/o L", "dtd", 1)]
    (section,) = arrange(collect([write_runs(tmp_path / "lone", lone)]).runs)
    assert change_bars(section, section.series[0], "a") is None
