"""Import of the authors' checkpoints, under the names of their released code.

Two letters are exchanged there: the aligner calls our U "A" and our V "B", while the tower's
projection calls our D "A" and our U "B".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..models.mmrl_clip import MMRLCLIP
from .adapter_file import load_learner, unwrapped

PREFIX = "representation_learner."
# What an official checkpoint holds besides the learner: all of CLIP, and constants of the prompts.
_FROZEN = ("image_encoder.", "text_encoder.", "prompt_embeddings", "clip_model")


def load_official_state_dict(model: MMRLCLIP, state_dict: Mapping[str, Any]) -> None:
    """Load the learned parameters of the authors' MMRL or MMRL++ into a model.

    Args:
        model: of the same variant and shape. Its start layer J is kept: the released files do not
            record J, but the number of layers is checked.
        state_dict: tensors under the authors' names, or a checkpoint of theirs, which has them
            in "state_dict". CLIP's frozen weights among them are skipped.

    Raises:
        ValueError: names are missing or not known, shapes differ, values are no finite floating
            numbers, or the model is a variant of the ablation, of which the authors have released
            none.

    Example:
        >>> import open_clip, open_clip_mmrl, torch
        >>> name, tag = "mmrl-ViT-Ti-8-glyphs", "printed"
        >>> model = open_clip.create_model(name, tag, mmrl_cfg={"start_layer": 6, "rep_dim": 8})
        >>> state_dict = {  # of torch.load("model.pth.tar-10", weights_only=True)
        ...     "representation_learner.compound_rep_tokens": torch.zeros(5, 8),
        ...     "image_encoder.proj_rep": torch.zeros(model.visual.proj.shape),
        ... }
        >>> for tower, width in (("r2v", 128), ("r2t", 64)):
        ...     part = f"representation_learner.compound_rep_tokens_{tower}proj.0."
        ...     state_dict[part + "weight"] = torch.zeros(width, 8)
        ...     state_dict[part + "bias"] = torch.zeros(width)
        >>> open_clip_mmrl.load_official_state_dict(model, {"state_dict": state_dict})
        >>> model.learner.space.abs().max().item()
        0.0
    """
    model = unwrapped(model)
    for name, full in (("token_sides", "both"), ("space", "shared")):
        value = getattr(model.config, name)
        if value != full:
            raise ValueError(
                f"The authors' checkpoints hold the full method, but this model has {name}="
                f"{value!r}: create it with {name}={full!r}."
            )
    tensors = tensors_by_name(state_dict)
    layers = model.learner.layers
    sources = _official_names(model.config.variant, layers)
    learned = [n for n in tensors if n.startswith(PREFIX) and not n.endswith("prompt_embeddings")]
    wanted = {name for names in sources.values() for name in names}
    missing = sorted(wanted - set(tensors))
    unknown = sorted(n for n in learned if n not in wanted) + sorted(
        n for n in tensors if n not in wanted and not n.startswith((PREFIX, *_FROZEN))
    )
    if missing or unknown:
        raise ValueError(
            f"This state dict is not that of {model.config.variant} with {layers} token layers: "
            f"missing {missing or 'nothing'}, not known {unknown or 'nothing'}. Check variant "
            "and start_layer."
        )
    ours = {"start_layer": model.learner.start_layer}
    for name, names in sources.items():
        parts = [_as_tensor(tensors[n], n) for n in names]
        stacked = model.learner.get_parameter(name).ndim > parts[0].ndim
        if len({part.shape for part in parts}) > 1:
            raise ValueError(f"{names} differ in shape: {[tuple(p.shape) for p in parts]}.")
        ours[name] = torch.stack(parts) if stacked else parts[0]
    load_learner(model, ours, "The official state dict")


def tensors_by_name(state_dict: object) -> dict[str, Any]:
    """Return what is to be tensors by the authors' names, out of a checkpoint's wrapping."""
    content = state_dict
    if isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise ValueError(
            f"the official state dict is a {type(content).__name__}, not a dict of tensors: "
            "give what torch.load(path, weights_only=True) returns."
        )
    return dict(content)


def _as_tensor(value: Any, name: str) -> Tensor:
    """Return a tensor on the CPU; ValueError where it cannot be a parameter."""
    try:
        tensor = torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{name} in the official state dict is no tensor ({error}).") from error
    if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_meta:
        raise ValueError(
            f"{name} in the official state dict holds {tensor.dtype} ({tensor.layout}); it has to "
            "be a dense tensor of floating numbers."
        )
    return tensor


def _official_names(variant: str, layers: int) -> dict[str, list[str]]:
    """Return the authors' names for each parameter of ours, one per layer where it is stacked."""
    names = {"space": [PREFIX + "compound_rep_tokens"]}
    for ours, theirs in (("image_aligner", "r2v"), ("text_aligner", "r2t")):
        if variant == "mmrl":
            root = f"{PREFIX}compound_rep_tokens_{theirs}proj"
            for part in ("weight", "bias"):
                names[f"{ours}.{part}"] = [f"{root}.{i}.{part}" for i in range(layers)]
        else:
            root = f"{PREFIX}srra_{theirs}proj"
            names[f"{ours}.weight"] = [f"{root}.weight"]
            for part, letter in (("residual_u", "A"), ("residual_v", "B"), ("bias", "bias")):
                names[f"{ours}.{part}"] = [f"{root}.srra.{i}.{letter}" for i in range(layers)]
    if variant == "mmrl":
        names["projection.weight"] = ["image_encoder.proj_rep"]
    else:
        names["projection.residual_d"] = ["image_encoder.A"]
        names["projection.residual_u"] = ["image_encoder.B"]
    return names
