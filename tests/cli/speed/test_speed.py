"""The measurement on the shipped tiny model: what is counted, and that the numbers agree."""

import json
import os
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from helpers.cli import run
from helpers.cuda_graph import Recorder

from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.cli.speed import bench as bench_module
from open_clip_mmrl.cli.speed import measure as measure_module
from open_clip_mmrl.cli.speed import settings as settings_module
from open_clip_mmrl.cli.speed.bench import OPEN_CLIP, OURS, REFERENCE, Bench, count_operations
from open_clip_mmrl.cli.speed.measure import measure, step_memory
from open_clip_mmrl.cli.speed.peak_memory import peak_bytes
from open_clip_mmrl.cli.speed.render import speed_text
from open_clip_mmrl.cli.speed.settings import SpeedSettings, class_names
from open_clip_mmrl.config import PRECISIONS
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.training.cuda_graph import GraphedStep
from open_clip_mmrl.training.step import TrainingStep

TINY = SpeedSettings(
    model=MODEL_NAME, classes=6, batch_size=2, eval_batch_size=3, repeats=1, device="cpu",
    memory=False,
)  # fmt: skip


def test_operations_of_the_reference_grow_by_the_same_with_every_class():
    """The two-point count is the full count."""
    bench = Bench(TINY)
    step = partial(bench.train_step(REFERENCE), *bench.batch(TINY.classes))
    assert bench.operations(REFERENCE) == count_operations(step)
    assert 0 < bench.operations(OURS) < bench.operations(REFERENCE)


def test_every_number_is_measured_and_they_agree():
    found = measure(TINY)
    result = found.to_json()
    train, scored = result["train_step"], result["eval"]
    assert train["seconds"] > 0 and train["reference_seconds"] > 0
    assert train["operations"] < train["reference_operations"]
    assert train["floor_seconds"] == pytest.approx(
        train["operations"] / result["matrix_product_rate"]
    )
    assert train["operations_per_second"] * train["seconds"] == pytest.approx(train["operations"])
    share = train["floor_seconds"] / train["seconds"]
    assert train["share_of_matrix_product_rate"] == pytest.approx(share)
    assert f"{share:.0%} of cpu's matrix products in the same precision" in speed_text(found)
    assert train["peak_bytes"] is None and result["notes"] == []
    assert all(value > 0 for value in scored.values())
    assert result["settings"]["classes"] == 6 and result["settings"]["device"] == "cpu"
    json.dumps(result, allow_nan=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_is_measured_in_a_separate_process():
    """300 prompts of about 6 rows, 64 wide, keep dozens of values per number: tens of MB."""
    assert 10e6 < step_memory(replace(TINY, classes=300), OURS) < 1e9


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_runs_everywhere(precision):
    bench = Bench(replace(TINY, precision=precision))
    trained, _ = bench.train_seconds((OURS, REFERENCE))
    scored = {which: bench.eval_step(which) for which in (OURS, REFERENCE, OPEN_CLIP)}
    for found in (trained, bench.seconds(scored)):
        assert all(value > 0 for value in found.values())


@pytest.mark.parametrize("precision", ["amp_bf16", "bf16"])
def test_ours_runs_on_weights_in_half_and_the_others_on_their_own(precision):
    """So the reference pays for conversions as it is written."""
    bench = Bench(replace(TINY, precision=precision))
    models = [bench.train_step(which).task.model for which in (OURS, REFERENCE)]
    assert [m.visual.conv1.weight.dtype for m in models] == [torch.bfloat16, torch.float32]


def test_a_recorded_step_is_timed_after_its_recording(monkeypatch):
    """With plain calls instead of CUDA's."""
    recorder = Recorder()

    class PlainGraph(GraphedStep):
        @classmethod
        def of(cls, step):
            assert isinstance(step, TrainingStep)  # the product's own
            device, options = step.device, {"warm_up": recorder.warm_up, "record": recorder.record}
            return GraphedStep(step, lambda: step.task.classes, device, **options)

    monkeypatch.setattr(settings_module, "check_graph", lambda precision, device: None)
    monkeypatch.setattr(bench_module, "GraphedStep", PlainGraph)
    found = measure(replace(TINY, cuda_graph=True, repeats=2))
    assert recorder.calls == ["warm up"] * 3 + ["record"] + ["replay"] * 3
    assert found.train_step.operations > 0 and found.notes == ()
    assert "as a CUDA graph" in speed_text(found)


def test_names_are_those_of_real_classes():
    assert class_names(1001)[1000] == class_names(1)[0]
    assert len(set(class_names(500))) > 490


@pytest.mark.parametrize("field", ["repeats", "classes", "batch_size"])
def test_sizes_are_1_or_more(field):
    with pytest.raises(UsageError, match=f"{field} is 0.*1 or more"):
        SpeedSettings(**{field: 0})


def test_command_prints_a_table_or_json_and_draws_a_sweep(tmp_path, monkeypatch):
    base = ["speed", "--model", MODEL_NAME, "--classes", 4, "--batch-size", 2, "--repeats", 1]
    base += ["--eval-batch-size", 2, "--no-memory", "--device", "cpu"]
    code, text, _ = run(*base, "--method", "mmrl++")
    assert code == 0 and "reference / ours" in text and "mmrl++" in text
    assert "10^9 operations per second" in text
    code, text, _ = run(*base, "--cuda-graph")
    assert code == 2 and "--cuda-graph needs CUDA" in text
    code, _, result = run(*base, "--json", "--no-reference")
    found = json.loads(result.stdout)
    assert code == 0 and found["train_step"]["reference_seconds"] is None
    assert found["train_step"]["reference_operations"] > 0
    monkeypatch.setattr(measure_module, "SWEEP", (3, 5))
    code, text, _ = run(*base, "--sweep", "--output", tmp_path, "--largest-reference", 3)
    assert code == 0, text
    rows = json.loads((tmp_path / "speed.json").read_text())
    assert [row["settings"]["classes"] for row in rows] == [3, 5]
    assert [row["train_step"]["reference_seconds"] is None for row in rows] == [False, True]
    assert (tmp_path / "speed.png").stat().st_size > 5000


def test_a_process_that_dies_is_reported():
    with pytest.raises(RuntimeError, match=r"memory of nothing ended early.*text_chunk_size"):
        peak_bytes(partial(os._exit, 3), "nothing")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_device_is_named_before_a_process_starts():
    with pytest.raises(UsageError, match="PyTorch finds no CUDA device here"):
        measure(SpeedSettings(model=MODEL_NAME, device="cuda"))
    with pytest.raises(UsageError, match="--cuda-graph needs CUDA"):
        measure(SpeedSettings(model=MODEL_NAME, device="cpu", cuda_graph=True))
