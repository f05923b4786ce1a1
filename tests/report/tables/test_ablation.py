"""Tables of ablations."""

from helpers.made_results import (
    ELEVEN,
    SWEEPS,
    ablation,
)
from helpers.tables import by_title, read

from open_clip_mmrl.report.tables.ablation import ablation_tables
from open_clip_mmrl.report.tables.table import cell_text
from open_clip_mmrl.utils.text import MINUS


def test_sweep_over_all_data_sets_compares_with_published(sections_of):
    contents = [ablation("alpha", a, name, 1) for a in SWEEPS["alpha"] for name in ELEVEN]
    (section,) = sections_of(contents)
    tables = by_title(ablation_tables(section, "ablation-alpha"))
    table = read(tables["MMRL: alpha, average over 11 data sets"])
    assert list(table) == ["0", "0.3", "0.5", "0.7", "1"]
    assert table["0.3"]["published base"] == "84.57"
    assert table["0.3"][f"ours {MINUS} published base"] != "-"


def test_no_difference_of_a_sweep_over_some_data_sets(sections_of):
    contents = [ablation("variant", v, n, 1) for v in ("full", "w/o L") for n in ("dtd", "ucf101")]
    contents.append(ablation("variant", "full", "eurosat", 1))
    (section,) = sections_of(contents)
    table = by_title(ablation_tables(section, "a"))["MMRL: variant, average over 2 data sets"]
    rows = read(table)
    assert rows["w/o V"]["ours base"] == "-" and rows["w/o V"]["published base"] == "82.83"
    assert not any(MINUS in column.group for column in table.columns)
    notes = " ".join(table.notes)
    assert "averages over all 11" in notes and "some values have no run there: EuroSAT" in notes


def test_lambda_has_published_results_of_every_data_set(sections_of):
    contents = [ablation("reg_weight", v, n, 1) for v in (0.5, 7.0) for n in ("imagenet", "dtd")]
    (section,) = sections_of(contents)
    tables = by_title(ablation_tables(section, "a"))
    assert read(tables["MMRL: lambda, ImageNet"])["0.5"]["published novel"] == "71.30"
    each = tables["MMRL: lambda, HM of every data set"]
    lines = {row.cells[:2]: list(map(cell_text, row.cells[2:])) for row in each.rows}
    assert lines["7", "published"] == ["-", "73.78", "73.65"]
    assert lines["7", f"ours {MINUS} published"][1] != "-"
    assert lines["7", "ours"][0] != "-"


def test_sweeps_that_the_paper_only_draws_have_no_published_numbers(sections_of):
    contents = [ablation("num_rep_tokens", v, "dtd", 1) for v in (1, 5)]
    (section,) = sections_of(contents)
    (table,) = ablation_tables(section, "a")
    assert table.title == "MMRL: K, DTD"
    assert [column.group for column in table.columns][1:] == ["ours"] * 4
