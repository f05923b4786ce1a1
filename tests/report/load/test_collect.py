"""results.json files found, checked, and chosen among."""

import json
from pathlib import Path

import pytest
from helpers.made_results import (
    ENVIRONMENT,
    ablation,
    base_to_novel,
    few_shot,
    result,
    transfer,
    write_runs,
)

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.report.load.arrange import arrange
from open_clip_mmrl.report.load.collect import collect
from open_clip_mmrl.report.load.run import read_run
from open_clip_mmrl.report.tables.costs import hours_of


def write(folder, content):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_run_is_read_whole(tmp_path):
    run = read_run(write(tmp_path, base_to_novel("mmrl++", "dtd", 2)))
    assert run.series == ("mmrl++", "paper", "logits")
    assert (run.setup.backbone, run.setup.pretrained, run.setup.shots) == ("ViT-B-16", "openai", 16)
    assert (run.result.dataset, run.result.seed) == ("dtd", 2)
    assert {"base", "novel", "hm", "generalized_seen", "ece_base"} <= run.scores.keys()
    assert {"base", "generalized_unseen", "ece_novel"} <= run.frozen_scores.keys()
    assert run.settings["reg_weight"] == 6.0 and "seed" not in run.settings


def test_files_of_earlier_versions_are_read(tmp_path):
    old = base_to_novel("mmrl", "dtd", 1, dataset=None, settings_source=None, sizes=None)
    run = read_run(write(tmp_path, old))
    assert (run.result.dataset, run.series.settings_source, run.paper_split) == ("dtd", None, None)
    old["data"] = "folder:some/where/my-images"
    assert read_run(write(tmp_path, old)).result.dataset == "my-images"


def test_results_of_version_1_are_read():
    collected = collect([Path(__file__).parents[2] / "fixtures" / "v1"])
    assert {run.setup.protocol for run in collected.runs} >= {"base-to-novel", "few-shot"}
    assert not any(note.startswith("Left out") for note in collected.notes)


def test_a_few_shot_run_is_read_whole(tmp_path):
    run = read_run(write(tmp_path, few_shot("mmrl", "dtd", 4, 1)))
    assert {"accuracy", "ece_accuracy"} <= run.scores.keys() and run.paper_split is True
    assert (run.point, run.setup.shots) == ("4", None)


def test_methods_without_settings_have_no_source_of_settings(tmp_path):
    run = read_run(write(tmp_path, base_to_novel("linear_probe", "dtd", 1)))
    assert run.series == ("linear_probe", None, None)
    assert "novel" not in run.scores and "base" in run.scores


def test_targets_and_points_are_read(tmp_path):
    run = read_run(write(tmp_path, transfer("mmrl", "domain-generalization", 1)))
    assert run.setup.source == "imagenet" and run.result.targets["imagenet_a"].beta == 0.9
    run = read_run(write(tmp_path, ablation("reg_weight", 7.0, "dtd", 1)))
    assert (run.setup.sweep, run.point) == ("reg_weight", "7")
    run = read_run(write(tmp_path, ablation("variant", "w/o L", "dtd", 1)))
    assert run.point == "w/o L"


