"""From runs to tables: scores, averages, comparison with published results, footnotes."""

from statistics import mean, median, stdev

import pytest
from helpers.made_results import (
    ELEVEN,
    PAPER,
    SEEDS,
    SHIFTED,
    SWEEPS,
    ablation,
    base_to_novel,
    few_shot,
    sizes,
    transfer,
    write_runs,
)

from open_clip_mmrl.report.figures.tradeoff import alpha_curve
from open_clip_mmrl.report.load.arrange import arrange
from open_clip_mmrl.report.load.collect import collect
from open_clip_mmrl.report.load.run import FROZEN
from open_clip_mmrl.report.tables.ablation import ablation_tables
from open_clip_mmrl.report.tables.base_to_novel import base_to_novel_tables
from open_clip_mmrl.report.tables.beyond_paper import beyond_paper_tables
from open_clip_mmrl.report.tables.costs import cost_table, environment_table
from open_clip_mmrl.report.tables.few_shot import few_shot_tables
from open_clip_mmrl.report.tables.table import Number, cell_text, file_name
from open_clip_mmrl.report.tables.transfer import transfer_tables
from open_clip_mmrl.utils.text import MINUS

MMRL = "MMRL compared with published results"


@pytest.fixture
def sections_of(tmp_path):
    return lambda contents: arrange(collect([write_runs(tmp_path, contents)]).runs)


def by_title(tables):
    return {table.title: table for table in tables}


def read(table):
    """{first cell: {"group label" or "label": text}} of a table."""
    heads = [f"{c.group} {c.label}".strip() for c in table.columns]
    return {
        row.cells[0]: dict(zip(heads, map(cell_text, row.cells), strict=True)) for row in table.rows
    }


def split_of(contents, split):
    return [content["metrics"][split] for content in contents]


def test_scores_are_means_over_seeds_and_hm_is_that_of_the_means(sections_of):
    contents = [base_to_novel("mmrl", "dtd", seed) for seed in SEEDS]
    (section,) = sections_of(contents)
    frozen, mmrl = section.series
    assert frozen == FROZEN and section.label(mmrl) == "MMRL"
    base, novel = (section.score(mmrl, "dtd", split) for split in ("base", "novel"))
    assert base.mean == pytest.approx(mean(split_of(contents, "base")))
    assert base.std == pytest.approx(stdev(split_of(contents, "base"))) and base.seeds == 3
    hm = section.score(mmrl, "dtd", "hm")
    assert hm.mean == pytest.approx(2 * base.mean * novel.mean / (base.mean + novel.mean))
    assert hm.std == pytest.approx(stdev(split_of(contents, "hm")), abs=1e-3)
    assert section.score(frozen, "dtd", "base").std is None
    assert section.score(mmrl, "eurosat", "base") is None


def test_averages_need_all_data_sets_and_scatter_as_seeds_do(sections_of):
    contents = {
        (name, seed): base_to_novel("mmrl", name, seed)
        for name in ("dtd", "ucf101")
        for seed in SEEDS
        if (name, seed) != ("dtd", 3)
    }
    (section,) = sections_of(contents.values())
    series = section.series[1]
    score = section.average(series, ["dtd", "ucf101"], "base")
    means = [
        mean(c["metrics"]["base"] for k, c in contents.items() if k[0] == n)
        for n in ("dtd", "ucf101")
    ]
    assert score.mean == pytest.approx(mean(means)) and score.seeds == 2
    both = [mean(contents[n, s]["metrics"]["base"] for n in ("dtd", "ucf101")) for s in (1, 2)]
    assert score.std == pytest.approx(stdev(both))
    assert section.average(series, ["dtd", "eurosat"], "base") is None


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


def test_missing_seeds_are_counted(sections_of):
    contents = [base_to_novel("mmrl", n, s) for n in ("dtd", "ucf101") for s in SEEDS]
    (section,) = sections_of(contents[1:])
    table = read(by_title(base_to_novel_tables(section, "b2n"))[MMRL])
    assert table["DTD"]["ours seeds"] == table["average over 2"]["ours seeds"] == "2 of 3"
    assert table["UCF101"]["ours seeds"] == "3"


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
    assert any("† Seeds scatter" in note and "EuroSAT" in note for note in table.notes)


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


