"""A whole training on images made for it, small."""

import json
from dataclasses import replace

import pytest
import torch
from helpers.cli import run
from PIL import Image

from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.cli.speed.settings import WholeRun
from open_clip_mmrl.cli.speed.whole_run import time_run, write_pictures
from open_clip_mmrl.config import AUGMENTS
from open_clip_mmrl.errors import UsageError

TINY = WholeRun(
    model=MODEL_NAME, classes=3, shots=2, epochs=2, batch_size=2, width=40, height=30, device="cpu"
)


def test_by_default_it_is_imagenet_s_size():
    run = WholeRun()
    assert (run.classes, run.shots, run.epochs, run.batch_size) == (500, 16, 5, 32)
    assert (run.width, run.height, run.model) == (500, 375, "ViT-B-16")


def test_pictures_are_jpeg_files_of_the_given_size(tmp_path):
    examples = write_pictures(tmp_path, TINY)
    assert [example.label for example in examples] == [0, 0, 1, 1, 2, 2]
    assert len({example.image for example in examples}) == 6
    for example in examples:
        with Image.open(example.image) as picture:
            assert picture.format == "JPEG" and picture.size == (40, 30)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_a_run_is_timed_and_described(augment):
    result = time_run(replace(TINY, precision="amp_bf16", augment=augment)).to_json()
    assert (result["steps"], result["images"], result["notes"]) == (6, 12, [])
    assert result["images_per_second"] == pytest.approx(12 / result["seconds"])
    assert result["ms_per_image"] == pytest.approx(1000 * result["seconds"] / 12)
    settings = result["settings"]
    assert (settings["device_name"], settings["precision"]) == ("cpu", "amp_bf16")
    assert (settings["augment"], settings["torch"]) == (augment, torch.__version__)
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("field", ["classes", "shots", "epochs", "batch_size", "width", "height"])
def test_sizes_are_1_or_more(field):
    with pytest.raises(UsageError, match=rf"{field} is 0.*1 or more"):
        replace(TINY, **{field: 0})


def test_a_cuda_graph_needs_cuda():
    with pytest.raises(UsageError, match="--cuda-graph needs CUDA"):
        time_run(replace(TINY, cuda_graph=True))


def test_the_command(tmp_path):
    words = ["speed", "--whole-run", "--model", MODEL_NAME, "--classes", 2, "--shots", 2]
    words += ["--epochs", 1, "--batch-size", 2, "--image-size", 32, 24, "--device", "cpu"]
    code, text, _ = run(*words)
    assert code == 0, text
    flat = " ".join(text.split())
    assert "2 classes x 2 images x 1 epochs of 32 x 24 pixels" in flat
    code, _, result = run(*words, "--json", "--augment", "device", "--precision", "bf16")
    found = json.loads(result.stdout)
    assert code == 0 and found["steps"] == 2
    assert found["settings"]["precision"] == "bf16"