GOOD = base_to_novel("mmrl", "dtd", 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "holds a list, not an object"),
        ({**GOOD, "protocol": "guessing"}, "'protocol' is 'guessing', not one of base-to-novel"),
        ({**GOOD, "method": None}, "'method' is missing"),
        ({**GOOD, "metrics": 3}, "'metrics' is 3, not an object"),
        ({**GOOD, "metrics": {"novel": 3.0}}, "'metrics' has no 'base'"),
        ({**GOOD, "metrics": {"base": "3"}}, "'base' is '3', not a finite number"),
        ('{"protocol": "few-shot", "metrics": {"accuracy": NaN}}', "not a finite number"),
        ({**GOOD, "seed": 1.5}, "'seed' is 1.5, not a whole number"),
        ({**GOOD, "sizes": {"paper_split": 1}}, "'paper_split' is 1, not true or false"),
        ({**GOOD, "sizes": 3}, "'sizes' is 3, not an object"),
        ({**GOOD, "config": []}, "'config' is [], not an object"),
        ({**GOOD, "alpha_curve": {}}, "'alpha_curve'"),
        ({**GOOD, "alpha_curve": [{"alpha": 0.1}]}, "an entry lacks one of alpha, base, novel"),
        ({**GOOD, "targets": {"dtd": 3}}, "'dtd' is 3, not an object"),
        ({**GOOD, "protocol": "ablation"}, "'ablation' is missing"),
        ({**GOOD, "protocol": "ablation", "ablation": {"sweep": "luck"}}, "not a 'value' and a"),
        ({**ablation("alpha", 0.3, "dtd", 1), "method": "zeroshot"}, "has nothing to ablate"),
    ],
)
def test_a_damaged_file_is_named_and_left_out(tmp_path, content, message):
    if content == {**GOOD, "alpha_curve": {}}:
        content = {**GOOD, "alpha_curve": {"alpha": 1}}
    path = write(tmp_path / "a", content)
    write(tmp_path / "b", GOOD)
    collected = collect([tmp_path])
    assert len(collected.runs) == 1
    (note,) = collected.notes
    assert str(path) in note and message in note


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="at least one folder"):
        collect([])
    with pytest.raises(UsageError, match="does not exist or is not a folder"):
        collect([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match=r"no results\.json that can be read"):
        collect([tmp_path])
    path = write(tmp_path, "{")
    with pytest.raises(ValueError, match="not JSON") as raised:
        collect([tmp_path])
    assert str(path) in str(raised.value)


def test_folders_that_overlap_count_once(tmp_path):
    write_runs(tmp_path / "all", [GOOD, few_shot("mmrl", "dtd", 4, 1)])
    collected = collect([tmp_path, tmp_path / "all", tmp_path / "all" / "run0000"])
    assert len(collected.runs) == 2 and not collected.notes


def test_of_two_settings_those_with_more_seeds_count(tmp_path):
    odd = base_to_novel("mmrl", "dtd", 1, config={"variant": "mmrl", "reg_weight": 3.0})
    contents = [odd, *(base_to_novel("mmrl", "dtd", seed) for seed in (1, 2))]
    collected = collect([write_runs(tmp_path, contents)])
    assert {run.settings["reg_weight"] for run in collected.runs} == {6.0}
    (note,) = collected.notes
    assert "run0000" in note and "run0001" not in note and "side by side" in note


def test_seeds_that_chose_their_own_settings_belong_together(tmp_path):
    """ "validation" chooses anew for every seed: that is no reason to leave seeds out."""

    def run(seed, reg_weight, epochs=10):
        return base_to_novel(
            "mmrl", "dtd", seed, settings_source="validation",
            config={"variant": "mmrl", "reg_weight": reg_weight, "alpha": 0.6, "rep_dim": 8},
            selection={"chosen": {"reg_weight": reg_weight, "alpha": 0.6}, "seconds": 3600.0},
            train={"epochs": epochs, "seed": seed},
        )  # fmt: skip

    collected = collect([write_runs(tmp_path, [run(1, 0.2), run(2, 6.0), run(3, 0.2, epochs=9)])])
    assert {run.result.seed for run in collected.runs} == {1, 2}
    (note,) = collected.notes
    assert "run0002" in note and [c.differing for c in collected.compared] == [["epochs"]]
    assert hours_of(collected.runs[:1]) == pytest.approx(
        1 + collected.runs[0].result.train_seconds / 3600
    )


def test_training_that_was_shared_costs_nothing_again(tmp_path):
    run = read_run(write(tmp_path, ablation("variant", "w/o DS1", "dtd", 1, trained_in="../full")))
    assert (run.train_seconds, run.hours) == (None, 0) and run.result.trainable_parameters


def test_the_same_seed_twice_is_named_unless_its_scores_are_the_same(tmp_path):
    other = {**GOOD, "metrics": {"base": 50.0, "novel": 50.0, "hm": 50.0}}
    collected = collect([write_runs(tmp_path / "a", [GOOD, other])])
    assert [run.scores["base"] for run in collected.runs] == [GOOD["metrics"]["base"]]
    assert "the same settings and seed" in collected.notes[0]
    assert not collect([write_runs(tmp_path / "b", [GOOD, GOOD])]).notes


def test_runs_on_other_images_of_a_data_set_are_noted(tmp_path):
    """As where its published split file came after the first seeds."""
    contents = [GOOD, base_to_novel("mmrl", "dtd", 2, paper_split=False)]
    contents += [base_to_novel("mmrl", "eurosat", seed) for seed in (1, 2)]
    collected = collect([write_runs(tmp_path, contents)])
    (note,) = collected.notes
    assert "dtd" in note and "paper_split (True, False)" in note and "eurosat" not in note
    (section,) = arrange(collected.runs)
    assert section.splits == {"dtd": False, "eurosat": True}


def test_mixed_environments_are_noted(tmp_path):
    other = base_to_novel("mmrl", "dtd", 2, environment={**ENVIRONMENT, "torch": "2.6.0"})
    (note,) = collect([write_runs(tmp_path, [GOOD, other])]).notes
    assert "different environments" in note and "torch (2.15.0, 2.6.0)" in note
    assert "python" not in note


def test_a_made_result_leaves_out_what_is_none():
    assert "shots" not in result(shots=None)


@pytest.mark.parametrize("changes", [{"sizes": {"classes": 3}}, {"per_class": {"novel": {"a": 9}}}])
def test_results_on_a_single_novel_class_are_left_out(tmp_path, changes):
    contents = [base_to_novel("mmrl", "dtd", 1, **changes), base_to_novel("mmrl", "dtd", 2)]
    found = collect([write_runs(tmp_path, contents)])
    assert [run.result.seed for run in found.runs] == [2]
    assert any("results.json: its novel classes are a single one" in note for note in found.notes)
