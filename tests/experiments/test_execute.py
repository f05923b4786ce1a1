"""Whole runs on real parts: the shipped tiny CLIP, scikit-learn's digits, folders of pictures."""

import errno
import json
import math
import os
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from helpers.cli import run as run_cli
from helpers.packages import has_temperature
from helpers.runs import go, make_run, write_folder
from PIL import Image

from open_clip_mmrl import TrainConfig, read_adapter_info
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments import execute as execute_module
from open_clip_mmrl.experiments.execute import execute
from open_clip_mmrl.experiments.results import RunResult
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.experiments.score import percent
from open_clip_mmrl.hub.adapter_reading import read_adapter
from open_clip_mmrl.training.trainer import Trainer
from open_clip_mmrl.utils import folder_lock

KEYS = {
    "method", "model", "pretrained", "data", "protocol", "shots", "seed", "metrics", "zero_shot",
    "trainable_parameters", "train_seconds", "train_ms_per_image", "eval_images_per_second",
    "environment",
}  # fmt: skip


def test_base_to_novel_run_leaves_adapter_results_and_log(tmp_path):
    results = go(tmp_path)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written.keys() >= KEYS and written == results.to_json()
    assert results.protocol == "base-to-novel"
    for scores in (results.metrics, results.zero_shot):
        assert scores.keys() == {"base", "novel", "hm"}
        base, novel = scores["base"], scores["novel"]
        assert scores["hm"] == pytest.approx(2 * base * novel / (base + novel), abs=1e-3)
    for unknown in (results.unknown, results.unknown_zero_shot):  # the novel classes
        assert unknown.keys() == {"auroc", "fpr95"} and 50 < unknown["auroc"] < 100
    assert not results.calibrated
    assert "calibrate" not in json.loads((tmp_path / "run.json").read_text())
    assert results.train_images == 10
    info = read_adapter_info(tmp_path / "adapter.safetensors")
    assert info["class_names"] == ["zero", "one", "two", "three", "four"]
    assert info["template"] == "a photo of the digit {}."
    assert info["base"]["model"] == MODEL_NAME and info["base"]["pretrained"] == TAG
    assert info["scores"]["metrics"] == results.metrics
    origin = info["provenance"]
    assert origin["environment"] == results.environment.to_json() and origin["seed"] == 1
    images = json.loads((tmp_path / "run.json").read_text())["train_images"]
    assert origin["train_images"] == images and len(origin["run"]) == 16
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2
    assert not (tmp_path / "checkpoint.pt").exists()


def test_few_shot_run_scores_all_classes(tmp_path):
    results = go(tmp_path, classes="all", method="mmrl++", fusion="probabilities")
    assert results.protocol == "few-shot" and results.method == "mmrl++"
    assert results.metrics.keys() == results.zero_shot.keys() == {"accuracy"}
    assert results.train_images == 20


def test_the_same_seed_gives_the_same_adapter_file_and_scores(tmp_path):
    first, second = go(tmp_path / "a"), go(tmp_path / "b")
    assert first.metrics == second.metrics
    files = [(tmp_path / x / "adapter.safetensors").read_bytes() for x in "ab"]
    assert files[0] == files[1]


def test_a_finished_run_is_read_not_repeated(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    results = go(tmp_path)
    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("trained again"))
    assert go(tmp_path) == results
    assert "finished already" in caplog.text


def test_a_stopped_run_resumes_and_ends_the_same(tmp_path, monkeypatch):
    whole = go(tmp_path / "whole", train=TrainConfig(epochs=3, batch_size=5))
    end_of_epoch = Trainer._end_of_epoch

    def stop(self, epoch, *args):
        end_of_epoch(self, epoch, *args)
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_end_of_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "broken", train=TrainConfig(epochs=3, batch_size=5))
    monkeypatch.undo()
    assert (tmp_path / "broken" / "checkpoint.pt").is_file()
    resumed = go(tmp_path / "broken", train=TrainConfig(epochs=3, batch_size=5))
    assert resumed.metrics == whole.metrics
    files = [(tmp_path / x / "adapter.safetensors").read_bytes() for x in ("whole", "broken")]
    assert files[0] == files[1]


