"""Result files: strict JSON, whole or not there."""

import json
import math

import pytest
import torch
from helpers.upstream import eval_args, mended

from benchmark_adapters import seam
from benchmark_adapters.repairs.result_json import result_file, strict


def test_a_result_is_strict_json_with_what_was_added(tmp_path):
    path, extra = tmp_path / "new" / "folder" / "x.json", {"model_type": "mmrl"}
    with result_file(path, extra) as partial:
        assert partial.exists() and not path.exists()
        partial.write_text('{"metrics": {"acc5": NaN, "curve": [1.5, Infinity]}, "n": 3}')
        extra["skipped_images"] = 2
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]
    found = json.loads(path.read_text())
    assert found == {
        "metrics": {"acc5": None, "curve": [1.5, None]},
        "n": 3,
        "model_type": "mmrl",
        "skipped_images": 2,
    }


def test_strict_changes_nothing_else():
    value = {"a": [1, 2.5, "NaN", True, None], "b": {"c": -float("inf")}}
    assert strict(value) == {"a": [1, 2.5, "NaN", True, None], "b": {"c": None}}


def interrupted(path):
    with result_file(path, {}) as partial:
        partial.write_text('{"metrics"')
        raise KeyboardInterrupt


def test_a_failure_keeps_the_earlier_result(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("earlier")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert path.read_text() == "earlier" and len(list(tmp_path.iterdir())) == 1


def test_no_metrics_are_never_written(tmp_path):
    path = tmp_path / "x.json"
    with (
        pytest.raises(ValueError, match=r"gave no metrics; .*x\.json is not written"),
        result_file(path, {}) as partial,
    ):
        partial.write_text('{"metrics": null}')
    assert not list(tmp_path.iterdir())


def test_unwritable_output_fails_before_the_evaluation(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x.json", tmp_path / f"{'x' * 250}.json"):
        with pytest.raises(ValueError, match=r"cannot write .*\.json: "), result_file(path, {}):
            raise AssertionError("evaluated")


def test_clip_benchmark_writes_nan(tmp_path, monkeypatch):
    class Data(list):
        classes, templates = ["cat", "dog"], ["a {c}"]

    def evaluate(*args, **kwargs):
        return {"acc1": 0.5, "acc5": math.nan}

    parts = {"build_dataset": lambda **_: Data(), "load_clip": lambda **_: (torch.nn.Module(),) * 3}
    for name, part in parts.items():
        monkeypatch.setattr(f"clip_benchmark.cli.{name}", part)
    monkeypatch.setattr("clip_benchmark.metrics.zeroshot_classification.evaluate", evaluate)
    output = tmp_path / "x.json"
    seam.original(seam.CLI, "run")(eval_args(dataset="x", output=str(output), verbose=False))
    assert "NaN" in output.read_text(), mended("result_json")
