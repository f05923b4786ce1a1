"""Tiny models, built in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from open_clip import factory, pretrained
from open_clip.hf_model import HFTextEncoder
from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import save_file
from timm.layers import GluMlp, HybridEmbed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem

import open_clip_mmrl
from open_clip_mmrl import MMRLCLIP, MMRLConfig

VOCABULARY, CONTEXT = 40, 12
START, END = VOCABULARY - 2, VOCABULARY - 1


# Image towers of every family, as settings of `tiny_clip` and `tiny_family`.
_TIMM: dict[str, tuple[type, dict[str, Any], dict[str, Any]]] = {
    "siglip": (VisionTransformer, {"class_token": False}, {"timm_pool": "map"}),
    "mobileclip": (
        VisionTransformer,
        {"patch_size": 1, "no_embed_class": True},
        {"timm_pool": "token", "timm_proj": None},
    ),
    "vitamin": (
        VisionTransformer,
        {"class_token": False, "mlp_layer": GluMlp, "init_values": 0.3, "global_pool": "avg"},
        {"timm_pool": "", "timm_proj": "linear"},
    ),
    "registers": (
        VisionTransformer,
        {"reg_tokens": 2, "pre_norm": True, "qk_norm": True, "global_pool": "map"},
        {"timm_pool": "map", "timm_proj": "mlp", "timm_proj_bias": True},
    ),
    "eva01": (Eva, {}, {"timm_pool": "token", "timm_proj": None}),
    "eva02": (
        Eva,
        {
            "use_rot_pos_emb": True,
            "swiglu_mlp": True,
            "scale_mlp": True,
            "scale_attn_inner": True,
            "qkv_fused": False,
            "ref_feat_shape": (2, 2),
        },
        {"timm_pool": "token", "timm_proj": None},
    ),
    "eva-post-norm": (Eva, {"use_post_norm": True}, {"timm_pool": "token", "timm_proj": None}),
    "pe-core": (
        Eva,
        {
            "attn_type": "rope",
            "use_pre_transformer_norm": True,
            "use_rot_pos_emb": True,
            "ref_feat_shape": (2, 2),
            "rope_grid_offset": 1.0,
            "rope_grid_indexing": "xy",
            "attn_pool_num_heads": 4,
        },
        {"timm_pool": "map", "timm_proj": None},
    ),
}
_OPEN_CLIP: dict[str, dict[str, Any]] = {
    "clip": {},
    "clipa": {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
    "average": {"pool_type": "avg"},
    "attention": {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 3},
}
IMAGE_FAMILIES = (*_OPEN_CLIP, *_TIMM)
_BIDIRECTIONAL = {"no_causal_mask": True, "pool_type": "last"}
_OF_FAMILY: dict[str, dict[str, Any]] = {
    "clipa": {"custom": True, "text": _BIDIRECTIONAL},
    "siglip": {
        "custom": True,
        "text": {**_BIDIRECTIONAL, "proj_bias": True},
        "init_logit_bias": -10.0,
    },
    "mobileclip": {"custom": True, "text": {"no_causal_mask": True}},
}
"""What else the models of an image family have; the others' text towers are CLIP's."""


def tiny_timm(family: str, layers: int = 3) -> str:
    """Register timm's tower of a family with so many layers, and return its name there."""
    kind, settings, _ = _TIMM[family]
    name = f"tiny_{family.replace('-', '_')}_{layers}"

    def build(**given) -> torch.nn.Module:
        kwargs = {k: v for k, v in given.items() if k in ("num_classes", "global_pool")}
        sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": layers, "num_heads": 2}
        if family == "mobileclip":  # stride 8, with batch norms
            twice = (2, 2, 2)
            stem = ConvStem(channels=(4, 4, 16), stride=twice, kernel_size=twice, padding=0)
            kwargs["embed_layer"] = partial(HybridEmbed, backbone=stem, proj=False)
        model = kind(**{**sizes, **settings, **kwargs})
        model.default_cfg = model.pretrained_cfg = {"input_size": (3, 16, 16), "pool_size": None}
        return model

    build.__name__ = name
    if not timm.is_model(name):
        timm.models.register_model(build)
        build.__module__ = kind.__module__  # by which configs that timm can build are known
    return name


