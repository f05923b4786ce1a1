"""Whether the base of an open_clip config supports representation tokens; nothing is built.

open_clip's registry may hold anything: configs of other kinds of models, with keys of their own
(those of open_clip's unreleased main generate text, hear sound or have no image tower), and what
users put there. A config is accepted only if every key of it is known here. What timm builds is
known by the module of timm that builds it. `support` decides on the built model; a test compares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

POOL_TYPES = ("argmax", "eos", "last")
"""How a causal text tower may pool: at the end of the prompt, which sees all of it."""
BIDIRECTIONAL_POOL_TYPES = ("first", *POOL_TYPES)
IMAGE_POOL_TYPES = ("tok", "avg")
_TIMM_MODULES = ("vision_transformer", "vision_transformer_hybrid", "vitamin", "eva")
"""Modules of timm.models that build the image towers of a family here."""
_TIMM_OTHERS = {
    "convnext": "a ConvNeXt, which has no tokens",
    "fastvit": "a FastViT, whose lower layers are convolutions and which has no tokens",
    "swin_transformer": "a Swin transformer, whose windows have no place for tokens",
    "vision_transformer_relpos": "a ViT with relative positions, which tokens do not have",
}

MAX_LAYERS, MAX_WIDTH, MAX_WORDS = 1_000, 65_536, 10_000_000
"""Of what is built: a small file must not take all memory."""

# Keys of open_clip 3.3 that leave the architecture of CLIP or CustomTextCLIP as it is supported.
_MODEL_KEYS = {
    "embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "output_dict",
    "init_logit_scale", "init_logit_bias", "nonscalar_logit_scale",
}  # fmt: skip
_TOWER_KEYS = {
    "width", "layers", "mlp_ratio", "ls_init_value", "pool_type", "final_ln_after_pool",
    "output_tokens", "act_kwargs", "norm_kwargs", "block_type", "qk_norm", "scaled_cosine_attn",
    "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc",
}  # fmt: skip
_VISION_KEYS = {
    *_TOWER_KEYS, "image_size", "patch_size", "head_width", "patch_dropout", "attentional_pool",
    "attn_pooler_queries", "attn_pooler_heads", "no_ln_pre", "pos_embed_type", "timm_model_name",
    "timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias", "timm_drop",
    "timm_drop_path",
}  # fmt: skip
_TEXT_KEYS = {
    *_TOWER_KEYS, "context_length", "vocab_size", "heads", "embed_cls", "pad_id", "eos_id",
    "no_causal_mask", "proj_bias", "proj_type", "hf_tokenizer_name", "tokenizer_mode",
    "tokenizer_kwargs", "hf_model_name", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type",
}  # fmt: skip


def lowest_start_layer(text_layers: int, image_layers: int) -> int:
    """Return the lowest J: the image tower gets tokens in as many layers as the text tower."""
    return max(1, text_layers - image_layers + 1)


def has_text_tokens(config: Mapping[str, Any]) -> bool:
    """Return whether the text tower takes tokens: those from Hugging Face do not."""
    return not config["text_cfg"].get("hf_model_name")


def depths(config: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the layers that `start_layer` counts in, and the image tower's; None where unknown.

    They count in the text tower, or in the image tower where that takes no tokens. What timm
    builds is not known without building it.
    """
    vision = config["vision_cfg"]
    image = None if vision.get("timm_model_name") else vision.get("layers", 12)
    return (config["text_cfg"].get("layers", 12) if has_text_tokens(config) else image), image


def unsupported_reason(config: object) -> str | None:
    """Return why the base of this config does not support tokens, or None where it does.

    The reason is the end of a sentence that begins "... does not support representation tokens:".
    """
    if not isinstance(config, dict):
        return f"its config is {config!r}, not a JSON object"
    vision, text = config.get("vision_cfg"), config.get("text_cfg")
    if not isinstance(vision, dict) or not isinstance(text, dict):
        return "its config has no vision_cfg and text_cfg that are JSON objects"
    return (
        _coca_reason(config)
        or _image_reason(vision)
        or _text_reason(text)
        or _unknown_key("config", config, _MODEL_KEYS)
        or _unknown_key("vision_cfg", vision, _VISION_KEYS)
        or _unknown_key("text_cfg", text, _TEXT_KEYS)
        or _no_size("embed_dim", config.get("embed_dim"), MAX_WIDTH)
        or _no_size("number of image layers", vision.get("layers", 12), MAX_LAYERS)
        or _no_size("number of text layers", text.get("layers", 12), MAX_LAYERS)
        or _no_size("image width", vision.get("width", 768), MAX_WIDTH)
        or _no_size("text width", text.get("width", 512), MAX_WIDTH)
        or _no_size("vocabulary", text.get("vocab_size", 49408), MAX_WORDS)
        or _no_size("context length", text.get("context_length", 77), MAX_WIDTH)
    )


def _coca_reason(config: Mapping[str, Any]) -> str | None:
    if "multimodal_cfg" not in config:
        return None
    return "it is a CoCa model, whose text feature is that of an appended, masked class token"


def _image_reason(vision: Mapping[str, Any]) -> str | None:
    """Name the image towers of open_clip that do not support tokens."""
    name = vision.get("timm_model_name")
    if name:
        module = timm_module(str(name))
        if module in _TIMM_MODULES:
            return None
        other = f"timm's {name} ({module or 'not known to timm'}), of no family known here"
        return f"its image tower is {_TIMM_OTHERS.get(module or '', other)}"
    if isinstance(vision.get("layers"), list | tuple):
        return "its image tower is a ResNet, which has no tokens"
    is_coca = isinstance(vision.get("attentional_pool"), str)
    if is_coca or vision.get("pool_type", "tok") not in IMAGE_POOL_TYPES:
        return "its image tower does not pool"
    if vision.get("scaled_cosine_attn"):
        return "it uses scaled cosine attention"
    return None


def _text_reason(text: Mapping[str, Any]) -> str | None:
    """Name the text towers of open_clip that do not support tokens."""
    if text.get("hf_model_name"):
        return None
    allowed = BIDIRECTIONAL_POOL_TYPES if text.get("no_causal_mask") else POOL_TYPES
    if text.get("embed_cls") or text.get("pool_type", "argmax") not in allowed:
        return "its text tower does not pool at the end of the prompt"
    if text.get("scaled_cosine_attn"):
        return "it uses scaled cosine attention"
    return None


def timm_module(name: str) -> str | None:
    """Return which module of timm.models builds a model, "eva"; None where timm does not know it.

    Names may be of a folder, "local-dir:...", that names its architecture.
    """
    import timm  # open_clip has imported it; here, because this module is loaded without torch

    if name.startswith("local-dir:"):
        try:
            content = json.loads(Path(name[len("local-dir:") :], "config.json").read_text())
            name = str(content["architecture"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
    name = name.split(".")[0]  # without a tag
    if not timm.is_model(name):
        return None
    return timm.models.model_entrypoint(name).__module__.rpartition(".")[2]


def _unknown_key(what: str, content: Mapping[str, Any], known: set[str]) -> str | None:
    unknown = [str(key) for key in content if key not in known]
    return f"its {what} has {unknown[0]!r}, which is not known here" if unknown else None


def _no_size(what: str, value: object, most: int) -> str | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most
    return None if is_count else f"its {what} is {value!r:.100}, not a number from 1 to {most:,}"
