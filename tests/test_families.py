"""Towers of other families than CLIP's, through everything that people use."""

import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from helpers.cli import run
from helpers.packages import HAS_TEMPERATURE, has_temperature
from helpers.runs import write_folder
from helpers.shard_sets import DIGITS, eval_command, results
from helpers.tiny import kept_registries, register_family, tiny_images

import open_clip_mmrl
from benchmark_adapters.cli import main as benchmark
from open_clip_mmrl import FewShotClassifier
from open_clip_mmrl.cli.speed.measure import measure
from open_clip_mmrl.cli.speed.settings import SpeedSettings
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.engines.workers import Workers
from open_clip_mmrl.experiments.experiment import Experiment
from open_clip_mmrl.experiments.protocols import plan
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.experiments.runner import run_all
from open_clip_mmrl.hub import base_weights
from open_clip_mmrl.hub.adapter_reading import read_adapter

NAMES, IMAGES, LABELS = ["zero", "one", "two"], tiny_images(6), [0, 1, 2, 0, 1, 2]


@pytest.fixture
def family_base(registries, tmp_path):
    """Register a tiny base of a family; return its name and weights."""
    return partial(register_family, folder=tmp_path)


METHODS = {"base-to-novel": "mmrl", "few-shot": "mmrl++", "cross-dataset": "mmrl"}


@pytest.fixture(scope="module", params=["clipa", "siglip", "eva02", "hf-text"])
def done(request, tmp_path_factory):
    """Every protocol on a base of a family: the folder of the runs, and that of their images.

    Average pooling; attention pooling without a class token and a sigmoid loss's bias; rotary
    positions; tokens on the image side alone.
    """
    folder = tmp_path_factory.mktemp("family")
    with kept_registries():
        name, _ = register_family(request.param, folder)
        images = write_folder(folder / "images", dict.fromkeys(DIGITS[:4], 4))
        (folder / "others").symlink_to(folder / "images")
        for protocol, method in METHODS.items():
            data = f"folder:{folder / 'others'}" if protocol == "cross-dataset" else images
            experiment = Experiment(
                protocol=protocol, model=name, pretrained="tiny", datasets=[data], source=images,
                methods=["zeroshot", method], seeds=(1,), shots=(4,), template="the digit {}.",
                overrides={"epochs": 1, "batch_size": 8, "rep_dim": 6, "start_layer": 2},
                calibrate=HAS_TEMPERATURE and protocol == "few-shot",
            )  # fmt: skip
            run_all(plan(experiment), folder / "runs", Runtime(device="cpu", quiet=True), Workers())
        yield SimpleNamespace(name=name, runs=folder / "runs", images=images, family=request.param)


def only(folder, method):
    """The folder of the one run of a method below a folder, and its results."""
    (path,) = folder.glob(f"*/{method}/*/results.json")
    return path.parent, json.loads(path.read_text())


def test_every_protocol_has_its_scores(done):
    _, base_to_novel = only(done.runs / "base-to-novel", "mmrl")
    _, few_shot = only(done.runs / "few-shot", "mmrlpp")
    _, transfer = only(done.runs / "cross-dataset", "mmrl")
    assert base_to_novel["metrics"].keys() == {"base", "novel", "hm"}
    assert few_shot["metrics"].keys() == {"accuracy"} and len(transfer["targets"]) == 1
    sides = "image" if done.family == "hf-text" else "both"
    for result in (base_to_novel, few_shot, transfer):
        assert (
            result["trainable_parameters"] > 0
            and result["config"].get("token_sides", "both") == sides
        )


@has_temperature
def test_calibrated_answers(done):
    folder, result = only(done.runs / "few-shot", "mmrlpp")
    calibration = read_adapter(folder / "adapter.safetensors").calibration
    assert result["calibrated"]["held_back"] == len(calibration.max_softmax) == 4
    images = done.images.removeprefix("folder:") + "/test"
    words = ("--adapter", folder, "--coverage", 0.5, "--json", "--quiet", images)
    code, text, found = run("predict", *words)
    assert code == 0, text
    sets = [json.loads(line)["set"] for line in found.stdout.splitlines()]
    assert len(sets) == 12 and all(sets)


