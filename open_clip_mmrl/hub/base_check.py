"""What an adapter file records of its base, and whether a model has that base."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from ..models.base_config import has_text_tokens
from ..models.mmrl_clip import MMRLCLIP
from ..models.support import counted_depth
from .adapter_info import BaseInfo, Fingerprint

_SAMPLES = 4096


def describe_base(model: MMRLCLIP, name: str | None, pretrained: str | None) -> BaseInfo:
    """Return what has to agree before an adapter may be used, and how the base was run."""
    return BaseInfo(
        model=name,
        pretrained=pretrained,
        quick_gelu=model.quick_gelu,
        shape=_base_shape(model),
        fingerprint=base_fingerprint(model),
        image_size=list(model.visual.image_size),
        context_length=model.context_length,
        preprocess=getattr(model.visual, "preprocess_cfg", None),
    )


def base_fingerprint(model: MMRLCLIP) -> Fingerprint:
    """Return what distinguishes one set of base weights from another.

    `sha256` is over up to 4,096 evenly spaced values of every frozen tensor, exact for weights
    stored in the same dtype; `means` are their mean magnitudes, for a base loaded in another
    precision. Position embeddings have digests of their own in `positions`, by number of rows:
    open_clip resizes them to the input. Names are those of the plain CLIP layout, whichever of
    open_clip's two layouts the model has.
    """
    digest, means, dtypes, positions = hashlib.sha256(), [], set(), {}
    named = ((name.removeprefix("text."), p) for name, p in model.named_parameters())
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        if name.startswith("learner."):
            continue
        dtypes.add(str(tensor.dtype).removeprefix("torch."))
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // _SAMPLES)
        sample = flat[::step].to("cpu", torch.float32)
        values = sample.numpy().tobytes()
        if name.endswith(("positional_embedding", ".pos_embed")):  # open_clip's, timm's
            rows = f"{name}: {tensor.shape[-2]} rows"
            positions[rows] = hashlib.sha256(values).hexdigest()
            continue
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(values)
        means.append(float(f"{sample.abs().mean().item():.4g}"))
    return Fingerprint(digest.hexdigest(), "+".join(sorted(dtypes)), means, positions)


def _base_shape(model: MMRLCLIP) -> dict[str, int]:
    image, tower = model.image_tower, model.text_tower
    return {
        "image_width": image.width,
        "image_layers": image.depth,
        "patch_size": image.patch_size,
        "text_width": tower.width,
        "text_layers": counted_depth(model),
        "embed_dim": image.embed_dim,
        "vocab_size": tower.vocab_size,
    }


def registered_shape(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the same of open_clip's config of a base, of which nothing is built.

    Without what only timm or transformers know.
    """
    vision = {**asdict(CLIPVisionCfg()), **config["vision_cfg"]}
    text = {**asdict(CLIPTextCfg()), **config["text_cfg"]}
    patch, shape = vision["patch_size"], {"embed_dim": config["embed_dim"]}
    if not vision["timm_model_name"]:
        shape |= {"image_width": vision["width"], "image_layers": vision["layers"]}
        shape["patch_size"] = patch[0] if isinstance(patch, list | tuple) else patch
    if has_text_tokens(config):
        shape |= {"text_width": text["width"], "text_layers": text["layers"]}
        shape["vocab_size"] = text["vocab_size"]
    return shape


def _name(base: BaseInfo) -> str:
    return f"{base.model or 'a base without a name'} ({base.pretrained or 'no tag'})"


def check_shape(shape: Mapping[str, int], base: BaseInfo, path: object) -> None:
    """Raise ValueError where widths or depths are not those recorded in the file at `path`."""
    for key, value in shape.items():
        if base.shape.get(key) != value:
            raise ValueError(
                f"{path} belongs to another base, {_name(base)}: its {key} is "
                f"{base.shape.get(key)}, this model's {value}."
            )


def check_base(model: MMRLCLIP, base: BaseInfo, path: object) -> None:
    """Raise ValueError where the model's base is not the one recorded in the file at `path`."""
    check_shape(_base_shape(model), base, path)
    name = _name(base)
    if base.quick_gelu != model.quick_gelu:
        names = {True: "QuickGELU", False: "GELU"}
        raise ValueError(
            f"{path} was trained with {names[base.quick_gelu]}, this model runs "
            f"{names[model.quick_gelu]}: create it with force_quick_gelu={base.quick_gelu}."
        )
    ours = base_fingerprint(model)
    if list(base.image_size) != list(model.visual.image_size):
        # Resized, though their number may be the same.
        positions = {k: v for k, v in ours.positions.items() if not k.startswith("visual.")}
        ours = replace(ours, positions=positions)
    if not _same_weights(base.fingerprint, ours):
        raise ValueError(
            f"{path} was trained on {name}, whose weights differ from this model's: create the "
            "model with the pretrained tag or checkpoint of its training."
        )


def check_input(model: MMRLCLIP, base: BaseInfo, path: object) -> None:
    """Raise ValueError where the model's input is prepared in another way than in training.

    Such a model gives other features without an error. What is not known is not compared.
    """
    ours: Any = getattr(model.visual, "preprocess_cfg", None)
    pairs: dict[str, tuple[object, object]] = {
        "image_size": (list(base.image_size), list(model.visual.image_size)),
        "context_length": (base.context_length, model.context_length),
    }
    if base.preprocess and ours:
        theirs, ours = _preprocessing(base.preprocess), _preprocessing(ours)
        pairs |= {name: (value, ours[name]) for name, value in theirs.items()}
    for name, (trained, found) in pairs.items():
        if trained != found:
            raise ValueError(
                f"{path} was trained with {name}={trained}, this model has {found}: create the "
                "model with pretrained=<the adapter file>, which sets it. To choose another value "
                "for good reason, give it to that create_model as well (force_image_size, "
                "force_context_length, force_preprocess_cfg)."
            )


def _preprocessing(config: Mapping[str, Any]) -> dict[str, object]:
    """Return what decides on the values of pixels, but the size; defaults filled in."""
    known = merge_preprocess_dict(PreprocessCfg(), dict(config))
    unused = {"size", "mode"} | ({"fill_color"} if known["resize_mode"] != "longest" else set())
    values = {name: value for name, value in known.items() if name not in unused}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _same_weights(stored: Fingerprint, ours: Fingerprint) -> bool:
    """Compare exactly within one dtype; between dtypes by mean magnitudes, to 1 %."""
    if stored.dtype == ours.dtype:
        return stored.sha256 == ours.sha256 and all(
            stored.positions.get(rows, digest) == digest for rows, digest in ours.positions.items()
        )
    return len(stored.means) == len(ours.means) and all(
        abs(a - b) <= 0.01 * max(abs(a), abs(b), 1e-6)
        for a, b in zip(stored.means, ours.means, strict=True)
    )
