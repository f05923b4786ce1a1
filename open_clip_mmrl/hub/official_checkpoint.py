"""Checkpoints in the layout of the released code: found, read without running code, understood.

Its trainers leave `model.pth.tar-N`, N being the number of epochs, in a folder of the run's, and a
log. Folders are searched, whatever they are called. The log's lines are those of the evaluator of
Dassl (github.com/KaiyangZhou/Dassl.pytorch, dassl/evaluation/evaluator.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from ..errors import UsageError
from ..models.mmrl_clip import MMRLCLIP
from ..models.text_towers.rows import TextRows
from ..utils.files import is_file
from ..utils.text import listing
from .import_official import PREFIX, tensors_by_name

_NAME = re.compile(r"model\.pth\.tar-(\d+)")
_ROOTS = {"mmrl": f"{PREFIX}compound_rep_tokens_r2vproj.", "mmrl++": f"{PREFIX}srra_r2vproj.srra."}
"""What the names of one parameter per layer begin with."""
_TOTAL = re.compile(r"\* total: ([\d,]+)")
_ACCURACY = re.compile(r"\* accuracy: ([\d.]+)%")
_SPLIT = re.compile(r"Evaluate on the \*(\w+)\* set")


class OfficialFile(NamedTuple):
    """A checkpoint file.

    Attributes:
        path: the file.
        epoch: epochs trained, by its name; None where the name does not tell.
        is_last: whether no later one is next to it.
    """

    path: Path
    epoch: int | None
    is_last: bool


def find_checkpoint(where: Path) -> OfficialFile:
    """Return the checkpoint at a path, a file, or the last one of a run in a folder.

    Raises:
        UsageError: there is none, or there are those of several runs.
    """
    if is_file(where):
        later = [epoch for epoch, _ in _numbered(where.parent, "*")]
        epoch = _epoch(where)
        return OfficialFile(where, epoch, epoch is not None and epoch == max(later))
    if not where.is_dir():
        raise UsageError(f"There is no checkpoint file or folder {where}.")
    found = _numbered(where, "**/*")
    runs = sorted({str(path.parent) for _, path in found})
    if len(runs) > 1:
        raise UsageError(
            f"{where} holds checkpoints of {len(runs)} runs: give one of {listing(runs)}."
        )
    if not found:
        raise UsageError(
            f"there is no model.pth.tar-N in {where} or below: give the checkpoint file, or the "
            "folder that the released code wrote its run to."
        )
    epoch, path = max(found)
    return OfficialFile(path, epoch, True)


def _epoch(path: Path) -> int | None:
    name = _NAME.fullmatch(path.name)
    return int(name[1]) if name else None


def _numbered(folder: Path, pattern: str) -> list[tuple[int, Path]]:
    every = ((_epoch(path), path) for path in folder.glob(pattern))
    return [(epoch, path) for epoch, path in every if epoch is not None and is_file(path)]


def _placeholder(name: str) -> type:
    """Return a class of this name that stands for what is no tensor, and does nothing."""
    module, _, own = name.rpartition(".")
    # What the optimizer keeps its state in gets items, which only a true dict can.
    made = dict if name == "collections.defaultdict" else object

    def new(cls: type, *_: Any, **__: Any) -> Any:
        return made.__new__(dict if made is dict else cls)

    def ignore(*_: Any, **__: Any) -> None: ...

    values = {"__module__": module, "__new__": new, "__init__": ignore, "__setstate__": ignore}
    return type(own, (), values)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the tensors of a checkpoint by the authors' names; nothing in the file is run.

    Schedulers and optimizers, which hold objects of torch, are read as placeholders.

    Raises:
        ValueError: it is damaged, or holds what cannot be read in this way.
    """
    try:
        try:
            names = get_unsafe_globals_in_checkpoint(path)
        except ValueError:  # torch's older format: plain content alone
            names = []
        with safe_globals([*map(_placeholder, names)]):
            content = torch.load(path, map_location="cpu", weights_only=True)
        tensors = tensors_by_name(content)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception:  # of many types; torch's messages advise to run what is in the file
        raise ValueError(
            f"{path} cannot be read as a checkpoint: it is damaged, or holds other objects than "
            "tensors and numbers. Copy it again, or where it was made save its tensors alone, "
            "torch.save(checkpoint['state_dict'], 'tensors.pth'), and import that file."
        ) from None
    if all(name.startswith("module.") for name in tensors):  # of DataParallel
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def settings_in(tensors: Mapping[str, Any], text_layers: int) -> dict[str, Any]:
    """Return the fields of MMRLConfig that follow from names and shapes.

    Args:
        tensors: by the authors' names.
        text_layers: depth of the base's text tower.

    Raises:
        ValueError: they are those of neither method, or of a deeper tower.
    """
    layers = {
        variant: {name[len(root) :].partition(".")[0] for name in tensors if name.startswith(root)}
        for variant, root in _ROOTS.items()
    }
    variants = [variant for variant, found in layers.items() if found]
    space = tensors.get(PREFIX + "compound_rep_tokens")
    if len(variants) != 1 or not isinstance(space, torch.Tensor) or space.ndim != 2:
        raise ValueError(
            "the checkpoint holds the learned parameters of neither MMRL nor MMRL++ (none are "
            f"called {PREFIX}compound_rep_tokens...), but {listing(tensors, 4) or 'nothing'}: is "
            "it of another method?"
        )
    variant, count = variants[0], len(layers[variants[0]])
    if count > text_layers:
        raise ValueError(
            f"the checkpoint has tokens in {count} layers, but the base's text tower has "
            f"{text_layers}: give the base it was trained on as --model."
        )
    found = {
        "variant": variant,
        "num_rep_tokens": space.shape[0],
        "rep_dim": space.shape[1],
        "start_layer": text_layers - count + 1,
    }
    ranks = {"residual_rank": f"{_ROOTS['mmrl++']}0.A", "proj_rank": "image_encoder.A"}
    for field, name in ranks.items() if variant == "mmrl++" else ():
        if getattr(tensors.get(name), "ndim", 0) == 2:
            found[field] = tensors[name].shape[1]
    return found