def test_precision_and_renamed_classes_are_noted_where_ours_is_compared(sections_of):
    contents = [base_to_novel("mmrl", name, 1) for name in ("imagenet", "dtd")]
    (section,) = sections_of(contents)
    tables = by_title(base_to_novel_tables(section, "b2n"))
    remarks = " ".join(tables[MMRL].remarks)
    assert (
        "scored in fp32" in remarks
        and "amp_fp16" in remarks
        and "projectile" in remarks
        and "up to 0.4" in remarks
    )
    assert tables["All data sets, our results"].remarks == ()
    (section,) = arrange([run for run in section.runs if run.result.dataset == "dtd"])
    remarks = " ".join(by_title(base_to_novel_tables(section, "b2n"))[MMRL].remarks)
    assert "scored in fp32" in remarks and "ImageNet" not in remarks


def test_paper_settings_of_mmrlpp_are_an_inference(sections_of):
    (section,) = sections_of([base_to_novel("mmrl++", "dtd", 1)])
    notes = " ".join(base_to_novel_tables(section, "b2n")[0].notes)
    assert "released configuration" in notes and "inferred" in notes


def test_settings_of_two_sources_are_two_series(sections_of):
    contents = [base_to_novel("mmrl", "dtd", 1, settings_source=s) for s in ("paper", "fixed")]
    (section,) = sections_of(contents)
    labels = [section.label(series) for series in section.series]
    assert labels == ["zero-shot CLIP", "MMRL (paper)", "MMRL (fixed)"]


def test_zero_shot_runs_and_probes_are_methods(sections_of):
    probes = [base_to_novel("linear_probe", "dtd", seed) for seed in SEEDS]
    zero = base_to_novel("zeroshot", "dtd", 1, metrics={"base": 1.0, "novel": 2.0, "hm": 1.3})
    (section,) = sections_of([*probes, zero])
    assert [s.method for s in section.series] == ["zeroshot", "linear_probe"]
    row = read(base_to_novel_tables(section, "b2n")[0])["DTD"]
    assert (row["zero-shot CLIP base"], row["zero-shot CLIP novel"]) == ("1.00", "2.00")
    assert row["linear probe novel"] == row["linear probe HM"] == "-"
    assert row["linear probe base"] != "-"
    notes = base_to_novel_tables(section, "b2n")[0].notes
    assert any("linear probe: " in note and "validation images" in note for note in notes)


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
    assert lines["zero-shot CLIP", "ours"][1:] == ["-", "-"]
    sixteen = [
        c["metrics"]["accuracy"] for c in contents if c["method"] == "mmrl" and c["shots"] == 16
    ]
    assert lines["MMRL", "ours"][2] == f"{mean(sixteen):.2f} ±{stdev(sixteen):.2f}"
    assert lines["MMRL", f"ours {MINUS} published"][0] != "-"
    assert any("2 of 3 seeds" in note for note in table.notes)


def test_transfer_leaves_the_source_out_of_the_average(sections_of):
    contents = [
        transfer("mmrl", protocol, s)
        for protocol in ("cross-dataset", "domain-generalization")
        for s in SEEDS
    ]
    cross, shift = sections_of(contents)
    tables = by_title(transfer_tables(cross, "cross-dataset"))
    all_methods = tables["All methods; the source, then data sets not trained on"]
    row = {
        c.label: cell_text(v)
        for c, v in zip(all_methods.columns, all_methods.rows[-1].cells, strict=True)
    }
    assert (row["method"], row["results"]) == ("MMRL", "published")
    assert (row["ImageNet (source)"], row["average over 10"]) == ("72.03", "67.25")
    beside = read(tables[MMRL])
    assert beside["DTD"]["ours beta"] == "0.9" and beside["DTD"]["published accuracy"] == "45.90"
    tables = by_title(transfer_tables(shift, "domain-generalization"))
    assert list(read(tables[MMRL]))[1:3] == ["average over 4", "ImageNetV2"]
    assert list(shift.datasets) == SHIFTED
    assert any("has no average" in note for table in tables.values() for note in table.notes)


