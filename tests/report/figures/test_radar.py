"""Harmonic means in one circle."""

import pytest
from helpers.figures import labels, lines, overlapping
from helpers.made_results import (
    ELEVEN,
    base_to_novel,
    write_runs,
)

from open_clip_mmrl.report.figures.drawing import (
    style_context,
)
from open_clip_mmrl.report.figures.radar import radar
from open_clip_mmrl.report.load.arrange import arrange
from open_clip_mmrl.report.load.collect import collect

OWN = ["birds", "digits", "my_own_folder", "textures_of_home"]


def test_radar_of_fifteen_data_sets(section_of):
    section = section_of(
        base_to_novel(m, n, 1) for m in ("mmrl", "mmrl++") for n in [*ELEVEN, *OWN]
    )
    with style_context():
        figure = radar(section, "b2n").figure
    assert labels(figure) == [
        "frozen CLIP", "MMRL", "MMRL++", "MMRL, published", "MMRL++, rerun",
    ]  # fmt: skip
    found = lines(figure.axes[0])
    ours = section.score(section.series[1], "imagenet", "hm").mean
    assert len(found["MMRL"][1]) == 16 and found["MMRL"][1][0] == pytest.approx(ours)
    assert found["MMRL, published"][1][0] == 74.45
    assert overlapping(figure) == []


def test_radar_needs_three_data_sets_and_leaves_gaps(section_of, tmp_path):
    two = [base_to_novel("mmrl", name, 1) for name in ELEVEN[:2]]
    (section,) = arrange(collect([write_runs(tmp_path / "two", two)]).runs)
    assert radar(section, "b2n") is None
    contents = [base_to_novel("mmrl", n, 1) for n in ELEVEN[:5]]
    contents += [base_to_novel("mmrl++", n, 1) for n in ELEVEN[:3]]
    figure = radar(section_of(contents), "b2n").figure
    values = lines(figure.axes[0])["MMRL++"][1]
    assert [value == value for value in values] == [True, True, True, False, False, True]
