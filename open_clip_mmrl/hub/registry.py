"""The seam into open_clip: every place of it that is patched, and why.

`register()` changes three things, and `unregister()` undoes them:

1. `factory._MODEL_CONFIGS` and `pretrained._PRETRAINED`, the registries of configs and tags, get
   `mmrl-<base>` and `mmrlpp-<base>` for every base that supports representation tokens, with the
   base's tags, and the tiny CLIP that this package ships: all functions of open_clip read there.
2. `factory.CLIP` and `factory.CustomTextCLIP` build our class where a config has the key
   `mmrl_cfg`, and open_clip's own otherwise: `create_model` takes its classes by these names.
3. `create_model`, `load_checkpoint` and `get_tokenizer`, under both of their names, are wrapped:
   the first for what only it can see, the argument `pretrained` (an adapter file? a tag that needs
   QuickGELU?), names that do not exist and names of places (`mmrl-hf-hub:...`,
   `mmrl-local-dir:...`); the second for files of base weights, see `base_weights`; the third for
   names of places.

Written against open_clip 3.3. `_NEEDED` are the names that have to be there, in open_clip's
unreleased main (4.x) too: a version without one of them is refused with a clear message.

What imports torch or open_clip is imported inside functions: this module is loaded with the
package, and `register()` runs at the end of open_clip's own import, where other imports could
wait for a thread that waits for open_clip.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import assets
from ..config import merged_config
from ..errors import UsageError
from ..models.base_config import unsupported_reason
from .names import ModelName
from .on_import import AfterImport
from .registered import is_ours, register_base, registered_config, variant_of

if TYPE_CHECKING:
    from torch import nn

    Build = Callable[..., nn.Module]

_CLASSES = ("CLIP", "CustomTextCLIP")
_WRAPPED = ("create_model", "load_checkpoint", "get_tokenizer")
_HOOKED = (*_CLASSES, *_WRAPPED)
_GIVEN = "mmrl_cfg_given"
"""open_clip would put fields that are given in place of a stored config: they go by this name."""
NO_SCRIPT = "jit=True: {!r} cannot be scripted, because of its tokens; leave jit out."
_NEEDED = {
    "factory": (*_HOOKED, "_MODEL_CONFIGS", "list_models", "get_model_config"),
    "pretrained": (
        "_PRETRAINED", "get_pretrained_cfg", "is_pretrained_cfg", "list_pretrained",
        "list_pretrained_tags_by_model",
    ),
    "transformer": (
        "VisionTransformer", "TextTransformer", "Transformer", "ResidualAttentionBlock",
        "CustomResidualAttentionBlock", "Attention", "LayerNormFp32", "QuickGELU",
    ),
    "model": (
        "CLIP", "CustomTextCLIP", "CLIPTextCfg", "CLIPVisionCfg", "get_model_preprocess_cfg",
        "convert_to_custom_text_state_dict", "resize_text_pos_embed",
    ),
    "convert": ("convert_state_dict", "load_big_vision_weights"),
    "transform": ("PreprocessCfg", "image_transform_v2", "merge_preprocess_dict"),
    "tokenizer": ("HFTokenizer", "SimpleTokenizer"),
    "constants": ("HF_SAFE_WEIGHTS_NAME", "HF_WEIGHTS_NAME"),
    "hf_configs": ("arch_dict",),
    "hf_model": ("HFTextEncoder",),
    "timm_model": ("TimmModel",),
}  # fmt: skip
"""By module of open_clip: what is patched, and everything that is taken from it."""
_replaced: dict[str, tuple[Build, Build]] = {}
"""What is replaced in open_clip.factory: name -> (open_clip's own, ours)."""
_lock = threading.Lock()


def register() -> None:
    """Make the models known to open_clip, as importing this package does; imports open_clip.

    Calling it again picks up the bases added to open_clip since.

    Raises:
        RuntimeError: this version of open_clip lacks a name that is patched.

    Example:
        >>> import open_clip, open_clip_mmrl
        >>> open_clip_mmrl.register()
        >>> "mmrl-ViT-B-16" in open_clip.list_models()
        True
    """
    import open_clip
    from open_clip import factory
    from open_clip import pretrained as tags

    for module, names in _NEEDED.items():
        missing = [name for name in names if not hasattr(getattr(open_clip, module, None), name)]
        if missing:
            raise RuntimeError(
                f"open_clip {open_clip.__version__} has no open_clip.{module}.{missing[0]}, where "
                "open_clip_mmrl joins it: install open_clip_torch 3.3 or a later version that has "
                "it."
            )
    with _lock:
        if assets.MODEL_NAME not in factory._MODEL_CONFIGS:
            factory._MODEL_CONFIGS[assets.MODEL_NAME] = assets.model_config()
            tags._PRETRAINED[assets.MODEL_NAME] = {assets.TAG: assets.pretrained_config()}
        for base, config in list(factory._MODEL_CONFIGS.items()):
            if not variant_of(base) and unsupported_reason(config) is None:
                register_base(base)
        if not _replaced:
            for name in _HOOKED:
                original = getattr(factory, name)
                wrap = _WRAPPERS.get(name, _dispatcher)
                _replaced[name] = (original, wrap(original))
                setattr(factory, name, _replaced[name][1])
            for name in _WRAPPED:
                setattr(open_clip, name, getattr(factory, name))
    on_open_clip.cancel()


def unregister() -> None:
    """Leave open_clip as it was before `register()`; calling it again changes nothing.

    Example:
        >>> import open_clip, open_clip_mmrl
        >>> open_clip_mmrl.unregister()
        >>> [name for name in open_clip.list_models() if name.startswith("mmrl")]
        []
        >>> open_clip_mmrl.register()
    """
    on_open_clip.cancel()
    if not _replaced:
        return
    import open_clip
    from open_clip import factory
    from open_clip import pretrained as tags

    with _lock:
        for name, (original, ours) in _replaced.items():
            for module in (factory, open_clip):
                if getattr(module, name) is ours:  # not where somebody wrapped it again
                    setattr(module, name, original)
        _replaced.clear()
        for registry in (factory._MODEL_CONFIGS, tags._PRETRAINED):
            for name in list(registry):
                if is_ours(name):
                    del registry[name]


on_open_clip = AfterImport("open_clip", register)


def _dispatcher(original: Build) -> Build:
    """Return the replacement of one of open_clip's classes."""

    @functools.wraps(original, updated=())
    def build(*args: Any, **kwargs: Any) -> nn.Module:
        given = kwargs.pop(_GIVEN, None)
        if given is not None:
            kwargs["mmrl_cfg"] = merged_config(kwargs.get("mmrl_cfg", {}), given)
        if "mmrl_cfg" not in kwargs:
            return original(*args, **kwargs)
        from ..models.mmrl_clip import MMRLCustomTextCLIP, MMRLPlainCLIP

        classes = {"CLIP": MMRLPlainCLIP, "CustomTextCLIP": MMRLCustomTextCLIP}
        return classes[original.__name__](*args, **kwargs)

    return build


def _wrapper(original: Build) -> Build:
    """Return the replacement of open_clip's `create_model`."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def create_model(
        model_name: str, pretrained: str | None = None, *args: Any, **kwargs: Any
    ) -> nn.Module:
        from .adapter_path import adapter_in
        from .adapter_reading import is_adapter, read_adapter
        from .create import create
        from .shared_config import shared_adapter

        name = ModelName.parse(model_name)
        # Later positional arguments by name, so that some of them can be set below.
        later = list(signature.parameters)[2 : 2 + len(args)]
        kwargs.update(zip(later, args, strict=True))
        shared, cache = None, kwargs.get("cache_dir")
        if name.variant is None:
            shared = shared_adapter(name.base, cache)
        if shared is not None:
            name = ModelName(shared.base.model or "", shared.config.variant)
            return create(original, name, registered_config(name, cache), shared, kwargs)
        if name.variant is None:
            source = adapter_in(pretrained)
            if source is not None and is_adapter(source):
                adapter = read_adapter(source)
                right = ModelName(adapter.base.model or name.base, adapter.config.variant)
                raise ValueError(
                    f"{pretrained} is an adapter, which {model_name!r} cannot hold: create "
                    f"{str(right)!r}."
                )
            if "mmrl_cfg" in kwargs:
                kwargs[_GIVEN] = kwargs.pop("mmrl_cfg")
            model = original(model_name, pretrained, **kwargs)
            if kwargs.get("jit") and hasattr(model, "learner"):
                raise UsageError(NO_SCRIPT.format(model_name))
            return model
        return create(original, name, registered_config(name, cache), pretrained, kwargs)

    return create_model


def _checkpoint_loader(original: Build) -> Build:
    """Return the replacement of open_clip's `load_checkpoint`."""

    @functools.wraps(original)
    def load_checkpoint(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        from ..models.mmrl_clip import MMRLCLIP
        from . import base_weights

        if not isinstance(model, MMRLCLIP):
            return original(model, *args, **kwargs)
        return base_weights.load_checkpoint(model, *args, **kwargs)

    return load_checkpoint


def _tokenizer_getter(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the replacement of open_clip's `get_tokenizer`."""

    @functools.wraps(original)
    def get_tokenizer(model_name: str = "", *args: Any, **kwargs: Any) -> Any:
        name = ModelName.parse(model_name)
        return original(name.base if name.is_place else model_name, *args, **kwargs)

    return get_tokenizer


_WRAPPERS: dict[str, Callable[..., Any]] = {
    "create_model": _wrapper,
    "load_checkpoint": _checkpoint_loader,
    "get_tokenizer": _tokenizer_getter,
}
