"""What a report opens with."""

import pytest
from helpers.made_results import ELEVEN, ablation, base_to_novel, few_shot, transfer, write_runs
from helpers.tables import read

from open_clip_mmrl.report.load.arrange import arrange
from open_clip_mmrl.report.load.collect import collect
from open_clip_mmrl.report.opening import ROWS, opening


@pytest.fixture
def opened(tmp_path):
    def build(contents):
        collected = collect([write_runs(tmp_path, contents)])
        return opening(collected, arrange(collected.runs))

    return build


def test_the_papers_data_sets_are_averaged_next_to_published_results(opened):
    contents = [base_to_novel(m, n, 1) for m in ("mmrl", "zeroshot") for n in ELEVEN]
    found = opened(contents)
    (row,) = found.table.rows
    assert found.table.title == (
        "base-to-novel, 16 shots, ViT-B-16 (openai), average over 11, paper settings"
    )
    assert [c.label for c in found.table.columns] == [
        "method", "base", "novel", "HM", "frozen CLIP HM", "published", "difference",
    ]  # fmt: skip
    assert row.cells[5].value == 81.2 and row.cells[6].kind == "difference"


def test_a_transfer_whose_targets_are_all_missing_has_no_scores(opened):
    missing = {"dtd": {"missing": "no folder"}}
    found = opened([transfer("mmrl", "cross-dataset", 1, targets=missing)])
    assert found.picture is None and [c.label for c in found.table.columns] == ["method"]


def test_unrelated_data_sets_are_not_averaged(opened):
    found = opened([base_to_novel("mmrl", name, s) for name in ("mine", "yours") for s in (1, 2)])
    assert set(read(found.table)) == {"mine", "yours"}
    assert "2 data sets, seeds 1, 2" in found.sentences[0]


def test_runs_of_one_data_set_open_with_the_best(opened):
    contents = [
        few_shot("mmrl", "mine", 4, 1, settings_source="custom", train={"lr": i / 100})
        for i in range(1, ROWS + 3)
    ]
    found = opened(contents)
    assert len(found.table.rows) == ROWS and "best 12 of 14 settings" in found.table.title
    assert "do not choose" in found.sentences[1] and found.picture


def test_the_best_of_several_comparisons_stand_below_each_other(opened):
    contents = [
        few_shot("mmrl", name, 4, 1, settings_source="custom", train={"lr": lr})
        for name in ("mine", "yours") for lr in (0.1, 0.2)
    ]  # fmt: skip
    rows = opened(contents).table.rows
    assert [row.cells[0] for row in rows] == ["mine", "yours"]
    assert all("best of 2 settings by test" in row.cells[1] for row in rows)


def test_an_ablation_opens_with_its_points(opened):
    found = opened([ablation("alpha", value, "dtd", 1) for value in (0.0, 0.5)])
    assert [row.cells[0] for row in found.table.rows] == [
        "MMRL, alpha 0", "MMRL, alpha 0.5",
    ]  # fmt: skip
