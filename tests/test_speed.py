"""The measuring itself, on the shipped tiny model: what is counted, and that it adds up."""

import json
import os
import sys
from dataclasses import replace
from functools import partial

import pytest
from test_cli import run

from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.memory import peak_bytes
from open_clip_mmrl.speed import (
    OURS,
    REFERENCE,
    Bench,
    SpeedSettings,
    _count,
    class_names,
    measure,
    step_memory,
)

TINY = SpeedSettings(
    model=MODEL_NAME, classes=6, batch_size=2, eval_batch_size=3, repeats=1, device="cpu",
    memory=False,
)  # fmt: skip


def test_operations_of_the_reference_grow_by_the_same_with_every_class():
    """The two-point count is the full count."""
    bench = Bench(TINY)
    assert bench.operations(REFERENCE) == _count(bench.train_step(REFERENCE))
    assert 0 < bench.operations(OURS) < bench.operations(REFERENCE)


def test_measure_fills_every_figure():
    result = measure(TINY)
    train, scored = result["train_step"], result["eval"]
    assert train["seconds"] > 0 and train["reference_seconds"] > 0
    assert train["operations"] < train["reference_operations"]
    assert train["floor_seconds"] == pytest.approx(
        train["operations"] / result["matrix_product_rate"]
    )
    assert train["peak_bytes"] is None
    assert all(value > 0 for value in scored.values())
    assert result["settings"]["classes"] == 6 and result["settings"]["device"] == "cpu"
    json.dumps(result, allow_nan=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_is_of_a_process_of_its_own():
    """300 prompts of about 6 rows, 64 wide, keep dozens of values per number: tens of MB."""
    assert 10e6 < step_memory(replace(TINY, classes=300), OURS) < 1e9


def test_names_are_those_of_real_classes():
    assert class_names(1001)[1000] == class_names(1)[0]
    assert len(set(class_names(500))) > 490


@pytest.mark.parametrize("field", ["repeats", "classes", "batch_size"])
def test_nothing_to_measure_is_said(field):
    with pytest.raises(UsageError, match="1 or more"):
        measure(SpeedSettings(**{field: 0}))


def test_command_prints_a_table_or_json_and_draws_a_sweep(tmp_path, monkeypatch):
    from open_clip_mmrl import speed

    base = ["speed", "--model", MODEL_NAME, "--classes", 4, "--batch-size", 2, "--repeats", 1]
    base += ["--eval-batch-size", 2, "--no-memory", "--device", "cpu"]
    code, text, _ = run(*base, "--method", "mmrl++")
    assert code == 0 and "reference / ours" in text and "mmrl++" in text
    code, _, result = run(*base, "--json", "--no-reference")
    found = json.loads(result.stdout)
    assert code == 0 and found["train_step"]["reference_seconds"] is None
    assert found["train_step"]["reference_operations"] > 0
    monkeypatch.setattr(speed.sweep, "__defaults__", ((3, 5), 3, lambda text: None))
    code, text, _ = run(*base, "--sweep", "--output", tmp_path, "--largest-reference", 3)
    assert code == 0, text
    rows = json.loads((tmp_path / "speed.json").read_text())
    assert [row["settings"]["classes"] for row in rows] == [3, 5]
    assert [row["train_step"]["reference_seconds"] is None for row in rows] == [False, True]
    assert (tmp_path / "speed.png").stat().st_size > 5000


def test_a_process_that_dies_is_said():
    with pytest.raises(RuntimeError, match=r"memory of nothing ended early.*text_chunk_size"):
        peak_bytes(partial(os._exit, 3), "nothing")