def require_same_base(model: MMRLCLIP, tensors: Mapping[str, Any], weights: str) -> bool:
    """Compare the frozen image tower in a checkpoint with the model's; False without one.

    Raises:
        ValueError: they differ by more than half precision explains.
    """
    ours = dict(model.visual.named_parameters())
    compared = 0
    for name in ("conv1.weight", "class_embedding", "proj"):
        theirs = tensors.get(f"image_encoder.{name}")
        if not isinstance(theirs, torch.Tensor) or name not in ours:
            continue
        if theirs.shape != ours[name].shape:
            raise ValueError(
                f"the checkpoint was trained on another base: its image_encoder.{name} is "
                f"{tuple(theirs.shape)}, that of the model {tuple(ours[name].shape)}. Give that of "
                "its training as --model (the paper's is ViT-B-16)."
            )
        own, compared = ours[name].detach().float(), compared + 1
        if (theirs.float() - own).abs().mean() > 0.01 * own.abs().mean():
            raise ValueError(
                f"the checkpoint was trained on other base weights than {weights}: its "
                f"image_encoder.{name} differs. Give those of its training as --pretrained (the "
                "paper's are OpenAI's, tag openai)."
            )
    return compared > 0


def differing_prompts(
    model: MMRLCLIP, tensors: Mapping[str, Any], tokens: torch.Tensor
) -> list[int] | None:
    """Return the places of the prompts [C, context] that are not those of a checkpoint.

    None where it holds no embedded prompts [C, context, width] of this text tower.

    Raises:
        ValueError: it holds them for another number of classes.
    """
    tower = model.text_tower
    if not isinstance(tower, TextRows):  # their towers are open_clip's own
        return None
    embedding = tower.token_embedding
    shape = (*tokens.shape[1:], embedding.embedding_dim)
    for name in ("prompt_embeddings", f"{PREFIX}prompt_embeddings"):
        theirs = tensors.get(name)
        if not isinstance(theirs, torch.Tensor) or theirs.shape[1:] != shape:
            continue
        if len(theirs) != len(tokens):
            raise ValueError(
                f"the checkpoint was trained on {len(theirs)} classes, and {len(tokens)} class "
                "names were given: give those of its training, in the order of their labels "
                "(--classes base for the first half of all)."
            )
        with torch.no_grad():
            gap = (theirs.float() - embedding(tokens).float()).abs().mean(dim=(1, 2))
        return torch.nonzero(gap > 1e-3 * theirs.float().abs().mean()).flatten().tolist()
    return None


def logged_score(checkpoint: OfficialFile) -> dict[str, Any] | None:
    """Return the last score in the log of the run, which is that of its last checkpoint.

    The log is a text file `log*` in the checkpoint's folder or the one above.
    """
    if not checkpoint.is_last:
        return None
    folders = (checkpoint.path.absolute().parent, checkpoint.path.absolute().parent.parent)
    logs = [path for folder in folders for path in folder.glob("log*") if is_file(path)]
    for path in sorted(logs, key=lambda path: path.stat().st_mtime, reverse=True):
        text = path.read_text("utf-8", errors="replace")
        accuracy = [*_ACCURACY.finditer(text)]
        if not accuracy:
            continue
        before = text[: accuracy[-1].start()]
        total, split = [*_TOTAL.finditer(before)], [*_SPLIT.finditer(before)]
        found: dict[str, Any] = {"accuracy": float(accuracy[-1][1])}
        if total:
            found["images"] = int(total[-1][1].replace(",", ""))
        return {**found, **({"split": split[-1][1]} if split else {}), "file": path.name}
    return None
