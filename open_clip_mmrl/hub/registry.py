"""The seam into open_clip: everything that touches its registry stands here.

`register()` does three things, all of which `unregister()` undoes:

1. a config `mmrl-<base>` and `mmrlpp-<base>` for every base that can carry tokens, with the
   base's pretrained tags, and the tiny CLIP that this package ships;
2. in `open_clip.factory`, the names CLIP and CustomTextCLIP build our class when a config has
   the key `mmrl_cfg`, and open_clip's own otherwise;
3. a thin wrapper around `create_model`, for what only it can see: the `pretrained` argument (an
   adapter file? a tag that wants QuickGELU?) and names that cannot carry tokens.

Written against open_clip 3.3; a factory without these names is refused with a clear message.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import open_clip
from open_clip import factory
from open_clip import pretrained as tags

from .. import assets
from ..config import MMRLConfig
from ..errors import UsageError
from ..models.mmrl_clip import MMRLCLIP, MMRLCustomTextCLIP, MMRLPlainCLIP
from ..models.support import unsupported_reason
from ..utils.text import did_you_mean
from .adapter_file import is_adapter, read_adapter
from .create import create
from .names import PREFIXES, ModelName

_OURS = {"CLIP": MMRLPlainCLIP, "CustomTextCLIP": MMRLCustomTextCLIP}
_HOOKED = ("CLIP", "CustomTextCLIP", "create_model")
_replaced: dict[str, tuple[Any, Any]] = {}
"""What stands in open_clip.factory: name -> (open_clip's own, ours)."""


def register() -> None:
    """Make the models known to open_clip. Idempotent; bases added since are picked up."""
    missing = [name for name in (*_HOOKED, "_MODEL_CONFIGS") if not hasattr(factory, name)]
    if missing:
        raise RuntimeError(
            f"open_clip {open_clip.__version__} has no open_clip.factory.{missing[0]}, where "
            "open_clip_mmrl joins it: install open_clip_torch 3.3 or a later version that has it."
        )
    if assets.MODEL_NAME not in factory._MODEL_CONFIGS:
        factory._MODEL_CONFIGS[assets.MODEL_NAME] = assets.model_config()
        tags._PRETRAINED[assets.MODEL_NAME] = {assets.TAG: assets.pretrained_config()}
    for base in list(factory._MODEL_CONFIGS):
        if (
            ModelName.parse(base).variant is None
            and unsupported_reason(factory._MODEL_CONFIGS[base]) is None
        ):
            _register_base(base)
    if not _replaced:
        for name in _HOOKED:
            original = getattr(factory, name)
            ours = _dispatcher(original, _OURS[name]) if name in _OURS else _wrapper(original)
            _replaced[name] = (original, ours)
            setattr(factory, name, ours)
        open_clip.create_model = factory.create_model


def unregister() -> None:
    """Leave open_clip as it was before `register()`. Idempotent."""
    for name, (original, ours) in _replaced.items():
        for module in (factory, open_clip):
            if getattr(module, name) is ours:  # not where somebody wrapped it again
                setattr(module, name, original)
    _replaced.clear()
    for registry in (factory._MODEL_CONFIGS, tags._PRETRAINED):
        for name in list(registry):
            if _is_ours(name):
                del registry[name]


def _is_ours(name: str) -> bool:
    """Whether `register()` made this name, rather than a user's own config file."""
    config = factory._MODEL_CONFIGS.get(name, {"mmrl_cfg": {}})
    return name == assets.MODEL_NAME or (
        ModelName.parse(name).variant is not None and "mmrl_cfg" in config
    )


def default_config(base: Mapping[str, Any], variant: str) -> MMRLConfig:
    """The paper's settings; J is 6 of 12 text layers, and half-way up for other depths, or as low
    as a shallower image tower lets it be.
    """
    text_layers = base["text_cfg"].get("layers", 12)
    image_layers = base["vision_cfg"].get("layers", 12)
    lowest = max(1, text_layers - image_layers + 1)
    start_layer = max(lowest, text_layers // 2)
    return MMRLConfig.from_dict({"variant": variant, "start_layer": start_layer})


def _register_base(base: str) -> None:
    config = factory._MODEL_CONFIGS[base]
    for prefix, variant in PREFIXES.items():
        ours = deepcopy(config)
        ours["mmrl_cfg"] = default_config(config, variant).to_dict()
        factory._MODEL_CONFIGS[prefix + base] = ours
        if base in tags._PRETRAINED:
            tags._PRETRAINED[prefix + base] = tags._PRETRAINED[base]


def _dispatcher(original: type, ours: type[MMRLCLIP]):
    @functools.wraps(original, updated=())
    def build(*args: Any, **kwargs: Any):
        return (ours if "mmrl_cfg" in kwargs else original)(*args, **kwargs)

    return build


def _wrapper(original):
    signature = inspect.signature(original)

    @functools.wraps(original)
    def create_model(model_name: str, pretrained: str | None = None, *args: Any, **kwargs: Any):
        name = ModelName.parse(model_name)
        if name.variant is None:
            if is_adapter(pretrained):
                adapter = read_adapter(pretrained)
                right = ModelName(adapter.base.model or name.base, adapter.config.variant)
                raise ValueError(
                    f"{pretrained} is an adapter, which {model_name!r} cannot hold: create "
                    f"{str(right)!r}."
                )
            return original(model_name, pretrained, *args, **kwargs)
        # Later positional arguments by name, so that some of them can be set below.
        later = list(signature.parameters)[2 : 2 + len(args)]
        kwargs.update(zip(later, args, strict=True))
        return create(original, name, registered_config(name), pretrained, kwargs)

    return create_model


def registered_config(name: ModelName) -> dict[str, Any]:
    """The method's settings registered under one of our names.

    A base added since `register()` is registered on the way.

    Raises:
        UsageError: open_clip does not know the base, or it cannot carry tokens.
    """
    base, full = name.base, str(name)
    if ModelName.parse(base).variant:
        raise UsageError(
            f"{full!r} would put tokens on tokens: {base} carries them already: ask for {base!r}."
        )
    if full not in factory._MODEL_CONFIGS:
        if base not in factory._MODEL_CONFIGS:
            known = [n for n in factory._MODEL_CONFIGS if ModelName.parse(n).variant]
            raise UsageError(
                f"open_clip knows no model {base!r}, so there is no {full!r}."
                f"{did_you_mean(full, known)} open_clip.list_models() lists all."
            )
        reason = unsupported_reason(factory._MODEL_CONFIGS[base])
        if reason:
            raise UsageError(f"{base} cannot carry representation tokens: {reason}.")
        _register_base(base)
    if "mmrl_cfg" not in factory._MODEL_CONFIGS[full]:
        raise UsageError(
            f"the config registered with open_clip as {full!r} has no 'mmrl_cfg': give it that "
            "key, or another name."
        )
    return factory._MODEL_CONFIGS[full]["mmrl_cfg"]
