"""The shell's commands, in process: output, files and exit codes."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.cli import run
from helpers.packages import has_temperature
from helpers.runs import write_folder

from open_clip_mmrl import __version__
from open_clip_mmrl.assets import MODEL_NAME

TRAIN = ["--data", "digits", "--shots", 2, "--epochs", 1, "--batch-size", 8, "--quiet"]
TRAIN += ["--device", "cpu", "--test-split", "val", "--rep-dim", 8, "--no-probe"]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """An adapter for zero .. four on the shipped model."""
    folder = tmp_path_factory.mktemp("run")
    code, text, _ = run("train", *TRAIN, "--classes", "base", "--output", folder)
    assert code == 0, text
    assert "frozen CLIP" in text and "base" in text and "novel" in text and "HM" in text
    assert "trained parameters" in text and "adapter.safetensors" in text
    return folder / "adapter.safetensors"


def test_train_writes_the_run(adapter):
    results = json.loads((adapter.parent / "results.json").read_text())
    assert results["model"] == f"mmrl-{MODEL_NAME}"
    assert results["train"]["batch_size"] == 8 and results["config"]["rep_dim"] == 8


@pytest.mark.parametrize(
    ("options", "model", "variant"),
    [
        (["--model", f"mmrlpp-{MODEL_NAME}"], f"mmrlpp-{MODEL_NAME}", "mmrl++"),
        (["--model", MODEL_NAME, "--method", "mmrl++"], f"mmrlpp-{MODEL_NAME}", "mmrl++"),
        (["--precision", "amp_bf16", "--no-flip"], f"mmrl-{MODEL_NAME}", "mmrl"),
    ],
)
def test_train_takes_names_methods_and_settings(tmp_path, options, model, variant):
    code, text, _ = run("train", *TRAIN, *options, "--output", tmp_path)
    assert code == 0, text
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["model"], results["method"]) == (model, variant)
    assert results["metrics"].keys() == {"accuracy"}


def test_train_tells_of_the_data_before_it_trains(tmp_path):
    spec = write_folder(tmp_path / "data", {"one": 2, "two": 3})
    train = ["train", "--data", spec, "--shots", 2, "--epochs", 1, "--rep-dim", 8]
    code, _, result = run(*train, "--device", "cpu", "--output", tmp_path / "run")
    assert code == 0
    for told in (
        "2 classes; images: 5 train, 0 val, 6 test",
        "one 2, two 3",
        "trained on: 4 images of 2 classes (2 each)",
        "1 epoch, 1 step of 32 images, on cpu in fp32",
    ):
        assert told in result.stderr and told not in result.stdout


@pytest.mark.parametrize("classes", ["all", "base"])
def test_train_compares_with_a_linear_probe_and_tells_what_is_confused(tmp_path, classes):
    command = ["train", *TRAIN, "--classes", classes]
    for choice in ("--probe", "--no-probe"):
        code, text, result = run(*command, choice, "--output", tmp_path / choice)
        assert code == 0 and "balanced accuracy" in text and text.count(" taken for ") == 3
        rows = [line.split() for line in result.stdout.splitlines() if "  linear probe" in line]
        assert len(rows) == (choice == "--probe")
        for row in rows:
            assert 0 < float(row[2]) <= 100 and row[3:] == ["-", "-"] * (classes == "base")
    files = [tmp_path / choice / "adapter.safetensors" for choice in ("--probe", "--no-probe")]
    assert files[0].read_bytes() == files[1].read_bytes()
    found = [json.loads(file.with_name("results.json").read_text()) for file in files]
    assert found[0]["metrics"] == found[1]["metrics"] and "linear_probe" not in found[1]
    assert found[0]["linear_probe"].keys() == found[0]["metrics"].keys()
    again = run(*command, "--probe", "--output", tmp_path / "--probe")[2]
    assert "  linear probe" in again.stdout  # of the results, as all of a finished run


def test_train_sets_any_field(tmp_path):
    fields = ["--set", "warmup_lr=0.5", "--set", "regularizer=l1", "--set", "flip=false"]
    code, text, _ = run("train", *TRAIN, *fields, "--output", tmp_path)
    assert code == 0, text
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["train"]["warmup_lr"], results["train"]["flip"]) == (0.5, False)
    assert results["config"]["regularizer"] == "l1"


def test_crops_by_batch_and_images_read_anew_train_as_well(tmp_path):
    code, text, _ = run(
        "train", *TRAIN, "--augment", "device", "--cache-gb", 0, "--output", tmp_path
    )
    assert code == 0, text
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["train"]["augment"] == "device"


def test_eval_auto_takes_both_features_for_seen_classes(adapter):
    command = ["eval", "--adapter", adapter, "--data", "digits", "--split", "val", "--quiet"]
    code, text, _ = run(*command, "--classes", "base")
    assert code == 0 and "both features: all 5 classes were seen in training" in text
    code, text, _ = run(*command, "--classes", "novel")
    assert code == 0 and "class feature: none of the 5 classes was seen" in text


def test_eval_agrees_with_the_run_that_trained(adapter):
    trained = json.loads((adapter.parent / "results.json").read_text())
    command = ["eval", "--adapter", adapter, "--data", "digits", "--split", "val", "--json"]
    for half in ("base", "novel"):
        code, _, result = run(*command, "--classes", half, "--quiet")
        assert code == 0
        found = json.loads(result.stdout)
        assert found["accuracy"] == trained["metrics"][half]
        assert found["zero_shot"] == trained["zero_shot"][half]


def test_eval_of_seen_and_new_classes_scores_each_by_its_features(adapter):
    trained = json.loads((adapter.parent / "results.json").read_text())
    command = ["eval", "--adapter", adapter, "--data", "digits", "--split", "val", "--quiet"]
    code, text, _ = run(*command)
    assert code == 0
    assert "both features for the 5 of 10 classes seen" in text and "5 new ones (five, " in text
    code, _, result = run(*command, "--json")
    found = json.loads(result.stdout)
    seen, unseen = trained["generalized"]["seen"], trained["generalized"]["unseen"]
    assert code == 0 and found["features"] == "mixed"
    assert min(seen, unseen) <= found["accuracy"] <= max(seen, unseen)


def test_eval_shows_classes_and_confusions_and_writes_them(adapter, tmp_path):
    command = ["eval", "--adapter", adapter, "--data", "digits", "--split", "val", "--quiet"]
    output = tmp_path / "page"
    code, text, _ = run(*command, "--classes", "novel", "--output", output)
    assert code == 0, text
    assert "balanced accuracy" in text and "recall precision" in text and " -> " in text
    numbers = json.loads((output / "eval.json").read_text())
    worst = min(numbers["per_class"].values(), key=lambda one: one["recall"])
    assert f"{worst['recall']:.1f}" in text and worst["images"] > 0
    pair = numbers["confused"][0]
    assert f"{pair['true']} -> {pair['predicted']} {pair['count']} " in text
    lines = (output / "predictions.csv").read_text().splitlines()
    right = sum(",true," in line for line in lines[1:])
    assert len(lines) - 1 == numbers["images"]
    assert 100 * right / numbers["images"] == pytest.approx(numbers["accuracy"], abs=1e-3)
    assert "class feature" in (output / "index.html").read_text()
    (output / "index.html").write_text("mine")
    code, text, _ = run(*command, "--output", output)
    assert code == 2 and "index.html was not written by" in text


@pytest.mark.parametrize("gone", ["say", "page"])
def test_eval_keeps_the_page_without_a_reader_and_the_numbers_without_a_disk(
    adapter, tmp_path, monkeypatch, gone
):
    def fails(*args):
        raise BrokenPipeError(32, "Broken pipe")

    where = "cli.eval.say" if gone == "say" else "report.evaluation.write_evaluation"
    monkeypatch.setattr(f"open_clip_mmrl.{where}", fails)
    options = ["--split", "val", "--output", tmp_path / "page", "--quiet", "--json"]
    code, text, _ = run("eval", "--adapter", adapter, "--data", "digits", *options)
    assert code == 1 and ("accuracy" in text) == (gone == "page")
    assert (tmp_path / "page" / "index.html").exists() == (gone == "say")


def test_eval_uses_the_adapters_template_where_the_data_has_none(tmp_path):
    spec = write_folder(tmp_path / "data", {"one": 2, "two": 2})
    template = ["--template", "a printed digit {}."]
    base = ["--data", spec, "--shots", 2, "--epochs", 1, "--quiet", "--rep-dim", 8]
    assert run("train", *base, *template, "--output", tmp_path / "run")[0] == 0
    command = ["eval", "--adapter", tmp_path / "run" / "adapter.safetensors", "--data", spec]
    code, _, result = run(*command, "--quiet", "--json")
    assert code == 0 and json.loads(result.stdout)["template"] == "a printed digit {}."


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["train", *TRAIN, "--model", "ViT-B-61"], 2, "no model 'ViT-B-61'"),
        (["train", *TRAIN, "--model", "RN50"], 2, "RN50 does not support"),
        (["train", *TRAIN, "--model", "ViT-B-16"], 2, "needs the weights"),
        (["train", *TRAIN, "--data", "digit"], 2, "Did you mean digits"),
        (["train", *TRAIN, "--data", "folder:/nowhere"], 2, "/nowhere"),
        (["train", *TRAIN, "--shots", "0"], 2, "--shots has '0'"),
        (["train", *TRAIN, "--epochs", "0"], 2, "epochs is 0"),
        (["train", *TRAIN, "--alpha", "2"], 2, "alpha is 2"),
        (["train", *TRAIN, "--reg-weight", "nan"], 2, "reg_weight is nan"),
        (["train", *TRAIN, "--lr", "nan"], 2, "lr is nan"),
        (["train", *TRAIN, "--data", "coop:dtdd"], 2, "Did you mean dtd?"),
        (["train", *TRAIN, "--start-layer", "9"], 2, "start_layer is 9"),
        (["train", *TRAIN, "--precision", "fp8"], 2, "--precision"),
        (["train", *TRAIN, "--classes", "novel"], 2, "--classes"),
        (["train", *TRAIN, "--cuda-graph"], 2, "--cuda-graph needs CUDA"),
        (["train", *TRAIN, "--cache-gb", "-1"], 2, "cache_gb is -1"),
        (["train", *TRAIN, "--augment", "gpu"], 2, "--augment"),
        (["train", *TRAIN, "--device", "tpu"], 2, "device is 'tpu'"),
        (["train", "--data", "digits"], 2, "--output"),
        (["eval", "--adapter", "none.safetensors", "--data", "digits"], 2, "no adapter file"),
        (["predict", "--adapter", "none.safetensors", "a.png"], 2, "no adapter file"),
        (["train", *TRAIN, "--lr", "1", "--set", "lr=2"], 2, "--lr and --set lr= were both given"),
        (["train", *TRAIN, "--set", "seed=2"], 2, "--seed"),
        (["train", *TRAIN, "--set", "lrr=2"], 2, "Did you mean lr"),
        (["train", *TRAIN, "--set", "lr"], 2, "NAME=VALUE"),
        (["train", *TRAIN, "--template", "no place"], 2, "no place for the class name"),
        (["train", *TRAIN, "--data", "coop:dtd"], 2, "--data-root"),
        (["fly"], 2, "No such command"),
    ],
)
def test_bad_input_is_one_clear_line_and_an_exit_code(tmp_path, args, code, message):
    if args[0] == "train" and message != "--output":
        args = [*args, "--output", tmp_path / "run"]
    found, text, _ = run(*args)
    assert found == code, text
    assert message in text and "Traceback" not in text


def test_a_truncated_adapter_is_named(adapter, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(adapter.read_bytes()[:500])
    code, text, _ = run("eval", "--adapter", broken, "--data", "digits")
    assert code == 1 and "broken.safetensors" in text and "truncated" in text


def test_a_folder_in_use_is_refused(adapter):
    code, text, _ = run("train", *TRAIN, "--output", adapter.parent)
    assert code == 2 and "other settings" in text and "classes: 'base' there, 'all' now" in text


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000])
def test_a_setting_that_json_does_not_take_is_named(tmp_path, value):
    command = ["train", "--data", "digits", "--output", tmp_path, "--set", f"lr={value}"]
    code, text, _ = run(*command)
    assert code == 2 and "lr is '" in text and len(text) < 500


def test_version_and_help():
    assert run("--version")[1] == f"open_clip_mmrl {__version__}"
    code, text, _ = run("--help")
    assert code == 0 and all(name in text for name in ("train", "eval", "predict", "demo"))


def test_base_weights_that_cannot_be_loaded_are_named(tmp_path):
    import argparse

    import torch

    for name, content in {"garbage.pt": b"no weights", "training.pt": None}.items():
        path = tmp_path / name
        if content is None:
            torch.save({"state_dict": {}, "args": argparse.Namespace(lr=1)}, path)
        else:
            path.write_bytes(content)
        command = ["train", *TRAIN, "--output", tmp_path / "run" / name, "--pretrained", path]
        code, text, _ = run(*command)
        assert code == 1 and text.startswith("error: ") and str(path) in text
        assert "plain state dict" in text and "Traceback" not in text


def test_a_damaged_checkpoint_is_named(tmp_path):
    command = ["train", *TRAIN, "--output", tmp_path]
    assert run(*command)[0] == 0
    (tmp_path / "results.json").unlink()
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    code, text, _ = run(*command)
    assert code == 1 and "checkpoint.pt cannot be read" in text and "delete it" in text


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    code, text, _ = run("train", *TRAIN, "--output", tmp_path / "file" / "run")
    assert code == 1 and f"cannot write {tmp_path}/file/run" in text


def test_eval_says_which_prompt_it_uses(adapter):
    command = ["eval", "--adapter", adapter, "--data", "digits", "--split", "val", "--quiet"]
    code, text, _ = run(*command, "--classes", "base")
    assert code == 0 and "prompt: a photo of the digit {}." in text


def test_a_base_file_is_found_from_another_folder(tmp_path, monkeypatch):
    from open_clip_mmrl import assets

    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.safetensors").write_bytes(assets.weights_path().read_bytes())
    monkeypatch.chdir(tmp_path)
    command = ["train", *TRAIN, "--pretrained", "sub/base.safetensors", "--output", "run"]
    code, text, _ = run(*command)
    assert code == 0, text
    monkeypatch.chdir(tmp_path / "sub")
    command = ["eval", "--adapter", tmp_path / "run" / "adapter.safetensors", "--data", "digits"]
    code, text, _ = run(*command, "--features", "class", "--split", "val", "--quiet")
    assert code == 0, text


def test_odd_names_are_printed_as_they_are(tmp_path):
    """rich would make an emoji of :cat: and leave [b] out; the escape would color the terminal."""
    names = [":cat: [b]", "=dog \x1b[31m"]
    folder = tmp_path / "[red]:dog:"
    write_folder(folder, {"one": 2, "two": 2})
    for part in ("train", "test"):
        for old, new in zip(("one", "two"), names, strict=True):
            (folder / part / old).rename(folder / part / new)
    command = ["train", "--data", f"folder:{folder}", "--shots", 2, "--epochs", 1, "--rep-dim", 8]
    code, text, _ = run(*command, "--output", tmp_path / "run")
    assert code == 0 and "[red]:dog:" in text
    adapter = ["--adapter", tmp_path / "run" / "adapter.safetensors"]
    image = folder / "test" / names[1] / "0.png"
    code, _, result = run("predict", *adapter, image)
    assert code == 0 and "\x1b" not in result.stdout
    shown = result.stdout.split()  # a name may be wrapped in its column
    assert {":cat:", "[b]", "=dog", "\\x1b[31m"} <= set(shown)
    code, _, result = run("predict", *adapter, image, "--json")
    found = json.loads(result.stdout)
    assert found["image"] == str(image) and sorted(found["classes"]) == names
    code, _, result = run("eval", *adapter, "--data", f"folder:{folder}", "--json")
    assert code == 0 and json.loads(result.stdout)["data"] == f"folder:{folder}"


def test_train_says_how_far_it_is_and_where_the_time_went(tmp_path):
    command = [option for option in TRAIN if option != "--quiet"]
    code, _, result = run("train", *command, "--output", tmp_path)
    assert code == 0 and "training: epoch 1/1  loss " in result.stderr
    (line,) = (text for text in result.stdout.splitlines() if "trained parameters" in text)
    assert all(f" {stage} " in line for stage in ("loading", "training", "scoring"))
    assert "ms per image" in line


def test_a_report_that_cannot_be_written_next_to_its_runs_names_the_option(tmp_path):
    """As on a read-only mount."""
    finished = Path(__file__).parents[1] / "fixtures" / "v1" / "base-to-novel-zeroshot"
    shutil.copytree(finished, tmp_path / "runs")
    (tmp_path / "report").write_text("")
    code, text, _ = run("report", tmp_path)
    assert code == 1 and f"cannot write {tmp_path}/report/" in text and "--output" in text


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--data", "digits", "--output", ""],
        ["run", "few-shot", "--output", ""],
        ["demo", "--output", ""],
        ["report", ".", "--output", ""],
        ["speed", "--output", ""],
        ["report", ""],
        ["status", ""],
        ["info", ""],
        ["predict", "a.jpg", "--adapter", ""],
    ],
)
def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    code, text, _ = run(*command)
    assert code == 2 and "it is empty; give a path" in text
    assert not list(tmp_path.iterdir())


def test_one_shot_is_singular(tmp_path):
    options = [1 if option == 2 else option for option in TRAIN]
    code, text, _ = run("train", *options, "--output", tmp_path)
    assert code == 0 and "1 shot," in text


@has_temperature
def test_a_calibrated_adapter_tells_how_sure_it_is(tmp_path):
    spec = write_folder(tmp_path / "data", {"one": 24, "two": 24}, test=6)
    given = ["--data", spec, "--shots", 24, "--epochs", 1, "--rep-dim", 8, "--quiet", "--no-probe"]
    code, text, _ = run("train", *given, "--calibrate", "--output", tmp_path / "run")
    assert code == 0 and "calibrated on 12 images" in text and "sets made for 90 %" in text, text
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["train_images"] == 36
    score = ["eval", "--adapter", tmp_path / "run", "--data", spec, "--quiet"]
    found = json.loads(run(*score, "--json")[2].stdout)
    assert found["calibrated"] == results["calibrated"]
    assert "calibrated on 12 images" in run(*score)[1]
    for other in (["--alpha", "0.1"], ["--features", "class"]):
        assert "calibrated" not in json.loads(run(*score, *other, "--json")[2].stdout)
