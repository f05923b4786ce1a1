"""Run folders written before results.json had a format_version are kept."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.experiments import execute as execute_module
from open_clip_mmrl.experiments.execute import execute
from open_clip_mmrl.experiments.experiment import Experiment
from open_clip_mmrl.experiments.protocols import plan
from open_clip_mmrl.experiments.run_spec import Runtime

VERSION_1 = Path(__file__).parents[1] / "fixtures" / "v1"
AS_GIVEN = {"precision": "fp32", "augment": "classic"}  # the command line always gives both
SHORT = {"epochs": 1, **AS_GIVEN}
SMALL = {"epochs": 1, "start_layer": 2, "rep_dim": 8, **AS_GIVEN}


def planned(protocol, method, **changes):
    values = {"datasets": ["digits"], "seeds": (1,), "settings": "demo", "overrides": AS_GIVEN}
    experiment = Experiment(
        protocol=protocol,
        model=MODEL_NAME,
        pretrained=None,
        methods=[method],
        **{**values, **changes},
    )
    return plan(experiment)[-1]


def without_beta(item):
    """As that version planned it: the demo's MMRL++ had the method's own."""
    settings = {name: value for name, value in item.run.settings.items() if name != "beta"}
    return replace(item, run=replace(item.run, settings=settings))


TRANSFER = {
    "source": "digits", "datasets": ["scrawl", "dtd"], "data_root": "data", "settings": "fixed",
    "shots": (2,), "overrides": SMALL,
}  # fmt: skip
RUNS = {
    "base-to-novel-mmrl": planned("base-to-novel", "mmrl"),
    "base-to-novel-zeroshot": planned("base-to-novel", "zeroshot"),
    "base-to-novel-linear_probe": planned("base-to-novel", "linear_probe"),
    "few-shot-mmrlpp": without_beta(
        planned("few-shot", "mmrl++", shots=(2,), overrides=SHORT)
    ),
    "ablation-w_o_DS1": planned(
        "ablation", "mmrl", sweeps=["variant"], values=["full", "w/o DS1"], shots=(2,),
        settings="fixed", overrides=SMALL,
    ),
    "validation-mmrlpp": planned(
        "base-to-novel", "mmrl++", settings="validation", shots=(4,), overrides=SMALL
    ),
    "cross-dataset-mmrl": planned("cross-dataset", "mmrl", **TRANSFER),
    "cross-dataset-linear_probe": planned("cross-dataset", "linear_probe", **TRANSFER),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_the_same_command_keeps_a_finished_run(name, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)  # the data root of a missing target is relative
    monkeypatch.setattr(
        execute_module, "build_for_training", lambda *_, **__: pytest.fail("computed again")
    )
    folder = tmp_path / "run"
    shutil.copytree(VERSION_1 / name, folder)
    shutil.copy(VERSION_1 / "adapter_mmrl.safetensors", folder / "adapter.safetensors")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    result = execute(RUNS[name].run, folder, Runtime(device="cpu", quiet=True))
    assert "finished already" in caplog.text
    assert result.metrics == json.loads((folder / "results.json").read_text())["metrics"]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