def test_a_missing_target_is_explained(sections_of):
    targets = {
        "dtd": {"accuracy": 45.0, "zero_shot": 44.0, "beta": 0.9, "sizes": sizes(True)},
        "eurosat": {"missing": "no folder eurosat"},
    }
    (section,) = sections_of([transfer("mmrl", "cross-dataset", 1, targets=targets)])
    tables = transfer_tables(section, "cross-dataset")
    assert "EuroSAT is missing: no folder eurosat." in tables[0].notes
    assert cell_text(tables[0].rows[1].cells[-1]) == "-"


def test_an_average_goes_over_the_targets_that_are_there(sections_of):
    whole = transfer("mmrl", "cross-dataset", 1)["targets"]
    targets = {name: whole[name] for name in ("dtd", "ucf101")}
    targets["eurosat"] = {"missing": "no folder eurosat"}
    (section,) = sections_of([transfer("mmrl", "cross-dataset", 1, targets=targets)])
    table = transfer_tables(section, "cross-dataset")[0]
    found = {row.cells[:2]: row.cells for row in table.rows}
    assert [column.label for column in table.columns][3:] == [
        "average over 2", "DTD", "EuroSAT", "UCF101",
    ]  # fmt: skip
    mean = (targets["dtd"]["accuracy"] + targets["ucf101"]["accuracy"]) / 2
    assert found["MMRL", "ours"][3].value == pytest.approx(mean)
    printed = [PAPER.value("cross-dataset", "mmrl", n, "accuracy") for n in ("dtd", "ucf101")]
    assert found["MMRL", "published"][3].value == pytest.approx(sum(printed) / 2)


def test_sources_that_differ_are_sections_of_their_own(sections_of):
    targets = {"dtd": {"accuracy": 45.0, "zero_shot": 44.0}}
    contents = [
        transfer("mmrl", "cross-dataset", 1, dataset=source, targets=targets)
        for source in ("digits", "imagenet")
    ]
    assert [section.setup.source for section in sections_of(contents)] == ["digits", "imagenet"]


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
    curve = alpha_curve(section, section.series[1], ["dtd"])
    assert [alpha for alpha, *_ in curve] == pytest.approx([i / 10 for i in range(11)])
    assert curve[10][2] == pytest.approx(mean(c["alpha_curve"][10]["novel"] for c in contents))
    assert alpha_curve(section, section.series[1], ["dtd", "eurosat"]) == []


def test_runs_without_further_scores_have_no_further_tables(sections_of):
    (section,) = sections_of([few_shot("linear_probe", "dtd", 4, 1)])
    assert beyond_paper_tables(section, "few-shot") == []


def test_cost_and_environment(sections_of):
    contents = [base_to_novel("mmrl", n, s) for n in ("imagenet", "dtd") for s in (1, 2)]
    contents[0]["trainable_parameters"] = 1_000_000
    found = sections_of(contents)
    table = cost_table(found)
    ours = [row.cells for row in table.rows if row.cells[1] == "ours"]
    assert [cells[3] for cells in ours] == ["2 data sets", "ImageNet"]
    assert ours[0][5] == "1.000 to 4.992"
    assert ours[0][7].value == pytest.approx(mean(c["train_seconds"] for c in contents) / 60)
    printed = {row.cells[0]: row.cells for row in table.rows if row.role == "published"}
    assert printed["MMRL"][6].value == 5.3 and printed["MMRL"][5].value == 4.992
    environment = read(environment_table(found[0].runs))
    assert environment["torch"]["environment 1"] == "2.15.0"
    assert environment["runs"]["environment 1"] == "4"


def test_cells_as_text():
    assert cell_text(None) == "-"
    assert cell_text(Number(85.678, "percent", 0.214, 3, "†")) == "85.68 ±0.21†"
    assert cell_text(Number(-0.5, "difference")) == f"{MINUS}0.50"
    assert cell_text(Number(12345, "count")) == "12,345"
    assert file_name("MMRL++ (paper), a/../b") == "mmrlpp-paper-a-b"
