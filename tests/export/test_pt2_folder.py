"""`--to pt2` and `--to classifier`: programs of torch.export, and what may go wrong."""

import errno
import runpy
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.cli import run
from helpers.exported import answers, blocks, imported, predicted

from open_clip_mmrl.evaluation.predict import build_classifier, predict
from open_clip_mmrl.export import export_classifier, export_pt2, pt2_folder, source
from open_clip_mmrl.hub.load import build_from_adapter
from open_clip_mmrl.models.mmrl_clip import MMRLCLIP


@pytest.fixture(scope="module")
def exported(adapters, tmp_path_factory):
    """What `--to classifier` writes of MMRL++ on a kind of SigLIP."""
    folder = tmp_path_factory.mktemp("classifier") / "out"
    export_classifier(adapters.mmrlpp, folder)
    return folder


def test_code_of_the_readme_answers_as_predict(adapters, exported, pictures, tmp_path, monkeypatch):
    def write(source, folder, images):  # the same program once more
        shutil.copy(exported / "image.pt2", folder)
        return [f"{len(images)} images"]

    monkeypatch.setattr(pt2_folder, "write_program", write)
    given = ["--images", pictures[0], "--images", pictures[1], "--output", tmp_path / "out"]
    code, text, _ = run("export", "--adapter", adapters.mmrlpp, "--to", "pt2", *given)
    assert code == 0 and "2 images" in text and "README.md has the code" in text
    (code,) = blocks(tmp_path / "out")
    assert imported(code) == {"json", "sys", "numpy", "torch", "PIL"}
    (seen,) = answers(tmp_path / "out", pictures, monkeypatch)
    assert np.abs(seen - predicted(adapters.mmrlpp, pictures)).max() < 1e-5


def test_program_holds_nothing_of_the_text_tower(exported):
    program = torch.export.load(exported / "image.pt2")
    parts = {".".join(name.split(".")[:2]) for name in program.state_dict}
    assert parts == {"model.visual", "model.learner"}
    assert "torch.export" in (exported / "README.md").read_text()


def test_clip_benchmark_scores_as_we_do(adapters, exported):
    zero_shot = pytest.importorskip("clip_benchmark.metrics.zeroshot_classification")
    script = runpy.run_path(str(exported / "run_clip_benchmark.py"))
    model, transform, _ = script["load"]("any", "any", None, "cpu")
    images = torch.randn(60, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    batches = [(part, torch.zeros(len(part))) for part in images.split(25)]
    classifier = torch.load(exported / "classifier.pt", weights_only=True)
    theirs, _ = zero_shot.run_classification(model.eval(), classifier, batches, "cpu", amp=False)
    rounded, _ = zero_shot.run_classification(model, classifier, batches, "cpu", amp=True)
    loaded, info = build_from_adapter(adapters.mmrlpp, device=torch.device("cpu"))
    own = build_classifier(loaded.model, loaded.class_tokens(info.class_names, info.template))
    ours = predict(loaded.model, own, batches, features="fused").scores
    scale, bias = loaded.model.logit_scale.exp().item(), loaded.model.logit_bias.item()
    assert torch.equal(theirs.argmax(1), ours.argmax(1))
    assert (theirs / 100 - (ours - bias) / scale).abs().max() < 1e-6
    assert (rounded - theirs).abs().max() < 2
    text = torch.load(exported / "text_classifier.pt", weights_only=True)
    assert torch.equal(text, own.text.T) and text.dtype == torch.float32
    assert transform.transforms[0].size == 16


def wrong_encoder(self, image, normalize=False, features=None):
    return image.sum() if image.sum() > 0 else image


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (
            SimpleNamespace(target=MMRLCLIP, name="encode_image", value=wrong_encoder),
            "image tower of mmrl-Tiny-clip cannot be exported",
        ),
        (
            SimpleNamespace(
                target=source,
                name="write_atomically",
                value=lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")),
            ),
            "cannot write .*out: No space left. Nothing was written",
        ),
    ],
    ids=["cannot be traced", "full disk"],
)
def test_nothing_is_left_of_what_failed(adapters, tmp_path, monkeypatch, patch, message, capfd):
    monkeypatch.setattr(patch.target, patch.name, patch.value)
    with pytest.raises((ValueError, OSError), match=message):
        export_pt2(adapters.mmrl, tmp_path / "new" / "out")
    assert not list((tmp_path / "new").glob("*")) and "def forward" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "pt2", "--dtype", "int8"], "--dtype and --no-text are for --to onnx"),
        (["--to", "classifier", "--no-text"], "--dtype and --no-text are for --to onnx"),
        (["--to", "tflite"], "'tflite' is not one of"),
        (["--to", "pt2", "--output", "."], "give a folder that does not exist yet"),
    ],
)
def test_wrong_use_is_answered(adapters, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    code, text, _ = run("export", "--adapter", adapters.mmrl, "--output", "out", *options)
    assert code == 2 and message in text.replace("│ ", "") and not list(tmp_path.iterdir())
