"""Adapters on tiny bases with the real tokenizer, and pictures to name."""

from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from helpers.tiny import shake, tiny_model_config
from open_clip import factory, pretrained
from PIL import Image
from safetensors.torch import save_file

import open_clip_mmrl
from open_clip_mmrl.export import check

NAMES = ["cat", "dog", "traffic_light"]
BASES = {"Tiny-8-plain": {}, "Tiny-8-custom": {"custom_text": True, "init_logit_bias": -3.0}}


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Adapter files by method: MMRL on a CLIP, MMRL++ with beta below 1 on a CustomTextCLIP."""
    models, tags = dict(factory._MODEL_CONFIGS), dict(pretrained._PRETRAINED)
    folder = tmp_path_factory.mktemp("adapters")
    for name, config in BASES.items():
        size = tiny_model_config(**config)
        size["text_cfg"] |= {"vocab_size": 49408, "context_length": 16, "layers": 2}
        size["vision_cfg"]["layers"] = 2
        factory._MODEL_CONFIGS[name] = size
        torch.manual_seed(0)
        save_file(shake(open_clip.create_model(name)).state_dict(), folder / f"{name}.safetensors")
        pretrained._PRETRAINED[name] = {"tiny": {"file": str(folder / f"{name}.safetensors")}}
    open_clip_mmrl.register()
    found = {}
    for prefix, name, beta in (("mmrl", "plain", 1.0), ("mmrlpp", "custom", 0.6)):
        config = {"rep_dim": 8, "start_layer": 2, "beta": beta, "num_rep_tokens": 2, "alpha": 0.6}
        model = open_clip.create_model(f"{prefix}-Tiny-8-{name}", "tiny", mmrl_cfg=config)
        shake(model.learner, seed=1)
        path = folder / f"{prefix}.safetensors"
        found[prefix] = open_clip_mmrl.save_adapter(
            model, path, class_names=NAMES, template="a photo of a {}."
        )
    yield SimpleNamespace(**found)
    factory._MODEL_CONFIGS = models
    pretrained._PRETRAINED.clear()
    pretrained._PRETRAINED.update(tags)
    open_clip_mmrl.register()


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
