"""Tables of few-shot learning."""

from statistics import mean, stdev

from helpers.made_results import (
    SEEDS,
    few_shot,
)

from open_clip_mmrl.report.tables.few_shot import few_shot_tables
from open_clip_mmrl.report.tables.table import cell_text
from open_clip_mmrl.utils.text import MINUS


def test_few_shot_has_shots_from_left_to_right(sections_of):
    contents = [
        few_shot(method, "dtd", shots, seed)
        for method in ("linear_probe", "mmrl")
        for shots in (16, 2, 1)
        for seed in SEEDS
        if (method, shots, seed) != ("mmrl", 16, 3)
    ]
    (section,) = sections_of([*contents, few_shot("zeroshot", "dtd", 16, 1)])
    (table,) = few_shot_tables(section, "few-shot")
    assert [c.label for c in table.columns] == ["data set", "method", "results", "1", "2", "16"]
    lines = {row.cells[1:3]: list(map(cell_text, row.cells[3:])) for row in table.rows}
    assert lines["MMRL", "published"] == ["56.37", "61.37", "75.30"]
    assert lines["linear probe", "published"][1] == "40.76"
    assert lines["frozen CLIP", "ours"][1:] == ["-", "-"]
    sixteen = [
        c["metrics"]["accuracy"] for c in contents if c["method"] == "mmrl" and c["shots"] == 16
    ]
    assert lines["MMRL", "ours"][2] == f"{mean(sixteen):.2f} ±{stdev(sixteen):.2f}"
    assert lines["MMRL", f"ours {MINUS} published"][0] != "-"
    assert any("2 of 3 seeds" in note for note in table.notes)
