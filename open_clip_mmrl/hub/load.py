"""A model on its device, ready to train or to score, with its tokenizer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from open_clip.pretrained import list_pretrained_tags_by_model
from torch import Generator, Tensor, nn

from .. import assets
from ..config import VARIANTS, MMRLConfig
from ..data.more_prompts import MorePrompts
from ..data.prompts import DEFAULT_TEMPLATE
from ..errors import UsageError
from ..models.mmrl_clip import MMRLCLIP
from ..models.precision import own_modules
from ..models.prompt_tokens import PromptTokens
from ..utils.seeds import DrawFrom, mix_seed
from ..utils.text import did_you_mean, listing
from .adapter_info import AdapterInfo
from .adapter_path import adapter_in
from .adapter_reading import read_adapter
from .class_tokens import class_prompts, class_tokens, readings
from .create import override_of
from .names import ModelName, is_place
from .registered import registered_config


class Random(Enum):
    """In place of weights: the initial ones, for measurements of time."""

    WEIGHTS = auto()


RANDOM = Random.WEIGHTS


class LoadedModel(NamedTuple):
    """A model and what goes with it."""

    model: MMRLCLIP
    tokenizer: Callable
    name: str
    """The registered name, e.g. "mmrlpp-ViT-B-16"."""

    def class_tokens(self, class_names: Sequence[str], template: str) -> Tensor:
        """Return the token ids of one prompt per class, [C, context length].

        Args:
            class_names: of the C classes.
            template: their prompt; "" takes the default, for an adapter saved without one.
        """
        template = template or DEFAULT_TEMPLATE
        return class_tokens(self.model, self.tokenizer, class_names, template)

    def class_prompts(
        self, class_names: Sequence[str], template: str, more: MorePrompts | None
    ) -> Tensor | PromptTokens:
        """Return the same of all prompts of the classes, where there are more than the template."""
        if more is None:
            return self.class_tokens(class_names, template)
        return class_prompts(self.model, self.tokenizer, class_names, template, more)

    def readings(self, class_names: Iterable[str], template: str) -> list[tuple[int, ...]]:
        """Return what the tokenizer makes of each class's prompt; see there."""
        return readings(self.tokenizer, class_names, template, self.model.context_length)


def resolve_name(model: str, method: str | None = None) -> ModelName:
    """Return the name with a variant: of "ViT-B-16" and a method, or "mmrl-ViT-B-16" as it is.

    Raises:
        UsageError: no such method, or not that of the name.
    """
    if not isinstance(model, str):
        raise UsageError(f"model is {model!r}; give a name, as in 'mmrl-ViT-B-16'.")
    if method is not None and method not in VARIANTS:
        raise UsageError(f"method is {method!r}; it has to be one of {VARIANTS}.")
    name = ModelName.parse(model)
    if method and name.variant not in (None, method):
        raise UsageError(
            f"the model {model!r} is {name.variant}, but the method is {method}: give the model as "
            f"{name.base!r}, or leave out the method."
        )
    return ModelName(name.base, method or name.method)


def resolve_pretrained(name: ModelName, pretrained: str | Path | None) -> str:
    """Return `pretrained`, checked, or the default: of a place, and of the model that is shipped.

    Raises:
        UsageError: the model, tag or file does not exist, or the base does not support tokens.
    """
    registered_config(name)
    if name.is_place:
        if pretrained not in (None, name.base):
            raise UsageError(
                f"pretrained is {str(pretrained)!r}, but {name.base} brings its own weights: leave "
                "pretrained out."
            )
        return name.base
    if pretrained is None and name.base == assets.MODEL_NAME:
        return assets.TAG
    tags = list_pretrained_tags_by_model(str(name))
    if pretrained is None:
        raise UsageError(
            f"{name} needs the weights of its base: give a tag ({listing(tags)}) or a "
            "checkpoint file as pretrained."
        )
    pretrained = str(adapter_in(pretrained))
    is_tag = pretrained.lower().replace("-", "_") in tags
    if not is_tag and not Path(pretrained).is_file():
        raise UsageError(
            f"pretrained is {pretrained!r}, neither a tag of {name} nor a file."
            f"{did_you_mean(pretrained, tags)} Tags: {listing(tags, 20)}."
        )
    return pretrained


def build_for_training(
    model: str,
    pretrained: str | Random | None,
    *,
    method: str | None = None,
    settings: Mapping[str, Any] | MMRLConfig | None = None,
    device: torch.device,
    seed: int,
    tokenizer: Callable | None = None,
) -> LoadedModel:
    """Return a model whose learner was drawn from `seed` alone.

    The tokenizer is the model's where none is given.

    Raises:
        UsageError: a name, tag or file that does not exist, or a base that does not support
            tokens.
    """
    name = resolve_name(model, method)
    if isinstance(settings, Mapping) and "variant" in settings:
        name = resolve_name(str(name) if method else model, settings["variant"])
    weights = None if isinstance(pretrained, Random) else resolve_pretrained(name, pretrained)
    with loading_errors(weights):
        loaded = _create(name, weights, seed, tokenizer, mmrl_cfg=settings, device="cpu")
    draw_learner(loaded.model, seed)
    return loaded._replace(model=loaded.model.to(device).eval())


