"""Adapters on tiny bases with the real tokenizer, and pictures to name."""

from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
from helpers.tiny import kept_registries, register_family, shake
from PIL import Image

import open_clip_mmrl
from open_clip_mmrl.export import check

NAMES, TEMPLATE = ["cat", "dog", "traffic_light"], "a photo of a {}."
BASES = {
    "mmrl": ("mmrl", "clip", 1.0, {}),
    "mmrlpp": ("mmrlpp", "siglip", 0.6, {"init_logit_bias": -3.0}),
    "eva": ("mmrl", "eva02", 1.0, {}),
}
"""Method, family, beta, and what else its config has."""


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Adapter files: MMRL on a CLIP, MMRL++ with beta below 1 on a kind of SigLIP, MMRL on EVA."""
    folder, found = tmp_path_factory.mktemp("adapters"), {}
    with kept_registries():
        for key, (prefix, family, beta, changes) in BASES.items():
            name, _ = register_family(family, folder, **changes)
            config = {"rep_dim": 8, "start_layer": 2, "beta": beta, "alpha": 0.6}
            config |= {"num_rep_tokens": 2}
            model = open_clip.create_model(f"{prefix}-{name}", "tiny", mmrl_cfg=config)
            shake(model.learner, seed=1)
            found[key] = open_clip_mmrl.save_adapter(
                model, folder / f"{key}.safetensors", class_names=NAMES, template=TEMPLATE
            )
        yield SimpleNamespace(**found)


@pytest.fixture
def pictures(tmp_path):
    """Paths of images of several sizes and modes."""
    draws, paths = np.random.default_rng(0), []
    for i, size in enumerate([(40, 30), (17, 60), (16, 16), (90, 31, 3), (33, 34, 3)]):
        pixels = draws.integers(0, 256, size, dtype=np.uint8)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.fixture(autouse=True)
def _no_clock(monkeypatch):
    """Measure no speed: it takes as long as it is given."""
    monkeypatch.setattr(check, "_SECONDS", 0.0)