def test_a_resume_tells_of_images_that_an_earlier_version_may_have_seen_sideways(
    tmp_path, monkeypatch, caplog
):
    spec = write_folder(tmp_path / "data", {"one": 1, "two": 1})
    image, exif = tmp_path / "data" / "train" / "one" / "0.png", Image.Exif()
    exif[0x0112] = 6
    Image.open(image).save(image, exif=exif)
    given = {"data": spec, "classes": "all", "shots": 1, "test_split": "test"}
    monkeypatch.setattr(execute_module, "score_run", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", **given)
    monkeypatch.undo()
    settings = json.loads((tmp_path / "run" / "run.json").read_text())
    assert settings.pop("written_by")
    shutil.copytree(tmp_path / "run", tmp_path / "earlier")
    (tmp_path / "earlier" / "run.json").write_text(json.dumps(settings))
    for folder, told in (("run", False), ("earlier", True)):
        caplog.clear()
        go(tmp_path / folder, **given)
        assert ("which 1 of its training images have" in caplog.text) == told


def test_a_folder_of_another_run_is_refused_and_kept(tmp_path):
    go(tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    with pytest.raises(UsageError, match=r"other settings.*train\.seed: 1 there, 4 now.*another"):
        go(tmp_path, train=TrainConfig(epochs=2, batch_size=5, seed=4))
    assert (tmp_path / "results.json").read_bytes() == before


def test_a_folder_with_results_of_unknown_origin_is_refused(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UsageError, match=r"results\.json of unknown origin.*another folder"):
        go(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; give a folder"):
        go(tmp_path / "file")


def test_fewer_images_than_shots_are_all_used_with_a_warning(tmp_path, caplog):
    spec = write_folder(tmp_path / "data", {"one": 2, "two": 5, "three": 5, "four": 5})
    results = go(tmp_path / "run", data=spec, classes="all", shots=4, test_split="test")
    assert results.train_images == 2 + 3 * 4
    assert "1 of 4 classes have fewer than 4" in caplog.text and "one (2)" in caplog.text


def test_names_the_text_tower_cannot_tell_apart_are_noted(tmp_path, caplog):
    spec = write_folder(tmp_path / "data", {"one": 2, "two": 2})
    for part in ("train", "test"):
        (tmp_path / "data" / part / "two").rename(tmp_path / "data" / part / "One")
    go(tmp_path / "run", data=spec, classes="all", test_split="test")
    assert "'One' and 'one' read the same" in caplog.text


def test_an_unreadable_image_is_named_and_the_run_can_resume(tmp_path):
    spec = write_folder(tmp_path / "data", {"one": 3, "two": 3})
    broken = tmp_path / "data" / "train" / "two" / "0.png"
    good = broken.read_bytes()
    broken.write_bytes(good[:40])
    changes = {"data": spec, "classes": "all", "shots": 3, "test_split": "test"}
    with pytest.raises(ValueError, match=str(broken)):
        go(tmp_path / "run", **changes)
    broken.write_bytes(good)
    assert math.isfinite(go(tmp_path / "run", **changes).metrics["accuracy"])


def test_images_that_cannot_be_read_are_all_named_before_training(tmp_path, monkeypatch):
    spec = write_folder(tmp_path / "data", {"one": 3, "two": 3})
    broken = [tmp_path / "data" / name for name in ("train/two/0.png", "test/one/1.png")]
    for path in broken:
        path.write_bytes(b"no image")
    monkeypatch.setattr(Trainer, "fit", lambda *_: pytest.fail("it was trained"))
    target = write_folder(tmp_path / "target", {"one": 1, "two": 1})
    broken.append(tmp_path / "target" / "test" / "two" / "2.png")
    broken[-1].write_bytes(b"no image")
    changes = {"data": spec, "classes": "all", "shots": 3, "test_split": "test"}
    with pytest.raises(ValueError, match="3 of 18 images cannot be read") as error:
        go(tmp_path / "run", targets=(target,), **changes)
    assert all(str(path) in str(error.value) for path in broken)


def test_long_class_names_are_refused_before_training(tmp_path):
    spec = write_folder(tmp_path / "data", {"one": 2, "two": 2})
    name = "a_very_long_class_name_" * 8
    for part in ("train", "test"):
        (tmp_path / "data" / part / "two").rename(tmp_path / "data" / part / name)
    with pytest.raises(ValueError, match=r"longer than the model's context.*shorten"):
        go(tmp_path / "run", data=spec, classes="all", test_split="test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shots": 10**20}, "whole number of more than 63 bits"),
        ({"template": "a photo of a {}" + " " * 1000}, "template is no text of at most 1,000"),
        ({"data_root": os.fsdecode(b"\xff")}, "text that is no Unicode"),
    ],
)
def test_what_no_adapter_can_hold_is_refused_before_training(
    tmp_path, monkeypatch, changes, message
):
    monkeypatch.setattr(Trainer, "fit", None)
    with pytest.raises(ValueError, match=f"adapter.safetensors could not be written.*{message}"):
        go(tmp_path, **changes)


