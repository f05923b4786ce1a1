"""Adapter files: everything trained, nothing of the base, in one safetensors file.

The header carries one JSON text under the key `open_clip_mmrl`: format version, the method's
config, what base it belongs to, class names, template, settings and scores.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from .config import MMRLConfig
from .model import MMRLCLIP

FORMAT_VERSION = 1
HEADER = "open_clip_mmrl"
# These may be chosen again when an adapter is used; everything else is part of its shape.
FREE_FIELDS = ("alpha", "beta", "reg_weight")
_SAMPLES = 4096


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all: into a temporary neighbour, then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def base_fingerprint(model: MMRLCLIP) -> dict[str, Any]:
    """What tells one set of base weights from another.

    `sha256` is over up to 4,096 evenly spaced values of every frozen tensor, exact for weights
    stored in the same dtype; `means` are their mean magnitudes, for a base loaded in another
    precision. Position embeddings are left out: open_clip resizes them to the input. Names are
    those of the plain CLIP layout, whichever of open_clip's two layouts the model has.
    """
    digest, means, dtypes = hashlib.sha256(), [], set()
    named = ((name.removeprefix("text."), p) for name, p in model.named_parameters())
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        if name.startswith("learner.") or name.endswith("positional_embedding"):
            continue
        dtypes.add(str(tensor.dtype).removeprefix("torch."))
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // _SAMPLES)
        sample = flat[::step].to("cpu", torch.float32)
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(sample.numpy().tobytes())
        means.append(float(f"{sample.abs().mean().item():.4g}"))
    return {"sha256": digest.hexdigest(), "dtype": "+".join(sorted(dtypes)), "means": means}


def save_adapter(
    model: MMRLCLIP,
    path: str | Path,
    *,
    class_names: Sequence[str] = (),
    template: str = "",
    base_model: str | None = None,
    base_pretrained: str | None = None,
    settings: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
) -> Path:
    """Write the learner and all that is needed to use it again.

    Args:
        model: the trained model.
        path: the file to write, atomically; by custom `adapter.safetensors`.
        class_names: the classes seen in training.
        template: their prompt, with {} for the class name.
        base_model, base_pretrained: open_clip's names of the base; by default what
            `open_clip.create_model` was given, when it made this model.
        settings, scores: anything JSON can hold, for the record.
    """
    if isinstance(class_names, str):
        raise ValueError(f"class_names is the text {class_names!r}; give a list of names.")
    origin = getattr(model, "base_origin", None) or {}
    header = {
        "format_version": FORMAT_VERSION,
        "config": model.config.to_dict(),
        "base": {
            "model": base_model or origin.get("model"),
            "pretrained": base_pretrained or origin.get("pretrained"),
            "quick_gelu": model.quick_gelu,
            "shape": _base_shape(model),
            "fingerprint": base_fingerprint(model),
        },
        "class_names": list(class_names),
        "template": template,
        "settings": dict(settings or {}),
        "scores": dict(scores or {}),
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.learner.state_dict().items()}
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"settings or scores hold what JSON cannot ({error}): {settings!r}, {scores!r}."
        ) from error
    write_atomically(path, save_tensors(tensors, metadata={HEADER: text}))
    return Path(path)


def read_adapter_info(path: str | Path) -> dict[str, Any]:
    """The header of an adapter file as a dict, without reading its tensors."""
    header = read_metadata(path).get(HEADER)
    if header is None:
        raise ValueError(
            f"{path} is a safetensors file, but not an adapter: its header has no {HEADER!r}. "
            "Give a file written by save_adapter."
        )
    try:
        info = json.loads(header)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} has a header that is no JSON ({error}): train again.") from error
    if not isinstance(info, dict):
        raise ValueError(f"{path} has a header that is no JSON object: train again.")
    if info.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has adapter format {info.get('format_version')}, this version of "
            f"open_clip_mmrl reads {FORMAT_VERSION}: install the version that wrote it or newer."
        )
    return info


def is_adapter(path: object) -> bool:
    """Whether this is the path of an existing safetensors file with an adapter's header."""
    try:
        return isinstance(path, str | Path) and HEADER in read_metadata(path)
    except ValueError:
        return False


