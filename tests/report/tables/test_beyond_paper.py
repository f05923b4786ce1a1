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
    assert read(generalized)["DTD"]["frozen CLIP HM"] != "-"
    assert read(calibration)["DTD"]["frozen CLIP novel"] == "3.60"
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


def test_what_was_calibrated_and_unknown_classes_have_tables(section_of):
    scores = {
        "calibrated": {"ece": 2.0, "coverage": 89.0, "set_size": 1.5, "temperature": 0.8},
        "calibrated_zero_shot": {"ece": 3.0, "coverage": 91.0, "set_size": 2.5},
        "unknown": {"auroc": 80.0, "fpr95": 60.0},
    }
    section = section_of([base_to_novel("mmrl", "dtd", 1, **scores)])
    tables = {table.name: table for table in beyond_paper_tables(section, "b2n")}
    assert [cell.value for cell in tables["b2n-calibrated"].rows[0].cells[1:]] == [
        3.0, 91.0, 2.5, 2.0, 89.0, 1.5,
    ]  # fmt: skip
    assert [cell.value for cell in tables["b2n-unknown"].rows[0].cells[1:]] == [80.0, 60.0]