def test_a_damaged_adapter_is_not_used_by_another_run(tmp_path, caplog):
    """It is trained again, as the digest in its header tells."""
    go(tmp_path / "first")
    adapter = tmp_path / "first" / "adapter.safetensors"
    content = adapter.read_bytes()
    adapter.write_bytes(content[:-9] + bytes([content[-9] ^ 64]) + content[-8:])
    run, runtime = make_run(fusion="probabilities"), Runtime(device="cpu", quiet=True)
    result = execute(run, tmp_path / "second", runtime, reuse_from=[tmp_path / "first"])
    assert result.trained_in is None and "first/adapter.safetensors is damaged" in caplog.text


def test_no_validation_images_is_an_error(tmp_path):
    spec = write_folder(tmp_path / "data", {"one": 2, "two": 2})
    with pytest.raises(ValueError, match="no val images"):
        go(tmp_path / "run", data=spec, classes="all")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "ViT-B-61"}, "no model 'ViT-B-61'.*Did you mean"),
        ({"model": "RN50"}, "RN50 does not support.*ResNet"),
        ({"model": "ViT-B-16", "pretrained": None}, "needs the weights.*openai"),
        ({"model": "ViT-B-16", "pretrained": "opanai"}, "neither a tag.*Did you mean openai"),
        ({"data": "digit"}, "unknown data 'digit'.*digits"),
        ({"method": "mrl"}, "method is 'mrl'"),
        ({"classes": "novel"}, "classes is 'novel'"),
        ({"pretrained": "random"}, "neither a tag"),
        ({"test_split": "train"}, "test_split is 'train'"),
        ({"settings": {"rep_dims": 3}}, "no field 'rep_dims'.*rep_dim"),
        ({"settings": {"start_layer": 9}}, "start_layer is 9.*1 to 6"),
    ],
)
def test_wrong_names_and_settings_are_usage_errors(tmp_path, changes, message):
    with pytest.raises(UsageError, match=f"(?s){message}"):
        go(tmp_path / "run", **changes)
    assert not (tmp_path / "run" / "results.json").exists()


def test_the_demo_recipe_is_run_for_every_seed_and_drawn(tmp_path, monkeypatch):
    from open_clip_mmrl.cli import demo
    from open_clip_mmrl.experiments import recipes

    short = recipes.Recipe({"start_layer": 5, "rep_dim": 8}, TrainConfig(epochs=1, batch_size=16))
    monkeypatch.setattr(recipes, "demo", lambda variant: short)
    runtime = Runtime(device="cpu", quiet=True)
    rows = demo.run_demo(tmp_path, runtime, seeds=(1, 2))
    assert [row.method for row in rows] == ["frozen CLIP", "MMRL", "MMRL++"]
    assert [row.base.seeds for row in rows[1:]] == [2, 2]
    assert len(list(tmp_path.glob("*/results.json"))) == 4
    with Image.open(tmp_path / demo.FIGURE) as image:
        assert np.asarray(image).std() > 5


def test_a_changed_data_set_is_noticed(tmp_path):
    spec = write_folder(tmp_path / "data", {"one": 3, "two": 3})
    changes = {"data": spec, "classes": "all", "shots": 3, "test_split": "test"}
    go(tmp_path / "run", **changes)
    (tmp_path / "data" / "train" / "one" / "0.png").unlink()
    with pytest.raises(UsageError, match=r"train_images, a digest.*: .* there, .* now"):
        go(tmp_path / "run", **changes)


def test_a_run_without_its_adapter_is_not_finished(tmp_path):
    first = go(tmp_path)
    (tmp_path / "adapter.safetensors").unlink()
    assert go(tmp_path).metrics == first.metrics
    assert (tmp_path / "adapter.safetensors").is_file()