def read_metadata(path: str | Path) -> dict[str, str]:
    """The texts in a safetensors file's header; ValueError where it is missing or damaged."""
    if not Path(path).is_file():
        raise ValueError(f"There is no adapter file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as a safetensors file ({error}): it is truncated, damaged or "
            "of another kind. Copy it again, or train again."
        ) from error


def load_adapter(model: MMRLCLIP, path: str | Path) -> dict[str, Any]:
    """Load an adapter into a model on the same base, strictly; returns its header.

    ValueError, and the model untouched, when the file is damaged, the base is another one
    (other widths, depths, weights or activation) or the config's shape differs.
    """
    info = read_adapter_info(path)
    _check_base(model, info["base"], path)
    stored = MMRLConfig.from_dict(info["config"])
    for name, value in stored.to_dict().items():
        ours = getattr(model.config, name)
        if name not in FREE_FIELDS and ours != value:
            raise ValueError(
                f"{path} was trained with {name}={value!r}, this model has {ours!r}. Create the "
                "model with pretrained=<the adapter file>, which sets all of this."
            )
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    _load_learner(model, tensors, path)
    return info


def _load_learner(model: MMRLCLIP, tensors: Mapping[str, Tensor], source: object) -> None:
    """Strict, and checked as a whole before anything is changed."""
    wanted = model.learner.state_dict()
    missing, extra = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    if missing or extra:
        raise ValueError(f"{source} does not fit: missing {missing}, not known {extra}.")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise ValueError(
                f"{source} does not fit: {name} is {tuple(tensor.shape)}, this model has "
                f"{tuple(wanted[name].shape)}."
            )
    layer, ours = int(tensors["start_layer"]), int(wanted["start_layer"])
    if layer != ours:
        raise ValueError(
            f"{source} does not fit: its tokens begin at layer {layer}, this model's at {ours}."
        )
    model.learner.load_state_dict(tensors)


def _base_shape(model: MMRLCLIP) -> dict[str, int]:
    tower = model.text_tower
    return {
        "image_width": model.visual.proj.shape[0],
        "image_layers": len(model.visual.transformer.resblocks),
        "patch_size": model.visual.patch_size[0],
        "text_width": tower.token_embedding.embedding_dim,
        "text_layers": len(tower.transformer.resblocks),
        "embed_dim": model.visual.proj.shape[1],
        "vocab_size": tower.token_embedding.num_embeddings,
    }


def _check_base(model: MMRLCLIP, base: Mapping[str, Any], path: object) -> None:
    name = f"{base['model'] or 'a base without a name'} ({base['pretrained'] or 'no tag'})"
    for key, value in _base_shape(model).items():
        if base["shape"][key] != value:
            raise ValueError(
                f"{path} belongs to another base, {name}: its {key} is {base['shape'][key]}, "
                f"this model's {value}."
            )
    if base["quick_gelu"] != model.quick_gelu:
        names = {True: "QuickGELU", False: "GELU"}
        raise ValueError(
            f"{path} was trained with {names[base['quick_gelu']]}, this model runs "
            f"{names[model.quick_gelu]}: create it with force_quick_gelu={base['quick_gelu']}."
        )
    stored, ours = base["fingerprint"], base_fingerprint(model)
    if stored["dtype"] == ours["dtype"]:
        same = stored["sha256"] == ours["sha256"]
    else:
        same = len(stored["means"]) == len(ours["means"]) and all(
            abs(a - b) <= 0.01 * max(abs(a), abs(b), 1e-6)
            for a, b in zip(stored["means"], ours["means"], strict=True)
        )
    if not same:
        raise ValueError(
            f"{path} was trained on {name}, whose weights differ from this model's: create the "
            "model with the pretrained tag or checkpoint of its training."
        )
