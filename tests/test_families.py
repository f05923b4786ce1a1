"""Image towers of other families than CLIP's, through everything that people use."""

from functools import cache

import numpy as np
import open_clip
import pytest
import torch
from helpers.tiny import image_family, shake, tiny_images
from open_clip import factory
from safetensors.torch import save_file

import open_clip_mmrl
from open_clip_mmrl import FewShotClassifier
from open_clip_mmrl.cli.speed.measure import measure
from open_clip_mmrl.cli.speed.settings import SpeedSettings
from open_clip_mmrl.hub import base_weights

NAMES, IMAGES, LABELS = ["zero", "one", "two"], tiny_images(6), [0, 1, 2, 0, 1, 2]


@pytest.fixture
def family_base(registries, tmp_path, monkeypatch):
    """Register a tiny base with an image tower of a family; return its name and weights."""
    monkeypatch.setattr(open_clip, "get_tokenizer", cache(open_clip.get_tokenizer))

    def register(family, **changes):
        settings = image_family(family)
        vision = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 3}
        text = {"context_length": 12, "vocab_size": 49408, "width": 12, "heads": 2, "layers": 3}
        # "siglip" in a name would make open_clip fetch a tokenizer.
        factory._MODEL_CONFIGS[name := "Tiny-of-a-family"] = {
            "embed_dim": settings.get("embed_dim", 10),
            "vision_cfg": {**vision, **settings["vision"]},
            "text_cfg": text,
            **changes,
        }
        open_clip_mmrl.register()
        path = tmp_path / f"{family}.safetensors"
        save_file(shake(open_clip.create_model(name)).state_dict(), path)
        return name, str(path)

    return register


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