def test_damaged_settings_of_a_run_are_named(tmp_path):
    go(tmp_path)
    (tmp_path / "run.json").write_text("")
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        go(tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_one_line_with_and_without_workers(tmp_path, workers):
    spec = write_folder(tmp_path / "data", {"one": 2, "two": 2})
    broken = tmp_path / "data" / "train" / "two" / "0.png"
    broken.write_bytes(broken.read_bytes()[:60])  # the header is whole
    run = make_run(data=spec, classes="all", test_split="test")
    with pytest.raises(ValueError, match=str(broken)) as error:
        execute(run, tmp_path / "run", Runtime(device="cpu", quiet=True, workers=workers))
    assert "Traceback" not in str(error.value)


def test_a_folder_where_nothing_was_computed_may_be_taken(tmp_path):
    with pytest.raises(UsageError, match="start_layer is 9"):
        go(tmp_path, settings={"start_layer": 9})
    assert go(tmp_path).protocol == "base-to-novel"


@pytest.mark.parametrize("epochs", [2, 3])
def test_diverged_training_leaves_no_adapter_and_no_results(tmp_path, epochs):
    changes = {"train": TrainConfig(epochs=epochs, batch_size=10, lr=1e20)}
    for _ in range(2):  # given again, it does not go on from what is broken
        with pytest.raises(ValueError, match=r"diverged.* in epoch 1 .*learning rate \(1e\+20\)"):
            go(tmp_path, **changes)
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"run.json", "log.jsonl", "checkpoint.pt", ".lock"}


def test_a_result_no_better_than_frozen_clip_is_noted(tmp_path, caplog):
    result = go(tmp_path, train=TrainConfig(epochs=2, batch_size=10, lr=1e9))
    assert result.is_no_better_than_frozen
    assert "no better than frozen CLIP on the val images of digits" in caplog.text
    assert result.compared in caplog.text and "learning rate (1000000000.0)" in caplog.text


def test_a_finished_folder_may_be_read_only(tmp_path, monkeypatch):
    result = go(tmp_path)
    before = sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.iterdir())
    read_only = OSError(errno.EROFS, "Read-only file system")
    for name in ("write_atomically", "lock_folder"):
        monkeypatch.setattr(execute_module, name, lambda *_: pytest.fail("it was written to"))
    for name in ("unlink", "mkdir", "touch", "rename"):
        monkeypatch.setattr(Path, name, Mock(side_effect=read_only))
    assert go(tmp_path) == result
    monkeypatch.undo()
    assert sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.iterdir()) == before


def test_a_folder_in_which_another_process_works_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock, "_SECONDS", 0)
    with folder_lock.lock_folder(tmp_path):
        before = {p.name for p in tmp_path.iterdir()}
        with pytest.raises(UsageError, match=f"process {os.getpid()} on .* works in {tmp_path}"):
            go(tmp_path)
        assert {p.name for p in tmp_path.iterdir()} == before
    go(tmp_path)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_the_checkpoint_of_another_run_is_refused(tmp_path, monkeypatch):
    """As after two commands that worked in one folder at once, with an earlier version."""
    for seed in (1, 2):
        monkeypatch.setattr(execute_module, "_write", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / str(seed), train=TrainConfig(epochs=2, batch_size=5, seed=seed))
    monkeypatch.undo()
    (tmp_path / "1" / "checkpoint.pt").replace(tmp_path / "2" / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"2/checkpoint\.pt belongs to a run with other settings"):
        go(tmp_path / "2", train=TrainConfig(epochs=2, batch_size=5, seed=2))


@has_temperature
def test_a_run_that_calibrates_tells_how_sure_to_be(tmp_path):
    result = go(tmp_path / "run", calibrate=True, shots=8)
    assert result.train_images == 5 * 6
    for found in (result.calibrated, result.calibrated_zero_shot):
        assert found["held_back"] == 10 and found["confidence_level"] == 90
        assert found["ece"] < 100 and 0 < found["coverage"] <= 100 and found["set_size"] <= 5
    calibration = read_adapter(tmp_path / "run" / "adapter.safetensors").calibration
    assert calibration.held_back == "shots" and len(calibration.max_softmax) == 10
    assert percent(calibration.temperature["logits"]) == result.calibrated["temperature"]
    assert RunResult.read(tmp_path / "run" / "results.json") == result
    settings = json.loads((tmp_path / "run" / "run.json").read_text())
    assert settings["calibrate"] is True and result.generalized_rule == "centered"
    command = ["eval", "--adapter", tmp_path / "run", "--data", "digits", "--json", "--quiet"]
    for options, rule in (([], "centered"), (["--seen-offset", "1e9"], "mixed")):
        found = json.loads(run_cli(*command, "--split", "val", *options)[2].stdout)
        assert found["features"] == rule
        base = [one["recall"] for one in list(found["per_class"].values())[:5]]
        ours = result.generalized["seen"] if rule == "centered" else 0
        assert sum(base) / 5 == pytest.approx(ours, abs=8)  # classes differ in images
    with pytest.raises(UsageError, match=r"calibrate: True there, None now"):
        go(tmp_path / "run", shots=8)
