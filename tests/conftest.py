"""Tiny models, built in milliseconds, and the golden tensors of the authors' code."""

import json
import math
import os
from functools import cache
from pathlib import Path
from types import SimpleNamespace

# Tiny tensors: a second thread only waits, and one thread sums in one order on every machine.
# Before numpy and torch are imported, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import open_clip
import pytest
import torch
from open_clip import factory, pretrained
from open_clip.model import CLIP, CustomTextCLIP, convert_to_custom_text_state_dict
from PIL import Image
from safetensors.torch import save_file

import open_clip_mmrl
from open_clip_mmrl import MMRLCLIP, MMRLConfig

torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / "golden"
VOCABULARY, CONTEXT = 40, 12
START, END = VOCABULARY - 2, VOCABULARY - 1


def tiny_clip(
    *,
    custom: bool = False,
    image_layers: int = 3,
    text_layers: int = 3,
    vision: dict | None = None,
    text: dict | None = None,
    seed: int = 0,
    **kwargs,
):
    """An open_clip model of a few thousand parameters with weights large enough to matter."""
    torch.manual_seed(seed)
    vision_cfg = {
        "image_size": 16,
        "patch_size": 8,
        "width": 16,
        "head_width": 8,
        "layers": image_layers,
        **(vision or {}),
    }
    text_cfg = {
        "context_length": CONTEXT,
        "vocab_size": VOCABULARY,
        "width": 12,
        "heads": 2,
        "layers": text_layers,
        **(text or {}),
    }
    model = (CustomTextCLIP if custom else CLIP)(10, vision_cfg, text_cfg, **kwargs)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.double().eval()


def tiny_config(**kwargs) -> MMRLConfig:
    values = {"num_rep_tokens": 2, "rep_dim": 6, "start_layer": 2, "residual_rank": 2}
    return MMRLConfig(**{**values, "proj_rank": 3, **kwargs})


def tiny_mmrl(clip=None, **kwargs) -> MMRLCLIP:
    """A tiny model whose learner is far from its start, so that every part shows."""
    model = MMRLCLIP.from_open_clip(clip or tiny_clip(), tiny_config(**kwargs))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.learner.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.3 * noise)
    return model.eval()


def tiny_prompts(lengths, seed: int = 0, first: int | None = None) -> torch.Tensor:
    """Token ids [C, CONTEXT]: START, random words, END, zeros; `lengths` count both ends."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.zeros(len(lengths), CONTEXT, dtype=torch.long)
    for row, length in zip(tokens, lengths, strict=True):
        words = torch.randint(1, START, (length - 2,), generator=generator)
        row[0], row[1 : length - 1], row[length - 1] = first or START, words, END
    return tokens


def tiny_images(count: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 16, 16, generator=generator, dtype=torch.float64)


@cache
def golden(name: str) -> SimpleNamespace:
    """One golden file: `meta` (dict) and `data` (arrays by key)."""
    meta = json.loads((GOLDEN / f"{name}.json").read_text())
    with np.load(GOLDEN / f"{name}.npz") as file:
        data = {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}
    return SimpleNamespace(name=name, meta=meta, data=data)


def golden_section(case: SimpleNamespace, section: str) -> dict[str, torch.Tensor]:
    """The tensors below `section`/, in float64 where they are real numbers."""
    found = {k.split("/", 1)[1]: v for k, v in case.data.items() if k.startswith(section + "/")}
    return {k: v.double() if v.is_floating_point() else v for k, v in found.items()}


def golden_model(case: SimpleNamespace, custom: bool) -> MMRLCLIP:
    """Our model on the golden CLIP, in float64, learner not loaded yet."""
    meta = case.meta
    state = golden_section(case, "clip")
    if custom:
        state = convert_to_custom_text_state_dict(state)
    clip = (CustomTextCLIP if custom else CLIP)(**meta["clip_config"]).double().eval()
    clip.load_state_dict(state)
    with torch.no_grad():
        clip.logit_scale.fill_(math.log(meta["logit_scale"]))
    config = MMRLConfig(
        variant=meta["method"],
        num_rep_tokens=meta["n_rep_tokens"],
        rep_dim=meta["rep_dim"],
        start_layer=meta["rep_layers"][0],
        alpha=meta["alpha"],
        beta=meta["beta"],
        reg_weight=meta["reg_weight"],
        residual_rank=meta["res_rank"] or 4,
        proj_rank=meta["proj_rank"] or 64,
    )
    return MMRLCLIP.from_open_clip(clip, config)


@pytest.fixture(params=["mmrl_small", "mmrlpp_small"])
def golden_case(request):
    return golden(request.param)


# A tiny base in open_clip's registry, for everything that goes through open_clip.create_model.

BASE = "Tiny-8-test"


def tiny_model_config(**kwargs) -> dict:
    """The open_clip config of a tiny base; `kwargs` replaces or adds top-level keys."""
    vision = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 3}
    text = {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 12, "heads": 2}
    return {
        "embed_dim": 10,
        "vision_cfg": vision,
        "text_cfg": {**text, "layers": 3},
        **kwargs,
    }


def shake(model: torch.nn.Module, seed: int = 0, std: float = 0.2) -> torch.nn.Module:
    """Noise on every parameter with dimensions, in place, so that all of them show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim:
                parameter.add_(std * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture
def registries():
    """open_clip's registries of models and tags, put back afterwards."""
    models, tags = dict(factory._MODEL_CONFIGS), dict(pretrained._PRETRAINED)
    paths = list(factory._MODEL_CONFIG_PATHS)
    yield
    factory._MODEL_CONFIGS = models
    factory._MODEL_CONFIG_PATHS[:] = paths
    pretrained._PRETRAINED.clear()
    pretrained._PRETRAINED.update(tags)
    open_clip_mmrl.register()


@pytest.fixture
def base(registries, tmp_path) -> SimpleNamespace:
    """A registered base with weights: `name`, `tag`, `path` of its weights, and the `model`."""
    factory._MODEL_CONFIGS[BASE] = tiny_model_config()
    torch.manual_seed(0)
    model = shake(open_clip.create_model(BASE)).eval()
    path = tmp_path / "base" / "weights.safetensors"
    path.parent.mkdir()
    save_file(model.state_dict(), path)
    pretrained._PRETRAINED[BASE] = {"tiny": {"file": str(path)}}
    open_clip_mmrl.register()
    return SimpleNamespace(name=BASE, tag="tiny", path=path, model=model)


# Files for the readers of data sets.


@pytest.fixture
def write_image():
    """Write a small image of one colour; the suffix decides the format. Returns the path."""

    def write(path, colour=(200, 30, 60), size=(6, 4)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)
        return path

    return write


@pytest.fixture
def write_split(write_image):
    """Write a split file and the images it lists below `images`. Returns the split file."""

    def write(split_file, images, content):
        split_file.parent.mkdir(parents=True, exist_ok=True)
        split_file.write_text(json.dumps(content), encoding="utf-8")
        for rows in content.values():
            for path, _, _ in rows:
                write_image(images / path)
        return split_file

    return write
