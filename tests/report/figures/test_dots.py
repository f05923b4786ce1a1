"""Differences to published results."""

import pytest
from helpers.figures import lines
from helpers.made_results import (
    ELEVEN,
    SEEDS,
    base_to_novel,
    transfer,
    write_runs,
)

from open_clip_mmrl.report.figures.dots import difference_dots
from open_clip_mmrl.report.load.arrange import arrange
from open_clip_mmrl.report.load.collect import collect


def test_differences_only_where_runs_compare(section_of, tmp_path):
    contents = [base_to_novel("mmrl", name, seed) for name in ELEVEN[:3] for seed in SEEDS]
    section = section_of(contents)
    (axes,) = difference_dots(section, "b2n").figure.axes
    x, _ = lines(axes)["MMRL \N{MINUS SIGN} published"]
    ours = section.score(section.series[1], "imagenet", "hm").mean
    assert x[1] == pytest.approx(ours - 74.45)
    assert [t.get_text() for t in axes.get_yticklabels()][:2] == ["average over 3", "ImageNet"]
    other = [base_to_novel("mmrl", n, 1, model="mmrl-ViT-L-14") for n in ELEVEN[:3]]
    (section,) = arrange(collect([write_runs(tmp_path / "other", other)]).runs)
    assert difference_dots(section, "b2n") is None


def test_differences_of_transfer(section_of):
    figure = difference_dots(section_of([transfer("mmrl", "cross-dataset", 1)]), "x").figure
    assert len(figure.axes[0].get_yticklabels()) == 11
