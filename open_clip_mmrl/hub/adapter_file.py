"""Adapter files: the trained parameters, and nothing of the base, in one safetensors file.

The file's metadata holds one JSON text under the key `open_clip_mmrl`; see `adapter_info`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ..config import FREE_FIELDS, MMRLConfig
from ..data.more_prompts import MorePrompts
from ..errors import UsageError
from ..models.mmrl_clip import MMRLCLIP
from ..utils.digest import tensors_digest
from ..utils.files import write_atomically
from ..version import __version__
from .adapter_header import check_header, parse_json
from .adapter_info import AdapterInfo, Calibration
from .adapter_reading import HEADER, check_shapes, open_safetensors, read_adapter
from .base_check import check_base, check_input, describe_base
from .class_tokens import usable_names
from .names import ModelName


def save_adapter(
    model: MMRLCLIP,
    path: str | Path,
    *,
    class_names: Sequence[str] = (),
    template: str = "",
    prompts: MorePrompts | None = None,
    base_model: str | None = None,
    base_pretrained: str | None = None,
    settings: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
    calibration: Calibration | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write the learner, and all that is needed to use it again, to one file.

    Args:
        model: the trained model; also within DataParallel, DistributedDataParallel or
            `torch.compile`.
        path: the file to write, atomically; usually `adapter.safetensors`.
        class_names: the classes seen in training.
        template: their prompt, with {} for the class name; without one, "a photo of a {}." is
            used with this adapter.
        prompts: what is written for classes besides the template.
        base_model: open_clip's name of the base; by default the one `open_clip.create_model`
            made this model from.
        base_pretrained: tag or checkpoint of the base weights, with the same default.
        settings: how it was trained, for the record; anything JSON can hold.
        scores: how well it did, for the record; anything JSON can hold.
        calibration: what held-back images told, for sets of classes and "none of these".
        provenance: what it is of, besides this package's version: see `AdapterInfo`.

    Returns:
        The path written.

    Raises:
        ValueError: `class_names` or `template` are none that can be used again, a parameter is
            not finite, or JSON cannot hold `settings`, `scores` or `provenance`. Nothing is
            written then.

    Example:
        >>> import open_clip, open_clip_mmrl
        >>> model = open_clip.create_model("mmrl-ViT-Ti-8-glyphs", pretrained="printed")
        >>> path = open_clip_mmrl.save_adapter(model, "x.safetensors", class_names=["cat", "dog"])
        >>> open_clip_mmrl.read_adapter_info(path)["class_names"]
        ['cat', 'dog']
    """
    model = unwrapped(model)
    names = usable_names(class_names, template)
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.learner.state_dict().items()}
    _require_finite(tensors, f"{path} was not written: the model")
    origin = model.base_origin or {}
    name = base_model or origin.get("model")
    info = AdapterInfo(
        path=path,
        config=model.config,
        base=describe_base(
            model,
            name=ModelName.parse(name).base if name else None,
            pretrained=base_pretrained or origin.get("pretrained"),
        ),
        class_names=names,
        template=template,
        prompts=prompts,
        settings=dict(settings or {}),
        scores=dict(scores or {}),
        tensors_sha256=tensors_digest(tensors),
        calibration=calibration,
        provenance={"open_clip_mmrl": __version__, **(provenance or {})},
    )
    try:
        text = json.dumps(info.signed(), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"settings, scores or provenance hold what JSON cannot ({error}): {settings!r}, "
            f"{scores!r}, {provenance!r}."
        ) from error
    try:
        check_header(parse_json(text))
    except ValueError as error:
        raise ValueError(f"{path} was not written: it would have a header {error}.") from error
    write_atomically(path, save_tensors(tensors, metadata={HEADER: text}))
    return Path(path)


def read_adapter_info(path: str | Path) -> dict[str, Any]:
    """Return the header of an adapter file as a dict, without reading its tensors.

    Args:
        path: the adapter file, or a run's folder.

    Returns:
        `format_version`, `config` (fields of MMRLConfig), `base` (name, tag and fingerprint),
        `class_names`, `template`, `settings`, `scores` and `provenance`.

    Raises:
        UsageError: there is no such file.
        ValueError: it is damaged, not an adapter, or of another format version.

    Example:
        >>> import open_clip, open_clip_mmrl
        >>> model = open_clip.create_model("mmrl-ViT-Ti-8-glyphs", pretrained="printed")
        >>> path = open_clip_mmrl.save_adapter(model, "x.safetensors")
        >>> info = open_clip_mmrl.read_adapter_info(path)
        >>> info["base"]["model"], info["config"]["variant"]
        ('ViT-Ti-8-glyphs', 'mmrl')
    """
    return read_adapter(path).to_dict()


