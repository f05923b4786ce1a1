"""`open-clip-mmrl import`."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import UsageError
from .common import (
    DATA,
    METHOD,
    TemplateOption,
    command,
    option,
    path_option,
    say,
    set_fields,
)

logger = logging.getLogger(__name__)


@command()
def import_checkpoint(
    ctx: typer.Context,
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_FILE",
            help="model.pth.tar-N of the released code, or a folder of its run (then the last).",
            rich_help_panel="Checkpoint",
        ),
    ],
    model: Annotated[str, option(METHOD, "The open_clip model trained on.", metavar="NAME")],
    class_names: Annotated[
        Path,
        option(
            DATA,
            "Class names in the order of their labels: a line each, a JSON list, or the data "
            "set's split_*.json.",
            metavar="FILE",
        ),
    ],
    output: Annotated[Path, path_option("The adapter file to write.")],
    pretrained: Annotated[
        str | None,
        option(METHOD, "The base weights of the training.", metavar="TAG_OR_FILE"),
    ] = None,
    classes: Annotated[
        Literal["all", "base"], option(DATA, "base: of the names, the first half was trained on.")
    ] = "all",
    dataset: Annotated[
        str | None,
        option(
            DATA,
            "One of the paper's data sets, as dtd: its prompt, lambda and beta.",
            metavar="NAME",
        ),
    ] = None,
    template: TemplateOption = None,
    set_: Annotated[
        list[str] | None,
        option(
            METHOD, "alpha, beta or reg_weight; as often as needed.", "--set", metavar="NAME=VALUE"
        ),
    ] = None,
) -> None:
    """Make an adapter of a checkpoint of the authors' released code.

    Nothing in the checkpoint is run. What its shapes tell is taken from
    there; alpha, beta, lambda and the prompt are not in it: they come from
    --dataset, --set and --template, or are the defaults. Where it holds the
    frozen image tower and the embedded prompts, they are compared.
    """
    import torch

    from ..config import MMRLConfig
    from ..data.prompts import DEFAULT_TEMPLATE, parse_template
    from ..data.sampling import base_novel_split
    from ..hub import official_checkpoint as official
    from ..hub.adapter_file import save_adapter
    from ..hub.base_place import base_config
    from ..hub.class_tokens import usable_names
    from ..hub.import_official import load_official_state_dict
    from ..hub.load import build_for_training, resolve_name
    from ..hub.registered import registered_config
    from ..utils.digest import file_digest
    from ..utils.text import counted

    prompt, by_dataset = (None, {}) if dataset is None else (_prompt_of(dataset), {})
    given = set_fields(ctx, set_)
    MMRLConfig.from_dict(given)
    template = parse_template(template or prompt or DEFAULT_TEMPLATE)
    names = usable_names(_names_in(class_names), "")
    if classes == "base":
        names = [names[label] for label in base_novel_split(len(names))[0]]
    found = official.find_checkpoint(checkpoint)
    tensors = official.read_checkpoint(found.path)
    registered_config(resolve_name(model))  # or the name is refused
    known = base_config(resolve_name(model)) or {}
    shapes = official.settings_in(tensors, known["text_cfg"].get("layers", 12))
    if dataset is not None:
        by_dataset = _paper_settings(shapes["variant"], dataset)
    wrong = {name: value for name, value in given.items() if shapes.get(name, value) != value}
    if wrong:
        raise UsageError(f"--set gives {wrong}, but the checkpoint has {shapes}: leave it out.")
    config = MMRLConfig.from_dict({**by_dataset, **given, **shapes})
    cpu = torch.device("cpu")
    loaded = build_for_training(
        model, pretrained, method=shapes["variant"], settings=config, device=cpu, seed=0
    )
    weights = str((loaded.model.base_origin or {}).get("pretrained"))
    tokens = loaded.class_tokens(names, template)
    same_base = official.require_same_base(loaded.model, tensors, weights)
    other = official.differing_prompts(loaded.model, tensors, tokens)
    load_official_state_dict(loaded.model, tensors)
    score, last = official.logged_score(found), ", the last" if found.is_last else ""
    save_adapter(
        loaded.model,
        output,
        class_names=names,
        template=template,
        settings={"epochs": found.epoch, "dataset": dataset},
        scores={"logged": score} if score else None,
        provenance={"imported": found.path.name, "imported_sha256": file_digest(found.path)},
    )
    epochs = "" if found.epoch is None else f" ({counted(found.epoch, 'epoch')}{last})"
    say(f"checkpoint: {found.path}{epochs}")
    say(f"from its shapes: {_pairs(shapes)}")
    source = (
        f"the paper's for {dataset}, --set, or the defaults" if dataset else "--set or defaults"
    )
    rest = {name: getattr(config, name) for name in ("alpha", "beta", "reg_weight")}
    say(f'not in it: {_pairs(rest)} ({source}); prompt "{template}"')
    say(f"base: {weights}, {'the same' if same_base else 'not compared: the checkpoint has none'}")
    if other is None:
        say("prompts: not compared: the checkpoint has none")
    elif not other:
        say(f"prompts: all {len(names)} are those of the training")
    else:
        logger.warning(
            "%d of %d prompts are not those in the checkpoint, the first is that of %r: check the "
            "class names, their order and --template.",
            len(other), len(names), names[other[0]],
        )  # fmt: skip
    if score:
        images = f" of {score['images']:,}" if "images" in score else ""
        split = f" {score['split']}" if "split" in score else ""
        say(f"{score['file']}: accuracy {score['accuracy']}{images}{split} images, by its trainer")
    say(f"adapter: {output}")


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _prompt_of(dataset: str) -> str:
    """Return the paper's prompt; UsageError for another data set than its fifteen."""
    from ..data.coop.catalog import CATALOG, find_entry
    from ..utils.text import did_you_mean

    entry = find_entry(dataset)
    if entry is None:
        raise UsageError(
            f"--dataset is {dataset!r}, none of the paper's.{did_you_mean(dataset, CATALOG)} "
            f"They are {', '.join(CATALOG)}."
        )
    return entry.template


def _paper_settings(variant: str, dataset: str) -> dict[str, Any]:
    from ..data.coop.catalog import find_entry
    from ..experiments.recipes import recipe

    entry = find_entry(dataset)
    name = entry.name if entry else dataset
    return recipe(variant, "base-to-novel", name, "paper").method


def _names_in(path: Path) -> list[str]:
    """Return class names from lines, a JSON list or a split file.

    Raises:
        UsageError: it cannot be read.
    """
    from ..data.coop.split_file import read_split_file
    from ..utils.files import read_bounded

    try:
        text = read_bounded(path, 2**24).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"class names {path} cannot be read: {error}.") from error
    if text.lstrip().startswith("{"):
        return list(read_split_file(path)[1])
    try:
        return json.loads(text if text.lstrip().startswith("[") else "")
    except (ValueError, RecursionError):
        return [line.strip() for line in text.splitlines() if line.strip()]
