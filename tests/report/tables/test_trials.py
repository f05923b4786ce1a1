"""Tables of runs side by side."""

import pytest
from helpers.made_results import base_to_novel, few_shot, transfer, write_runs
from helpers.tables import read

from open_clip_mmrl.report.load.collect import collect
from open_clip_mmrl.report.tables.paired import interval
from open_clip_mmrl.report.tables.trials import OTHER_IMAGES, sorted_by, trial_table


def comparison(folder, contents):
    (found,) = collect([write_runs(folder, contents)]).compared
    return found


def by_hand(seed, lr, **changes):
    train = {"epochs": 10, "lr": lr, "seed": seed}
    return base_to_novel("mmrl", "mine", seed, settings_source="custom", train=train, **changes)


def test_a_row_has_scores_settings_and_cost(tmp_path):
    found = comparison(tmp_path, [by_hand(1, 0.1), by_hand(2, 0.1), by_hand(1, 0.2)])
    table = trial_table(found, "runs")
    heads = [f"{c.group} {c.label}".strip() for c in table.columns]
    assert heads == [
        "run", "test base", "test novel", "test HM", "test frozen CLIP HM", "--lr", "seeds",
        "training, s", "parameters", "adapter, MB",
    ]  # fmt: skip
    row = next(r for r in table.rows if r.cells[0] == "run0000 and 1 more")
    assert row.cells[1].seeds == 2 and row.cells[1].std > 0
    assert row.cells[5] == "0.1" and row.cells[6].value == 2 and row.cells[9] is None
    assert len(trial_table(found, "runs", 1).rows) == 1
    assert "best 1 of 2" in trial_table(found, "runs", 1).title


def test_the_table_says_by_what_it_is_sorted(tmp_path):
    found = comparison(tmp_path / "a", [by_hand(1, 0.1), by_hand(1, 0.2)])
    assert "do not choose settings by it" in sorted_by(found)
    contents = [by_hand(1, lr, test_split="val") for lr in (0.1, 0.2)]
    found = comparison(tmp_path / "b", contents)
    assert "Sorted by validation HM" in sorted_by(found) and "test" not in sorted_by(found)
    found = comparison(tmp_path / "c", [*contents, by_hand(1, 0.3)])
    assert "then runs without, by test HM" in sorted_by(found)


def test_several_seeds_are_paired_with_those_of_the_best(tmp_path):
    contents = [by_hand(seed, lr) for seed in (1, 2) for lr in (0.1, 0.2)]
    scores = {(c["train"]["lr"], c["seed"]): c["metrics"]["hm"] for c in contents}
    table = trial_table(comparison(tmp_path, contents), "runs")
    first, second = table.rows
    place = [c.label for c in table.columns].index("HM minus the first")
    order = [0.1, 0.2] if first.cells[place + 1] == "0.1" else [0.2, 0.1]
    expected = interval([scores[order[1], seed] - scores[order[0], seed] for seed in (1, 2)])
    assert first.cells[place] is None and second.cells[place] == expected


def test_other_test_images_are_noted(tmp_path):
    contents = [by_hand(1, 0.1), by_hand(1, 0.2, sizes={"classes": 9, "test": 5})]
    table = trial_table(comparison(tmp_path, contents), "runs")
    assert OTHER_IMAGES in table.notes and read(table)["run0001"]["test images"] == "5"


def test_a_few_shot_row_has_one_accuracy(tmp_path):
    contents = [few_shot("mmrl", "mine", k, 1, settings_source="custom") for k in (1, 2)]
    table = trial_table(comparison(tmp_path, contents), "runs")
    assert [c.label for c in table.columns][1:4] == ["accuracy", "frozen CLIP", "--shots"]


def test_linear_probes_of_the_same_images_have_a_column(tmp_path):
    contents = [by_hand(1, 0.1), by_hand(2, 0.1), by_hand(1, 0.2)]
    for content, base in zip(contents, (90.0, 94.0), strict=False):
        content["linear_probe"] = {"base": base, "novel": None, "hm": None}
    rows = read(trial_table(comparison(tmp_path, contents), "runs"))
    shown = {name: row["test linear probe base"] for name, row in rows.items()}
    assert shown == {"run0000 and 1 more": "92.00 \u00b12.83", "run0002": "-"}


def test_transfer_runs_have_their_targets(tmp_path):
    contents = [transfer("mmrl", "domain-generalization", 1, train={"lr": lr}) for lr in (0.1, 0.2)]
    found = comparison(tmp_path, contents)
    table = trial_table(found, "runs")
    heads = [c.label for c in table.columns if c.group == "accuracy on"]
    assert heads == ["ImageNetV2", "ImageNet-Sketch", "ImageNet-A", "ImageNet-R"]
    assert table.rows[0].cells[3].value == pytest.approx(
        contents[0]["targets"]["imagenetv2"]["accuracy"]
    )
    assert "on the data set trained on" in sorted_by(found)