def image_family(family: str, layers: int = 3) -> dict[str, Any]:
    """Return the arguments of `tiny_clip` that give it an image tower of `IMAGE_FAMILIES`."""
    if family in _OPEN_CLIP:
        return {"vision": _OPEN_CLIP[family], "image_layers": layers}
    vision = {"timm_model_name": tiny_timm(family, layers), "timm_proj": "none", **_TIMM[family][2]}
    # Without a projection, the image tower's width.
    return {"vision": vision, "embed_dim": 16 if vision["timm_proj"] == "none" else 10}


def tiny_family(family: str, layers: int = 3, **kwargs):
    """Return a tiny model of a family, with the text tower that its models have."""
    return tiny_clip(**image_family(family, layers), **_OF_FAMILY.get(family, {}), **kwargs)


def tiny_clip(
    *,
    custom: bool = False,
    embed_dim: int = 10,
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
    model = (CustomTextCLIP if custom else CLIP)(embed_dim, vision_cfg, text_cfg, **kwargs)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.double().eval()


HF_CONFIGS = {
    "bert": {"pooler": "cls_pooler", "proj": "linear"},
    "xlm-roberta": {"pooler": "mean_pooler", "proj": "mlp"},
    "mt5": {"pooler": "mean_pooler", "proj": "mlp"},
}
"""Kinds of text towers from Hugging Face, and how open_clip pools and projects them."""


def write_hf_text(kind: str, folder: Path, vocab_size: int = VOCABULARY) -> dict[str, Any]:
    """Write the config of a tiny text tower of transformers; return open_clip's config of it.

    Skips the test where transformers is not installed.
    """
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2}
    sizes |= {"intermediate_size": 16, "vocab_size": vocab_size, "max_position_embeddings": 20}
    if kind == "mt5":
        sizes = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_heads": 2, "num_layers": 2}
        sizes |= {"vocab_size": vocab_size, "dropout_rate": 0.0}
    transformers.AutoConfig.for_model(kind, **sizes).save_pretrained(folder)
    pooler, proj = HF_CONFIGS[kind].values()
    return {
        "hf_model_name": str(folder), "hf_model_pretrained": False, "hf_pooler_type": pooler,
        "hf_proj_type": proj, "context_length": CONTEXT,
    }  # fmt: skip


def with_hf_text(clip: CustomTextCLIP, kind: str, folder: Path) -> CustomTextCLIP:
    """Give an open_clip model a tiny text tower of transformers, of a config in `folder`."""
    write_hf_text(kind, folder)
    pooler, proj = HF_CONFIGS[kind].values()
    torch.manual_seed(0)
    text = HFTextEncoder(str(folder), 10, pooler_type=pooler, proj_type=proj, pretrained=False)
    clip.text = shake(text).double().eval()
    return clip


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


@contextmanager
def kept_registries() -> Iterator[None]:
    """Put open_clip's registries of models and tags back at the end."""
    models, tags = dict(factory._MODEL_CONFIGS), dict(pretrained._PRETRAINED)
    paths = list(factory._MODEL_CONFIG_PATHS)
    yield
    factory._MODEL_CONFIGS = models
    factory._MODEL_CONFIG_PATHS[:] = paths
    pretrained._PRETRAINED.clear()
    pretrained._PRETRAINED.update(tags)
    open_clip_mmrl.register()


def register_family(family: str, folder: Path, **changes) -> tuple[str, str]:
    """Register a tiny base of a family with the real tokenizer; return its name and weights.

    Its tag is "tiny". The text tower is that of the family's models; "hf-text" is CLIP's image
    tower with that of mT5.
    """
    # "siglip" in a name would make open_clip fetch a tokenizer.
    name = f"Tiny-{family.replace('siglip', 'sigmoid')}"
    has_hf = family == "hf-text"
    settings, rest = image_family("clip" if has_hf else family), dict(_OF_FAMILY.get(family, {}))
    config = tiny_model_config(embed_dim=settings.get("embed_dim", 10))
    config["vision_cfg"] |= settings["vision"]
    config["text_cfg"] |= {"vocab_size": 49408, **rest.pop("text", {})}
    if has_hf:
        config["text_cfg"] = write_hf_text("mt5", folder / "text", vocab_size=49408)
    custom = rest.pop("custom", has_hf)
    factory._MODEL_CONFIGS[name] = {**config, "custom_text": custom, **rest, **changes}
    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    model = open_clip.create_model(name, pretrained_hf=False)
    save_file(shake(model).state_dict(), path)
    pretrained._PRETRAINED[name] = {"tiny": {"file": str(path)}}
    open_clip_mmrl.register()
    return name, str(path)
