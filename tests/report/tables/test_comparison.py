"""Where published results are shown, and where differences are given."""

import pytest
from helpers.made_results import (
    ELEVEN,
    base_to_novel,
    few_shot,
    transfer,
)
from helpers.tables import MMRL, by_title, read

from open_clip_mmrl.report.load.arrange import arrange
from open_clip_mmrl.report.tables.base_to_novel import base_to_novel_tables
from open_clip_mmrl.report.tables.few_shot import few_shot_tables
from open_clip_mmrl.report.tables.table import Number, cell_text
from open_clip_mmrl.report.tables.transfer import transfer_tables
from open_clip_mmrl.utils.text import MINUS


def test_fewer_data_sets_are_averaged_as_such(sections_of):
    names = ["dtd", "ucf101"]
    (section,) = sections_of([base_to_novel("mmrl", name, 1) for name in names])
    tables = by_title(base_to_novel_tables(section, "b2n"))
    row = read(tables[MMRL])["average over 2"]
    assert row["published base"] == f"{(85.67 + 88.1) / 2:.2f}"
    assert row["ours base"] == cell_text(
        Number(section.average(section.series[1], names, "base").mean)
    )
    (only,) = arrange([run for run in section.runs if run.result.dataset == "dtd"])
    tables = by_title(base_to_novel_tables(only, "b2n"))
    assert list(read(tables[MMRL])) == ["DTD"] and "Averages of all methods" not in tables


def test_another_split_is_marked(sections_of):
    (section,) = sections_of([base_to_novel("mmrl", "dtd", 1, paper_split=False)])
    table = by_title(base_to_novel_tables(section, "b2n"))[MMRL]
    row = read(table)["DTD"]
    assert row["ours base"].endswith("‡") and row["published base"] == "85.67"
    assert row[f"ours {MINUS} published base"] == "-"
    assert any("Not the paper's split" in note and "no difference" in note for note in table.notes)


def test_what_was_trained_on_another_split_is_not_subtracted(sections_of):
    (section,) = sections_of([transfer("mmrl", "cross-dataset", 1, paper_split=False)])
    tables = transfer_tables(section, "cross-dataset")
    assert not any(MINUS in column.group for table in tables for column in table.columns)


def test_no_difference_where_one_of_several_data_sets_has_another_split(sections_of):
    contents = [base_to_novel("mmrl", name, 1, paper_split=name != "dtd") for name in ELEVEN]
    (section,) = sections_of(contents)
    table = read(by_title(base_to_novel_tables(section, "b2n"))[MMRL])
    hm = f"ours {MINUS} published HM"
    assert table["average over 11"][hm] == table["DTD"][hm] == "-" != table["EuroSAT"][hm]


def test_no_difference_of_few_shot_results_on_another_split(sections_of):
    contents = [few_shot("mmrl", name, 1, 1, paper_split=name != "dtd") for name in ELEVEN[:9]]
    (section,) = sections_of(contents)
    (table,) = [t for t in few_shot_tables(section, "few-shot") if t.title == "All data sets"]
    minus = {row.cells[0]: row.cells[3] for row in table.rows if MINUS in row.cells[2]}
    assert minus["DTD"] is None and minus["ImageNet"] is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "mmrl-ViT-L-14"},
        {"pretrained": "laion2b_s34b_b88k"},
        {"test_split": "val"},
        {"shots": 4},
    ],
)
def test_other_conditions_make_published_results_context(sections_of, changes):
    (section,) = sections_of([base_to_novel("mmrl", "dtd", 1, **changes)])
    table = by_title(base_to_novel_tables(section, "b2n"))[MMRL]
    assert read(table)["DTD"]["published HM"] == "73.82"
    assert not any(MINUS in column.group for column in table.columns)
    assert any("no differences are given" in note for note in table.notes)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "digits", "paper_split": None},
        {"paper_split": None},
        {"model": "mmrl-ViT-Ti-8-glyphs", "pretrained": "printed", "paper_split": False},
    ],
)
def test_data_sets_not_in_the_paper_have_no_published_results(sections_of, changes):
    (section,) = sections_of([base_to_novel("mmrl", "dtd", 1, **changes)])
    (table,) = base_to_novel_tables(section, "b2n")
    assert not any("published" in column.group for column in table.columns)


def test_a_quickgelu_name_is_the_same_model(sections_of):
    (section,) = sections_of([base_to_novel("mmrl", "dtd", 1, model="mmrl-ViT-B-16-quickgelu")])
    table = by_title(base_to_novel_tables(section, "b2n"))[MMRL]
    assert any(MINUS in column.group for column in table.columns)
