"""Scores and averages of a section; how runs are sorted into sections."""

from statistics import mean, stdev

import pytest
from helpers.made_results import (
    SEEDS,
    base_to_novel,
    transfer,
)

from open_clip_mmrl.report.load.run import FROZEN


def split_of(contents, split):
    return [content["metrics"][split] for content in contents]


def test_scores_are_means_over_seeds_and_hm_is_that_of_the_means(sections_of):
    contents = [base_to_novel("mmrl", "dtd", seed) for seed in SEEDS]
    (section,) = sections_of(contents)
    frozen, mmrl = section.series
    assert frozen == FROZEN and section.label(mmrl) == "MMRL"
    base, novel = (section.score(mmrl, "dtd", split) for split in ("base", "novel"))
    assert base.mean == pytest.approx(mean(split_of(contents, "base")))
    assert base.std == pytest.approx(stdev(split_of(contents, "base"))) and base.seeds == 3
    hm = section.score(mmrl, "dtd", "hm")
    assert hm.mean == pytest.approx(2 * base.mean * novel.mean / (base.mean + novel.mean))
    assert hm.std == pytest.approx(stdev(split_of(contents, "hm")), abs=1e-3)
    assert section.score(frozen, "dtd", "base").std is None
    assert section.score(mmrl, "eurosat", "base") is None


def test_averages_need_all_data_sets_and_scatter_as_seeds_do(sections_of):
    contents = {
        (name, seed): base_to_novel("mmrl", name, seed)
        for name in ("dtd", "ucf101")
        for seed in SEEDS
        if (name, seed) != ("dtd", 3)
    }
    (section,) = sections_of(contents.values())
    series = section.series[1]
    score = section.average(series, ["dtd", "ucf101"], "base")
    means = [
        mean(c["metrics"]["base"] for k, c in contents.items() if k[0] == n)
        for n in ("dtd", "ucf101")
    ]
    assert score.mean == pytest.approx(mean(means)) and score.seeds == 2
    both = [mean(contents[n, s]["metrics"]["base"] for n in ("dtd", "ucf101")) for s in (1, 2)]
    assert score.std == pytest.approx(stdev(both))
    assert section.average(series, ["dtd", "eurosat"], "base") is None


def test_settings_of_two_sources_are_two_series(sections_of):
    contents = [base_to_novel("mmrl", "dtd", 1, settings_source=s) for s in ("paper", "fixed")]
    (section,) = sections_of(contents)
    labels = [section.label(series) for series in section.series]
    assert labels == ["frozen CLIP", "MMRL (paper)", "MMRL (fixed)"]


def test_sources_that_differ_are_sections_of_their_own(sections_of):
    targets = {"dtd": {"accuracy": 45.0, "zero_shot": 44.0}}
    contents = [
        transfer("mmrl", "cross-dataset", 1, dataset=source, targets=targets)
        for source in ("digits", "imagenet")
    ]
    assert [section.setup.source for section in sections_of(contents)] == ["digits", "imagenet"]
