"""Paired differences and their intervals."""

from statistics import mean, stdev

import pytest
from helpers.made_results import SEEDS, base_to_novel, few_shot
from scipy.stats import t

from open_clip_mmrl.report.tables.paired import interval, paired_tables
from open_clip_mmrl.utils.text import decimal


def test_the_interval_is_students():
    found = [0.5, 1.0, 2.5, -0.2]
    low, high = t.interval(0.95, 3, mean(found), stdev(found) / 2)
    words = [decimal(value, 2, signed=True) for value in (mean(found), low, high)]
    assert interval(found) == f"{words[0]} ({words[1]} to {words[2]})"
    assert interval([1.0, 1.1, 1.2]).endswith(" *") and interval([-1.0, -1.1, -1.2]).endswith(" *")
    assert interval([0.0, 0.0]) == "+0.00 (+0.00 to +0.00)" and interval([1.0]) is None


def test_runs_of_one_seed_are_paired(sections_of):
    names = ("dtd", "mine")
    contents = [
        base_to_novel(method, name, seed)
        for name in names
        for seed in (1, 2, 3)
        for method in ("mmrl", "mmrl++", "linear_probe")
        if (method, name, seed) != ("mmrl++", "mine", 3)
    ]
    (section,) = sections_of(contents)
    average, single = paired_tables(section, "b2n")
    assert single.folded and [c.label for c in single.columns][-2:] == ["generalized HM", "seeds"]
    rows = {row.cells[:3]: row.cells[3:] for row in single.rows}
    assert set(rows) == {
        (name, ours, other)
        for name in ("DTD", "mine")
        for ours, other in (
            ("MMRL", "frozen CLIP"), ("MMRL", "linear probe"), ("MMRL++", "frozen CLIP"),
            ("MMRL++", "linear probe"), ("MMRL++", "MMRL"),
        )
    }  # fmt: skip
    scores = {(c["method"], c["dataset"], c["seed"]): c["metrics"] for c in contents}
    differences = [
        scores["mmrl++", "mine", seed]["base"] - scores["mmrl", "mine", seed]["base"]
        for seed in (1, 2)
    ]
    assert rows["mine", "MMRL++", "MMRL"][0] == interval(differences)
    assert rows["mine", "MMRL++", "MMRL"][-1].value == 2
    assert rows["DTD", "MMRL", "linear probe"][1:3] == (None, None)  # it has no novel accuracy
    means = [
        mean(scores["mmrl", name, s]["base"] - scores["linear_probe", name, s]["base"]
             for name in names)
        for s in SEEDS
    ]  # fmt: skip
    assert [row.cells[3] for row in average.rows if row.cells[1:3] == ("MMRL", "linear probe")] == [
        interval(means)
    ]


@pytest.mark.parametrize(("seeds", "tables"), [((1,), 0), ((1, 2), 1)])
def test_one_seed_has_no_interval(section_of, seeds, tables):
    contents = [few_shot("mmrl", "dtd", shots, seed) for shots in (1, 16) for seed in seeds]
    found = paired_tables(section_of(contents), "few")
    assert len(found) == tables
    assert all([c.label for c in one.columns][3:5] == ["1 shot", "16 shots"] for one in found)
