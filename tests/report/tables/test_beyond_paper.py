"""Generalized accuracy, calibration and single classes."""

from statistics import mean, median

import pytest
from helpers.made_results import (
    SEEDS,
    base_to_novel,
    few_shot,
)
from helpers.tables import read

from open_clip_mmrl.report.tables.beyond_paper import beyond_paper_tables


def test_beyond_paper_tables(sections_of):
    contents = [base_to_novel("mmrl", "dtd", seed) for seed in SEEDS]
    (section,) = sections_of(contents)
    generalized, calibration, classes, folded = beyond_paper_tables(section, "b2n")
    seen = mean(content["generalized"]["seen"] for content in contents)
    assert read(generalized)["DTD"]["MMRL seen"].startswith(f"{seen:.2f} ±")
    assert read(generalized)["DTD"]["zero-shot CLIP HM"] != "-"
    assert read(calibration)["DTD"]["zero-shot CLIP novel"] == "3.60"
    values = {
        label: mean(c["per_class"]["base"][label] for c in contents)
        for label in contents[0]["per_class"]["base"]
    }
    worst = min(values, key=values.get)
    assert classes.rows[0].cells[:3] == ("DTD", "MMRL", "base")
    assert classes.rows[0].cells[3].startswith(f"{worst} {values[worst]:.1f}, ")
    assert classes.rows[0].cells[5].value == pytest.approx(median(values.values()))
    assert folded.folded and len(folded.rows) == 24


def test_runs_without_further_scores_have_no_further_tables(sections_of):
    (section,) = sections_of([few_shot("linear_probe", "dtd", 4, 1)])
    assert beyond_paper_tables(section, "few-shot") == []
