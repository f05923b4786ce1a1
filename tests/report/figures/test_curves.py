"""Accuracy over shots and settings."""

import pytest
from helpers.figures import lines, overlapping
from helpers.made_results import (
    ELEVEN,
    SWEEPS,
    ablation,
    few_shot,
)

from open_clip_mmrl.report.figures.curves import few_shot_curves, sweep_curves, sweep_each
from open_clip_mmrl.report.figures.drawing import (
    disable_mathtext,
    image_bytes,
    style_context,
)
from open_clip_mmrl.report.load.published import published


def test_few_shot_has_a_panel_per_data_set(section_of):
    contents = [
        few_shot(method, name, shots, seed)
        for method in ("linear_probe", "mmrl", "mmrl++")
        for name in ("dtd", "digits")
        for shots in (1, 2, 4)
        for seed in (1, 2)
    ]
    section = section_of(contents)
    figure = few_shot_curves(section, "few-shot").figure
    assert [axes.get_title() for axes in figure.axes] == ["DTD", "digits"]
    dtd, digits = map(lines, figure.axes)
    assert dtd["MMRL, published"][1] == [56.37, 61.37, 67.87]
    assert "MMRL, published" not in digits and {"MMRL", "MMRL++", "frozen CLIP"} <= digits.keys()
    series = next(s for s in section.series if s.method == "mmrl")
    assert dtd["MMRL"][1][2] == pytest.approx(section.score(series, "dtd", "accuracy", "4").mean)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1", "2", "4"]


def test_one_number_of_shots_is_no_curve(section_of):
    assert few_shot_curves(section_of([few_shot("mmrl", "dtd", 4, 1)]), "few-shot") is None


def test_sweeps_are_curves(section_of):
    contents = [ablation("reg_weight", v, n, 1) for v in SWEEPS["reg_weight"] for n in ELEVEN[:3]]
    section = section_of(contents)
    (series,) = section.series
    with style_context():
        averages = sweep_curves(section, series, "a").figure
        each = sweep_each(section, series, "a").figure
    assert [axes.get_title() for axes in averages.axes] == ["base", "novel", "HM"]
    expected = [section.average(series, ELEVEN[:3], "hm", p).mean for p in section.points]
    assert lines(averages.axes[2])["MMRL"][1] == pytest.approx(expected)
    assert "MMRL, published" not in lines(averages.axes[2])  # the published average is over eleven
    printed = [published().value("reg_weight", "mmrl", "imagenet", "hm", p) for p in section.points]
    assert lines(each.axes[0])["MMRL, published"][1] == printed
    assert overlapping(averages) == [] and overlapping(each) == []


def test_sweep_over_the_eleven_has_the_published_curve(section_of):
    contents = [ablation("rep_dim", v, n, 1) for v in SWEEPS["rep_dim"] for n in ELEVEN]
    section = section_of(contents)
    figure = sweep_curves(section, section.series[0], "a").figure
    assert lines(figure.axes[2])["MMRL, published"][1] == [80.84, 80.85, 81.0, 81.2, 81.04, 81.0]


def test_a_dollar_in_a_name_is_no_formula(section_of):
    contents = [few_shot("mmrl", "costs_$5$_and_\\frac", shots, 1) for shots in (1, 2)]
    figure = disable_mathtext(few_shot_curves(section_of(contents), "few-shot").figure)
    assert image_bytes(figure, "png")
