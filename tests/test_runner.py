"""Many runs on real parts: resumed, failing, sharing their training, side by side."""

import json

import pytest

from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.plan import Wanted, plan
from open_clip_mmrl.runner import run_all, unfinished
from open_clip_mmrl.runs import Runtime
from open_clip_mmrl.trainer import Trainer

FAST = {"epochs": 1, "batch_size": 16, "start_layer": 6, "rep_dim": 8}


def planned(protocol="base-to-novel", **changes):
    values = {
        "model": MODEL_NAME,
        "pretrained": None,
        "datasets": ["digits"],
        "seeds": (1,),
        "shots": (2,),
        "overrides": FAST,
        "test_split": "val",
    }
    return plan(Wanted(protocol=protocol, **{**values, **changes}))


def go(items, output, notes=None, jobs=1):
    say = (notes if notes is not None else []).append
    return run_all(items, output, Runtime(device="cpu", quiet=True, say=say), jobs)


def results(output, item):
    return json.loads((output / item.folder / "results.json").read_text())


def test_every_method_of_base_to_novel(tmp_path):
    items, notes = planned(), []
    outcomes = go(items, tmp_path, notes)
    assert [o.error for o in outcomes] == [None] * 4 and not unfinished(items, tmp_path)
    assert "[1/4] base-to-novel/digits/zeroshot: base " in notes[0] and "left)" in notes[0]
    zeroshot, probe, mmrl, _ = (results(tmp_path, item) for item in items)
    assert zeroshot["metrics"] == mmrl["zero_shot"] == probe["zero_shot"]
    assert zeroshot["trainable_parameters"] == 0 and zeroshot["method"] == "zeroshot"
    assert probe["metrics"]["novel"] is None and probe["metrics"]["base"] > 50
    assert probe["trainable_parameters"] == 5 * 65 and probe["regularisation"]["C"] > 0
    assert mmrl["dataset"] == "digits" and mmrl["settings_source"] == "fixed"
    assert mmrl["sizes"] == {
        "classes": 10, "train": 500, "val": 500, "test": 797, "paper_split": None,
    }  # fmt: skip


def test_few_shot_linear_probe_knows_all_classes(tmp_path):
    (item,) = planned("few-shot", methods=["linear_probe"], shots=(4,))
    go([item], tmp_path)
    found = results(tmp_path, item)
    assert found["metrics"]["accuracy"] > found["zero_shot"]["accuracy"]
    assert len(found["per_class"]["all"]) == 10


def test_finished_runs_are_not_repeated(tmp_path, monkeypatch):
    items = planned(methods=["mmrl"])
    go(items, tmp_path)
    before = results(tmp_path, items[0])
    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("trained again"))
    assert go(items, tmp_path)[0].metrics == before["metrics"]


def test_one_failing_run_does_not_stop_the_others(tmp_path):
    items = planned(datasets=["folder:nowhere", "digits"], methods=["mmrl"])
    notes = []
    outcomes = go(items, tmp_path, notes)
    assert [bool(o.error) for o in outcomes] == [True, False]
    assert "FAILED: " in notes[0] and "nowhere" in notes[0]
    assert [str(i.folder) for i in unfinished(items, tmp_path)] == [str(items[0].folder)]


def test_equal_training_is_done_once(tmp_path, monkeypatch):
    trained = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self: trained.append(1) or fit(self))
    items = planned("ablation", sweeps=["variant", "regularizer"])
    outcomes = go(items, tmp_path)
    assert not [o.error for o in outcomes if o.error]
    assert len(trained) == 5 + 2  # full, L, V, RS, dagger; l1, mse (cosine is full)
    by_value = {i.run.ablation["value"]: results(tmp_path, i) for i in items}
    full, ds1, ds2 = (by_value[v] for v in ("full", "w/o DS1", "w/o DS2"))
    assert ds1["trained_in"] == "../../variant-full/2-shots-seed1"
    assert ds1["metrics"]["novel"] == full["metrics"]["novel"]
    assert ds2["metrics"]["base"] == full["metrics"]["base"]
    assert by_value["cosine"]["metrics"] == full["metrics"]
    assert by_value["w/o V"]["metrics"] != full["metrics"]


def test_transfer_is_trained_once_and_tested_on_every_target_that_is_there(tmp_path):
    (item,) = planned(
        "cross-dataset", source="digits", datasets=["scrawl", "dtd"], methods=["mmrl"],
        data_root=str(tmp_path), test_split="test",
    )  # fmt: skip
    notes = []
    assert go([item], tmp_path / "out", notes)[0].error is None
    found = results(tmp_path / "out", item)
    assert found["targets"]["scrawl"].keys() == {"accuracy", "zero_shot", "beta", "sizes"}
    assert "no folder" in found["targets"]["dtd"]["missing"]
    assert any("dtd is left out" in note for note in notes)
    assert (tmp_path / "out" / item.folder / "targets" / "scrawl.json").is_file()


def test_a_target_that_has_come_since_is_tested_without_training(tmp_path, monkeypatch):
    from data.trees import write_tree

    (item,) = planned(
        "cross-dataset", source="digits", datasets=["dtd"], methods=["mmrl"],
        data_root=str(tmp_path), test_split="test",
    )  # fmt: skip
    go([item], tmp_path / "out")
    metrics = results(tmp_path / "out", item)["metrics"]
    write_tree(tmp_path, "dtd")
    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("trained again"))
    assert go([item], tmp_path / "out")[0].error is None
    found = results(tmp_path / "out", item)
    assert found["targets"]["dtd"]["sizes"]["paper_split"] is False
    assert found["metrics"] == metrics


def test_side_by_side_gives_the_same_as_one_by_one(tmp_path):
    items = planned(methods=["zeroshot", "mmrl"])
    alone, notes = go(items, tmp_path / "alone"), []
    both = go(items, tmp_path / "both", notes, jobs=2)
    by_folder = {o.planned.folder: o.metrics for o in both}
    assert by_folder == {o.planned.folder: o.metrics for o in alone}
    assert len(notes) == 2