def sibling_for_training(
    base: LoadedModel,
    model: str,
    *,
    method: str | None = None,
    settings: Mapping[str, Any] | MMRLConfig | None = None,
    seed: int,
) -> LoadedModel:
    """Return what `build_for_training` does, on the weights of a model of the same base.

    Its modules are its own: hooks, and what replaces a module, do not reach the other.
    """
    name = resolve_name(model, method)
    config = MMRLConfig.from_dict({**registered_config(name), **override_of(settings, name)})
    with DrawFrom(Generator()):  # the global generator is not moved
        sibling = own_modules(base.model.sibling(config))
    draw_learner(sibling, seed)
    return LoadedModel(sibling.eval(), base.tokenizer, str(name))


def draw_learner(model: MMRLCLIP, seed: int) -> None:
    """Draw a model's learner from a seed alone: on the CPU, whatever its device."""
    model.learner.cpu().reset_parameters(Generator().manual_seed(mix_seed(seed)))
    model.learner.to(model.device)


def build_from_adapter(
    adapter: str | Path | AdapterInfo,
    *,
    base_pretrained: str | None = None,
    settings: Mapping[str, Any] | None = None,
    device: torch.device,
) -> tuple[LoadedModel, AdapterInfo]:
    """Return the model of an adapter, a file, a run's folder or a header, and its header."""
    info = read_adapter(adapter)
    base = info.base.model
    if is_place(base_pretrained):  # where the base is now
        base, base_pretrained = base_pretrained, None
    if base is None:
        raise ValueError(
            f"{info.path} does not name its base model: load it with load_adapter into a model "
            "made by MMRLCLIP.from_open_clip."
        )
    name = ModelName.parse(str(ModelName(base, info.config.variant)))
    with loading_errors(base_pretrained or info.base.pretrained):
        loaded = _create(
            name, info, mmrl_cfg=settings, base_pretrained=base_pretrained, device=device
        )
    return loaded._replace(model=loaded.model.eval()), info


def _create(
    name: ModelName,
    source: str | AdapterInfo | None,
    seed: int = 0,
    tokenizer: Callable | None = None,
    **kwargs: Any,
) -> LoadedModel:
    """Create a model and its tokenizer through open_clip, quietly; random weights are of `seed`."""
    create_model: Callable[..., nn.Module] = open_clip.create_model  # ours; see `registry`
    with quiet_open_clip(), DrawFrom(Generator().manual_seed(seed)):
        model = create_model(str(name), source, **kwargs)
        tokenizer = tokenizer or open_clip.get_tokenizer(str(name))
    assert isinstance(model, MMRLCLIP)  # `create` has checked it
    return LoadedModel(model, tokenizer, str(name))


@contextmanager
def loading_errors(weights: str | Path | None) -> Iterator[None]:
    """Name the weights in any error raised while open_clip loads them.

    The kind of error depends on the file: unpickling errors, key errors, long lists of missing
    keys.
    """
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        text = str(error)
        if "Failed to download" in text:
            raise ValueError(
                f"the weights {weights} could not be downloaded: check the connection, or give a "
                f"checkpoint file as pretrained ({text.splitlines()[0][:200]})."
            ) from error
        short = text if len(text) < 2000 else text[:2000] + " ..."
        raise ValueError(
            f"the base weights {weights} cannot be loaded ({type(error).__name__}: {short}). A "
            "tag is downloaded when it is first used: check the connection. For a file: give a "
            "plain state dict of this model, as torch.save(model.state_dict(), ...) or "
            "safetensors write it."
        ) from error


@contextmanager
def quiet_open_clip() -> Iterator[None]:
    """Silence open_clip and its downloads; their errors are raised all the same.

    open_clip warns through the root logger that weights are random; huggingface_hub reports each of
    its attempts to connect. In this thread alone: a level would be that of all threads, and two
    that raise it in turn would leave it raised.
    """
    thread = threading.get_ident()
    known = list(logging.root.manager.loggerDict)
    names = [name for name in known if name.split(".")[0] == "huggingface_hub"]
    loggers = [logging.getLogger(), *map(logging.getLogger, names)]

    def passes(record: logging.LogRecord) -> bool:
        return record.thread != thread

    for logger in loggers:
        logger.addFilter(passes)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(passes)