def test_clip_benchmark_scores_as_eval(done, tmp_path):
    folder, wanted = only(done.runs / "few-shot", "mmrlpp")
    shards = tmp_path / "shards" / "images"
    export = ["export", "--data", done.images, "--output", shards, "--quiet"]
    assert benchmark([*map(str, export), "--template", "the digit {}."]) == 0
    command = eval_command(shards, "wds/images", tmp_path / "out", "--no_amp")
    command += ["--model", f"mmrlpp-{done.name}", "--pretrained", str(folder)]
    assert benchmark([*command, "--model_type", "mmrl_auto"]) == 0
    (found,) = results(tmp_path / "out").values()
    assert 100 * found["metrics"]["acc1"] == pytest.approx(wanted["metrics"]["accuracy"], abs=1e-3)


@pytest.mark.parametrize("family", ["clipa", "siglip", "mobileclip", "eva02", "pe-core"])
def test_from_a_fit_to_a_loaded_file(family_base, family, tmp_path):
    (name, weights), method = family_base(family), "mmrl" if family == "siglip" else "mmrlpp"
    classifier = FewShotClassifier(
        f"{method}-{name}",
        pretrained=weights,
        class_names=NAMES,
        template="the digit {}.",
        config={"rep_dim": 6, "start_layer": 2},
        train={"epochs": 2, "batch_size": 3},
        device="cpu",
    )
    pixels = np.asarray(IMAGES.permute(0, 2, 3, 1).clip(0, 1))
    found = classifier.fit(pixels, LABELS).predict_proba(pixels)
    path = classifier.save(tmp_path / "x.safetensors")
    loaded = FewShotClassifier.load(path)
    np.testing.assert_allclose(loaded.predict_proba(pixels), found, rtol=0, atol=1e-6)
    assert np.ptp(found) > 1e-4
    larger = open_clip.create_model(f"{method}-{name}", str(path), force_image_size=32).eval()
    assert larger.encode_image(torch.zeros(1, 3, 32, 32)).isfinite().all()
    with pytest.raises(UsageError, match=r"4 x 4 pixels.* larger force_image_size"):
        open_clip.create_model(f"{method}-{name}", str(path), force_image_size=4)
    other = open_clip.create_model(f"{method}-{name}", mmrl_cfg={"rep_dim": 6, "start_layer": 2})
    with pytest.raises(ValueError, match="weights differ"):
        open_clip_mmrl.load_adapter(other, path)


def test_numpy_weights_of_siglip_are_left_to_open_clip(family_base, monkeypatch, tmp_path):
    name, _ = family_base("siglip", custom_text=True)
    path = tmp_path / "siglip.npz"
    np.savez(path, b=np.zeros(1))
    with pytest.raises(ValueError, match=r"siglip\.npz holds no weights of SigLIP"):
        open_clip.create_model(f"mmrl-{name}", str(path), mmrl_cfg={"start_layer": 2})
    monkeypatch.setattr(
        base_weights, "load_big_vision_weights", lambda *given: loaded.append(given)
    )
    loaded = []
    model = open_clip.create_model(f"mmrl-{name}", str(path), mmrl_cfg={"start_layer": 2})
    assert loaded == [(model, str(path))]


def test_speed_needs_no_tokenizer_of_the_family(family_base, monkeypatch):
    name, _ = family_base("siglip")
    monkeypatch.setattr(open_clip, "get_tokenizer", None)
    found = measure(
        SpeedSettings(model=name, classes=4, batch_size=2, repeats=1, memory=False, device="cpu")
    )
    assert found.train_step.operations < found.train_step.reference_operations
