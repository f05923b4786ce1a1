"""Whether the base of an open_clip config supports representation tokens; nothing is built.

open_clip's registry may hold anything: configs of other kinds of models, with keys of their own
(those of open_clip's unreleased main generate text, hear sound or have no image tower), and what
users put there. A config is accepted only if every key of it is known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

POOL_TYPES = ("argmax", "eos", "last")
"""How a causal text tower may pool: at the end of the prompt, which sees all of it."""
BIDIRECTIONAL_POOL_TYPES = ("first", *POOL_TYPES)

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
    "attn_pooler_queries", "attn_pooler_heads", "no_ln_pre", "pos_embed_type",
}  # fmt: skip
_TEXT_KEYS = {
    *_TOWER_KEYS, "context_length", "vocab_size", "heads", "embed_cls", "pad_id", "eos_id",
    "no_causal_mask", "proj_bias", "proj_type", "hf_tokenizer_name", "tokenizer_mode",
    "tokenizer_kwargs",
}  # fmt: skip


def lowest_start_layer(text_layers: int, image_layers: int) -> int:
    """Return the lowest J: the image tower gets tokens in as many layers as the text tower."""
    return max(1, text_layers - image_layers + 1)


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
        _unsupported_kind(config, vision, text)
        or _unknown_key("config", config, _MODEL_KEYS)
        or _unknown_key("vision_cfg", vision, _VISION_KEYS)
        or _unknown_key("text_cfg", text, _TEXT_KEYS)
        or _no_number("embed_dim", config.get("embed_dim"))
        or _no_number("number of image layers", vision.get("layers", 12))
        or _no_number("number of text layers", text.get("layers", 12))
    )


def _unsupported_kind(
    config: Mapping[str, Any], vision: Mapping[str, Any], text: Mapping[str, Any]
) -> str | None:
    """Name what is known of open_clip and does not support tokens."""
    if "multimodal_cfg" in config:
        return "it is a CoCa model, whose towers pool by other means than class token and EOT"
    if "timm_model_name" in vision:
        return (
            f"its image tower is timm's {vision['timm_model_name']}, not open_clip's "
            "VisionTransformer with a class token"
        )
    if isinstance(vision.get("layers"), list | tuple):
        return "its image tower is a ResNet, which has no tokens"
    if vision.get("attentional_pool") or vision.get("pool_type", "tok") != "tok":
        return "its image tower does not pool by a class token"
    if "hf_model_name" in text:
        return f"its text tower is {text['hf_model_name']}, not open_clip's TextTransformer"
    if text.get("no_causal_mask"):
        return "its text tower is not causal"
    if text.get("embed_cls") or text.get("pool_type", "argmax") not in POOL_TYPES:
        return "its text tower does not pool at the end of the prompt"
    if vision.get("scaled_cosine_attn") or text.get("scaled_cosine_attn"):
        return "it uses scaled cosine attention"
    return None


def _unknown_key(what: str, content: Mapping[str, Any], known: set[str]) -> str | None:
    unknown = [str(key) for key in content if key not in known]
    return f"its {what} has {unknown[0]!r}, which is not known here" if unknown else None


def _no_number(what: str, value: object) -> str | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return None if is_count else f"its {what} is {value!r}"
