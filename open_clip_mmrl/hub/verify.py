"""Whether an adapter file is what was saved, and fits the base that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from open_clip import pretrained as tags

from ..models.mmrl_clip import MMRLCLIP
from ..utils.digest import tensors_digest
from ..utils.files import expand_home, is_file
from .adapter_info import AdapterInfo
from .adapter_reading import open_safetensors, read_adapter
from .base_check import check_base
from .create import as_in_training, find_base
from .hub_repository import cached_weights
from .load import loading_errors, quiet_open_clip
from .names import FOLDER, HUB, ModelName, is_place


class Check(NamedTuple):
    """One of the things that are compared.

    Attributes:
        name: "tensors", "header" or "base".
        holds: the outcome; None where there is nothing to compare with.
        text: the outcome in words.
    """

    name: str
    holds: bool | None
    text: str


def verify(
    adapter: str | Path | AdapterInfo, *, pretrained: str | None = None, download: bool = False
) -> list[Check]:
    """Compare an adapter's tensors, header and base with what its header records of them.

    Args:
        adapter: the file, or a run's folder.
        pretrained: the base weights, where those that the file names are not found.
        download: whether base weights that are not on this machine are fetched.

    Raises:
        ValueError: the file cannot be read at all.
    """
    info = read_adapter(adapter)
    return [_tensors(info), _header(info), _base(info, pretrained, download)]


def _tensors(info: AdapterInfo) -> Check:
    if info.tensors_sha256 is None:
        return Check("tensors", None, "no digest: files of format 1 have none")
    with open_safetensors(info.path) as file:
        found = tensors_digest({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    holds = found == info.tensors_sha256
    return Check("tensors", holds, "as saved" if holds else "not those that were saved")


def _header(info: AdapterInfo) -> Check:
    words = {
        True: "as saved",
        False: "edited or damaged since it was saved",
        None: "no digest: it was written before headers had one",
    }
    return Check("header", info.unedited, words[info.unedited])


def _base(info: AdapterInfo, pretrained: str | None, download: bool) -> Check:
    if info.base.model is None:
        return Check("base", None, "its name is not recorded")
    try:
        weights = pretrained or find_base(info)
        if download:
            found = (weights, None) if is_place(weights) else (info.base.model, weights)
        else:
            found = local_base(info.base.model, weights)
        if found is None:
            return Check(
                "base", False, f"not compared: {info.base.model} ({weights}) is not on this "
                "machine; add --download to fetch it, or --pretrained FILE",
            )  # fmt: skip
        name = ModelName(found[0], info.config.variant)
        with loading_errors(weights), quiet_open_clip(), torch.random.fork_rng(devices=[]):
            model = open_clip.create_model(
                str(name),
                found[1],
                mmrl_cfg=info.config,
                device="cpu",
                **as_in_training(info.base, name),
            )
        assert isinstance(model, MMRLCLIP)  # `create` has checked it
        check_base(model, info.base, info.path)
    except ValueError as error:
        return Check("base", False, str(error))
    return Check("base", True, f"{info.base.model} ({weights}), the weights of the training")


def local_base(model: str, weights: str) -> tuple[str, str | None] | None:
    """Return the name of a base and its weights, such that nothing is fetched; else None.

    Args:
        model: open_clip's name of the base.
        weights: a file; a tag, whose file may be in the cache of huggingface_hub or open_clip; or a
            place that holds model and weights, which may be in the former.
    """
    if weights.startswith(HUB):
        cached = cached_weights(f"{weights.removeprefix(HUB)}/")
        return None if cached is None else (f"{FOLDER}{Path(cached).parent}", None)
    if is_place(weights):
        return weights, None
    known: Any = tags.get_pretrained_cfg(model, weights)
    if not known:
        return (model, weights) if is_file(weights) else None
    file = known.get("file") or (known.get("hf_hub") and cached_weights(known["hf_hub"]))
    if not file:
        path = expand_home("~/.cache/clip") / str(known.get("url")).rpartition("/")[2]
        file = path if is_file(path) else None
    return (model, str(file)) if file else None
