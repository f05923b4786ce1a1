"""Tables of base-to-novel generalization."""

from helpers.made_results import (
    ELEVEN,
    SEEDS,
    base_to_novel,
)
from helpers.tables import MMRL, by_title, read

from open_clip_mmrl.report.tables.base_to_novel import base_to_novel_tables
from open_clip_mmrl.utils.text import MINUS


def test_eleven_data_sets_compare_with_published_results(sections_of):
    contents = [base_to_novel("mmrl", name, seed) for name in ELEVEN for seed in SEEDS]
    (section,) = sections_of(contents)
    tables = by_title(base_to_novel_tables(section, "b2n"))
    table = read(tables[MMRL])
    assert list(table) == ["average over 11", "ImageNet", *list(table)[2:]] and len(table) == 12
    row = table["average over 11"]
    assert (row["published base"], row["published novel"], row["published HM"]) == (
        "85.68", "77.16", "81.20",
    )  # fmt: skip
    assert row["rerun novel"] == "76.28" and row["ours seeds"] == "3"
    ours, printed = float(row["ours HM"].split()[0]), 81.20
    minus = f"{ours - printed:+.2f}".replace("-", MINUS)
    assert row[f"ours {MINUS} published HM"] == minus
    averages = tables["Averages of all methods"]
    names = {(row.cells[0], row.cells[1]) for row in averages.rows}
    assert {
        ("MMRL", "ours"),
        ("MMRL", "published"),
        ("MMA", "published"),
        ("MMRL++", "rerun"),
    } <= names
    notes = " ".join(tables[MMRL].notes)
    assert "settings paper (per data set, chosen by its authors on test accuracy)" in notes
    assert "features mixed as logits" in notes and "Table 1 of the MMRL paper" in notes


def test_missing_seeds_are_counted(sections_of):
    contents = [base_to_novel("mmrl", n, s) for n in ("dtd", "ucf101") for s in SEEDS]
    (section,) = sections_of(contents[1:])
    table = read(by_title(base_to_novel_tables(section, "b2n"))[MMRL])
    assert table["DTD"]["ours seeds"] == table["average over 2"]["ours seeds"] == "2 of 3"
    assert table["UCF101"]["ours seeds"] == "3"


def test_zero_shot_runs_and_probes_are_methods(sections_of):
    probes = [base_to_novel("linear_probe", "dtd", seed) for seed in SEEDS]
    zero = base_to_novel("zeroshot", "dtd", 1, metrics={"base": 1.0, "novel": 2.0, "hm": 1.3})
    (section,) = sections_of([*probes, zero])
    assert [s.method for s in section.series] == ["zeroshot", "linear_probe"]
    row = read(base_to_novel_tables(section, "b2n")[0])["DTD"]
    assert (row["frozen CLIP base"], row["frozen CLIP novel"]) == ("1.00", "2.00")
    assert row["linear probe novel"] == row["linear probe HM"] == "-"
    assert row["linear probe base"] != "-"
    notes = base_to_novel_tables(section, "b2n")[0].notes
    assert any("linear probe: " in note and "validation images" in note for note in notes)
