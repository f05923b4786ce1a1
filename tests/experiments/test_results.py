"""The schema of results.json: today's files, files of before, and damaged ones."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from open_clip_mmrl.config import SWEEP_NAMES
from open_clip_mmrl.experiments.result_parts import AblationPoint
from open_clip_mmrl.experiments.results import FORMAT_VERSION, RunResult
from open_clip_mmrl.utils.files import json_bytes

FIXTURES = Path(__file__).parents[1] / "fixtures"
VERSION_1 = sorted((FIXTURES / "v1").glob("*/results.json"))


@pytest.mark.parametrize("path", VERSION_1, ids=lambda path: path.parent.name)
def test_files_of_version_1_keep_every_key(path):
    content, result = json.loads(path.read_text()), RunResult.read(path)
    assert result.format_version == 1
    assert result.to_json() == {"format_version": FORMAT_VERSION, **content}


@pytest.mark.parametrize("path", VERSION_1, ids=lambda path: path.parent.name)
def test_what_is_written_reads_as_the_same_result(path):
    result = replace(RunResult.read(path), format_version=FORMAT_VERSION)
    assert RunResult.from_json(json.loads(json_bytes(result.to_json()))) == result


def read(name):
    return RunResult.read(FIXTURES / "v1" / name / "results.json")


def test_values_are_typed():
    run = read("base-to-novel-mmrl")
    assert (run.method, run.dataset, run.protocol, run.seed) == ("mmrl", "digits", run.protocol, 1)
    assert run.metrics.keys() == {"base", "novel", "hm"} and run.config["rep_dim"] == 64
    assert run.sizes and run.sizes.test == 797 and run.sizes.paper_split is None
    assert run.alpha_curve[0].alpha == 0 and run.alpha_curve[0].scores.keys() == {"base", "novel"}
    assert run.environment.device == "cpu" and "torch" in run.environment.versions
    probe = read("base-to-novel-linear_probe")
    assert probe.metrics["novel"] is None and probe.regularization
    assert read("ablation-w_o_DS1").ablation == AblationPoint("variant", "w/o DS1")
    assert read("ablation-w_o_DS1").trained_in == "../../variant-full/2-shots-seed1"
    selection = read("validation-mmrlpp").selection
    assert selection and selection.chosen.keys() == {"reg_weight", "beta", "alpha"}
    assert selection.candidates[0].settings == {"reg_weight": 0.2, "beta": 0.9}
    targets = read("cross-dataset-linear_probe").targets
    assert targets["scrawl"].accuracy is None and targets["scrawl"].zero_shot == 42.766
    assert targets["dtd"].missing and not targets["scrawl"].missing
    assert read("few-shot-mmrlpp").alpha_curve[3].scores.keys() == {"accuracy"}


GOOD = json.loads((FIXTURES / "v1" / "base-to-novel-mmrl" / "results.json").read_text())


def test_unknown_keys_are_ignored_and_missing_ones_are_none():
    run = RunResult.from_json({**GOOD, "weather": "fine", "train_seconds": None})
    assert run.train_seconds is None
    least = {"protocol": "few-shot", "method": "mmrl", "model": "m", "metrics": {"accuracy": 3}}
    run = RunResult.from_json({**least, "data": "folder:some/where/my-images"})
    assert (run.dataset, run.sizes, run.settings_source) == ("my-images", None, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "holds a list, not an object"),
        ({**GOOD, "format_version": 99}, "'format_version' is 99.*update"),
        ({**GOOD, "protocol": "guessing"}, "'protocol' is 'guessing', not one of base-to-novel"),
        ({**GOOD, "method": None}, "'method' is missing"),
        ({**GOOD, "metrics": 3}, "'metrics' is 3, not an object"),
        ({**GOOD, "metrics": {"novel": 3.0}}, "'metrics' has no 'base'"),
        ({**GOOD, "metrics": {"base": "3"}}, "'base' is '3', not a finite number"),
        ({**GOOD, "metrics": {"base": float("nan")}}, "not a finite number"),
        ({**GOOD, "seed": 1.5}, "'seed' is 1.5, not a whole number"),
        ({**GOOD, "sizes": {"paper_split": 1}}, "'paper_split' is 1, not true or false"),
        ({**GOOD, "sizes": 3}, "'sizes' is 3, not an object"),
        ({**GOOD, "config": []}, r"'config' is \[\], not an object"),
        ({**GOOD, "per_class": {"base": 3}}, "'base' is 3, not an object"),
        ({**GOOD, "alpha_curve": {"alpha": 1}}, "'alpha_curve' is not a list"),
        ({**GOOD, "alpha_curve": [{"alpha": 0.1}]}, "an entry lacks one of alpha, base, novel"),
        ({**GOOD, "targets": {"dtd": 3}}, "'dtd' is 3, not an object"),
        ({**GOOD, "protocol": "ablation"}, "'ablation' is missing"),
        ({**GOOD, "protocol": "ablation", "ablation": {"sweep": "luck"}}, f"of {SWEEP_NAMES[0]}, "),
        ({**GOOD, "protocol": "ablation", "method": "zeroshot"}, "nothing to ablate"),
    ],
)
def test_damage_is_named_with_key_and_file(content, message):
    with pytest.raises(ValueError, match=message):
        RunResult.from_json(content)
    with pytest.raises(ValueError, match=rf"^some/results\.json: .*{message}"):
        RunResult.from_json(content, "some/results.json")


def test_files_that_are_not_json_are_named(tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(b"{\xff")
    with pytest.raises(ValueError, match="not JSON") as raised:
        RunResult.read(path)
    assert str(path) in str(raised.value)
