"""Footnotes on scatter, settings, precision and names."""

from helpers.made_results import (
    base_to_novel,
)
from helpers.tables import MMRL, by_title, read

from open_clip_mmrl.report.load.arrange import arrange
from open_clip_mmrl.report.tables.base_to_novel import base_to_novel_tables


def test_seeds_that_scatter_are_marked(sections_of):
    def run(dataset, seed, novel):
        return base_to_novel("mmrl", dataset, seed, metrics={"base": 90.0, "novel": novel, "hm": 0})

    contents = [
        run("eurosat", 1, 70.0),
        run("eurosat", 2, 80.0),
        run("dtd", 1, 60),
        run("dtd", 2, 61),
    ]
    (section,) = sections_of(contents)
    table = by_title(base_to_novel_tables(section, "b2n"))[MMRL]
    assert read(table)["EuroSAT"]["ours novel"].endswith("†")
    assert "†" not in read(table)["DTD"]["ours novel"]
    assert any("† Seeds scatter" in note for note in table.notes)
    assert any("Known for EuroSAT" in note for note in table.notes)


def test_precision_and_renamed_classes_are_noted_where_ours_is_compared(sections_of):
    contents = [base_to_novel("mmrl", name, 1) for name in ("imagenet", "dtd")]
    (section,) = sections_of(contents)
    tables = by_title(base_to_novel_tables(section, "b2n"))
    notes = " ".join(tables[MMRL].notes)
    assert (
        "scored in fp32" in notes
        and "amp_fp16" in notes
        and "projectile" in notes
        and "up to 0.4" in notes
    )
    ours = " ".join(tables["All data sets, our results"].notes)
    assert "fp32" not in ours and "projectile" not in ours
    (section,) = arrange([run for run in section.runs if run.result.dataset == "dtd"])
    notes = " ".join(by_title(base_to_novel_tables(section, "b2n"))[MMRL].notes)
    assert "scored in fp32" in notes and "renamed" not in notes


def test_paper_settings_of_mmrlpp_are_an_inference(sections_of):
    (section,) = sections_of([base_to_novel("mmrl++", "dtd", 1)])
    notes = " ".join(base_to_novel_tables(section, "b2n")[0].notes)
    assert "released configuration" in notes and "inferred" in notes