def load_adapter(
    model: MMRLCLIP, path: str | Path, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Load an adapter into a model on the same base.

    The model takes over the adapter's alpha, beta and reg_weight.

    Args:
        model: a model on the base of the training, with a config of the same shape.
        path: the adapter file, or a run's folder.
        settings: other values of alpha, beta and reg_weight (MMRL++'s beta is chosen per target).

    Returns:
        The adapter's header, as `read_adapter_info` returns it.

    Raises:
        ValueError: the file is damaged, the base is another one (other widths, depths, weights or
            activation), takes images of another size or preprocessing or prompts of another
            length, or the config's shape differs; the model is unchanged then.

    Example:
        >>> import open_clip, open_clip_mmrl
        >>> name, tag = "mmrl-ViT-Ti-8-glyphs", "printed"
        >>> trained, model = (open_clip.create_model(name, tag) for _ in range(2))
        >>> path = open_clip_mmrl.save_adapter(trained, "x.safetensors")
        >>> info = open_clip_mmrl.load_adapter(model, path, {"alpha": 0.5})
        >>> info["config"]["alpha"], model.config.alpha
        (0.7, 0.5)
    """
    info, model = read_adapter(path), unwrapped(model)
    check_input(model, info.base, info.path)
    apply_adapter(model, info, settings)
    return info.to_dict()


def apply_adapter(
    model: MMRLCLIP, info: AdapterInfo, settings: Mapping[str, Any] | None = None
) -> None:
    """Check the model against an adapter's header, then load the tensors; see `load_adapter`."""
    check_base(model, info.base, info.path)
    for name, value in info.config.to_dict().items():
        ours = getattr(model.config, name)
        if name not in FREE_FIELDS and ours != value:
            raise ValueError(
                f"{info.path} was trained with {name}={value!r}, this model has {ours!r}. Create "
                "the model with pretrained=<the adapter file>, which sets all of this."
            )
    with open_safetensors(info.path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    for name in settings or {}:
        if name not in FREE_FIELDS:
            raise UsageError(f"settings has {name!r}; with an adapter it may set {FREE_FIELDS}.")
    free = {name: getattr(info.config, name) for name in FREE_FIELDS}
    config = MMRLConfig.from_dict({**model.config.to_dict(), **free, **(settings or {})})
    load_learner(model, tensors, info.path, info.tensors_sha256)
    model.config = config


def load_learner(
    model: MMRLCLIP, tensors: Mapping[str, Tensor], source: object, sha256: str | None = None
) -> None:
    """Load the learner's parameters, all of them, checked before anything is changed.

    Args:
        model: whose learner they fit.
        tensors: by the learner's names.
        source: where they are from, for messages.
        sha256: their `tensors_digest` when they were saved, where it is known.
    """
    wanted = model.learner.state_dict()
    check_shapes(
        {name: tuple(tensor.shape) for name, tensor in wanted.items()},
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        source,
    )
    layer, ours = int(tensors["start_layer"]), model.config.start_layer
    if layer != ours:
        raise ValueError(
            f"{source} does not fit: its tokens begin at layer {layer}, this model's at {ours}."
        )
    if sha256 not in (None, tensors_digest(tensors)):
        raise ValueError(
            f"{source} is damaged: by their digest, its tensors are not those that were saved. "
            "Copy it again, or train again."
        )
    _require_finite(tensors, source)
    model.learner.load_state_dict(tensors)


def unwrapped(model: nn.Module) -> MMRLCLIP:
    """Return the model within DataParallel, DistributedDataParallel or `torch.compile`.

    Raises:
        ValueError: there is none, or its weights are sharded over processes.
    """
    inner: Any = model
    while not isinstance(inner, MMRLCLIP):
        outer, inner = inner, getattr(inner, "module", getattr(inner, "_orig_mod", None))
        if inner is None:
            raise ValueError(
                f"a {type(outer).__name__} is no model with representation tokens: give what "
                'open_clip.create_model("mmrl-...") or MMRLCLIP.from_open_clip returned.'
            )
    if any(hasattr(parameter, "full_tensor") for parameter in inner.parameters()):
        raise ValueError(
            "the model's weights are sharded (FSDP). Gather them with get_model_state_dict(model, "
            "options=StateDictOptions(full_state_dict=True)) of torch.distributed.checkpoint, and "
            "load them into a model that is not."
        )
    return inner


def _require_finite(tensors: Mapping[str, Tensor], source: object) -> None:
    """Raise ValueError for NaN and infinity, which a diverged training or damage leaves."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(
                f"{source} holds numbers in {name} that are not finite: its training diverged, "
                "or it is damaged. Train again, with a lower learning rate."
            )
