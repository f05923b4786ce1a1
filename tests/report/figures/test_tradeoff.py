"""Base against novel accuracy over alpha."""

from statistics import mean

import pytest
from helpers.figures import lines
from helpers.made_results import SEEDS, base_to_novel

from open_clip_mmrl.report.figures.tradeoff import LABELED, alpha_curve, alpha_paths


def test_alphas_are_not_written_over_each_other(section_of):
    steps = [(a / 10, min(a, 5)) for a in range(11)]
    curve = [{"alpha": alpha, "base": 60 + x, "novel": 50 + x} for alpha, x in steps]
    section = section_of([base_to_novel("mmrl", "digits", 1, alpha_curve=curve)])
    (axes,) = alpha_paths(section, "b2n").figure.axes
    assert {text.get_text() for text in axes.texts} == {"0", "1"}  # 0.5 and 0.7 lie at 1


def test_alpha_runs_from_0_to_1(section_of):
    content = base_to_novel("mmrl", "dtd", 1)
    (axes,) = alpha_paths(section_of([content]), "b2n").figure.axes
    x, y = lines(axes)["MMRL"]
    assert x == [point["base"] for point in content["alpha_curve"]]
    assert y == [point["novel"] for point in content["alpha_curve"]]
    assert sorted(text.get_text() for text in axes.texts) == sorted(f"{a:g}" for a in LABELED)


def test_no_picture_without_alpha_curve(section_of):
    assert alpha_paths(section_of([base_to_novel("linear_probe", "dtd", 1)]), "b2n") is None


def test_alpha_curve_is_a_mean_over_seeds(section_of):
    contents = [base_to_novel("mmrl", "dtd", seed) for seed in SEEDS]
    section = section_of(contents)
    curve = alpha_curve(section, section.series[1], ["dtd"])
    assert [point.alpha for point in curve] == pytest.approx([i / 10 for i in range(11)])
    novel = mean(content["alpha_curve"][10]["novel"] for content in contents)
    assert curve[10].scores["novel"] == pytest.approx(novel)
    assert alpha_curve(section, section.series[1], ["dtd", "eurosat"]) == []
