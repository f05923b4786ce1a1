"""`open-clip-mmrl predict`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..utils.text import counted, listing
from .common import (
    DATA,
    METHOD,
    OUTPUT,
    AdapterOption,
    BaseOption,
    DeviceOption,
    PromptsOption,
    QuietOption,
    SeenOffsetOption,
    command,
    option,
    path_option,
)
from .predict_output import Format, texts, write
from .predict_table import columns, print_table

if TYPE_CHECKING:
    from ..data.image_paths import ImagePaths
    from ..evaluation.answers import Answer, Ranking

logger = logging.getLogger(__name__)

_SHOWN = 20
"""Images in the list of those that cannot be read."""
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json", ".jsonl": "jsonl"}


@command()
def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help='Image files, folders (with all below them) and patterns ("photos/**/*.jpg").',
            rich_help_panel=DATA,
        ),
    ],
    adapter: AdapterOption,
    new_class: Annotated[
        list[str] | None,
        option(
            METHOD,
            "A class without training images, by its name, ranked with the others; as often as "
            "needed.",
            "--new-class",
            metavar="NAME",
        ),
    ] = None,
    only_new: Annotated[bool, option(METHOD, "Rank the new classes alone.", "--only-new")] = False,
    prompts: PromptsOption = None,
    seen_offset: SeenOffsetOption = None,
    coverage: Annotated[
        float | None,
        option(
            METHOD,
            "Also give a set of classes that holds the true one for this share of images, as 0.9. "
            "Needs an adapter of train --calibrate.",
            metavar="SHARE",
        ),
    ] = None,
    reject: Annotated[
        bool,
        option(
            METHOD,
            'Answer "none of these" where no class fits. Needs an adapter of train --calibrate.',
            "--reject",
        ),
    ] = False,
    reject_rate: Annotated[
        float,
        option(
            METHOD, "Share of images of the known classes that --reject may cost.", metavar="SHARE"
        ),
    ] = 0.05,
    top: Annotated[int, option(OUTPUT, "Classes shown per image.", min=1, metavar="N")] = 3,
    pretrained: BaseOption = None,
    device: DeviceOption = None,
    as_json: Annotated[bool, option(OUTPUT, "Print one JSON object per line.", "--json")] = False,
    as_csv: Annotated[bool, option(OUTPUT, "Print CSV with a header.", "--csv")] = False,
    output: Annotated[
        Path | None,
        path_option("Write a file instead: .csv, .json (an array) or .jsonl (lines).", "--output"),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Name the most probable classes of images.

    Probabilities add up to 1 over all classes that are ranked: a softmax, of
    bases trained with a sigmoid (SigLIP) too. Without new classes they mix
    those of both features; with --new-class they are the softmax of logits, as
    --seen-offset says. An adapter of train --calibrate has a temperature, which
    makes them honest; --new-class does without it.

    Sets take probabilities before the temperature (LAC, by MAPIE); where no
    class is likely, a set is empty. --reject goes by the maximum softmax of
    cosines at temperature 1.

    Images that cannot be read are listed at the end, with exit code 1; all
    others are answered.
    """
    from ..data.image_paths import image_paths
    from ..data.more_prompts import read_prompts
    from ..evaluation.answers import ranking
    from ..evaluation.choose_features import mixed_reason, require_offset
    from ..hub.adapter_reading import read_adapter
    from ..hub.load import build_from_adapter
    from ..utils.devices import pick_device

    kind = _format(as_json, as_csv, output)
    new = new_class or []
    if only_new and not new:
        raise UsageError("--only-new needs new classes: add --new-class NAME.")
    if new and (reject or coverage is not None):
        raise UsageError(
            "--coverage and --reject were measured on the classes of the training: leave out "
            "--new-class, or both of them."
        )
    texts_of = read_prompts(prompts)
    if texts_of and not new:
        raise UsageError("--prompts are of new classes: add --new-class NAME.")
    is_mixed = bool(new) and not only_new
    if seen_offset is not None:
        require_offset(seen_offset, "" if is_mixed else "new or seen ones alone")
    info, chosen = read_adapter(adapter), pick_device(device)
    centered = info.image_means is not None and seen_offset is None
    if is_mixed and (centered or seen_offset):
        logger.info("auto: %s.", mixed_reason(len(info.class_names), new, centered, seen_offset))
    sure = None
    if not new and (info.calibration or reject or coverage is not None):
        from ..evaluation.conformal import certainty

        sure = certainty(info, coverage=coverage, reject_rate=reject_rate if reject else None)
    judged = [*(["set"] if coverage is not None else []), *(["rejected"] if reject else [])]
    found = image_paths(paths)
    for note in found.notes:
        logger.info("%s", note)
    ranked = None
    if found.images:  # a base may take minutes to load
        loaded, _ = build_from_adapter(info, base_pretrained=pretrained, device=chosen)
        ranked = ranking(
            loaded,
            info,
            new,
            only_new=only_new,
            certainty=sure,
            seen_offset=seen_offset,
            prompts=texts_of,
        )
        top = min(top, len(ranked.names))
        if len(ranked.names) == 1:
            logger.warning("There is one class to choose from, so that every image has 100 %.")
    # A bar would stand among the lines; a table is printed above it.
    bar = not (quiet or (kind and not output and sys.stdout.isatty()))
    failed: dict[str, str] = {}
    answered = _noted(_answers(ranked, found, top, bar), failed)
    if kind is None:
        seen = () if only_new else info.class_names
        shape = columns(found.images, seen, new, top, coverage=coverage, reject=reject)
        print_table(answered, shape)
    else:
        write(texts(kind, answered, bool(new), top, judged), output)
    if failed:
        problems = [f"{image} ({reason})" for image, reason in failed.items()]
        raise ValueError(
            f"{len(failed)} of {counted(len(found.images) + len(found.missing), 'image')} cannot "
            f"be read: {listing(problems, _SHOWN)}."
        )


def _format(as_json: bool, as_csv: bool, output: Path | None) -> Format | None:
    """Return the format of what is written; None for the table.

    Raises:
        UsageError: the options do not go together.
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other: choose one.")
    given: Format | None = "csv" if as_csv else "jsonl" if as_json else None
    if output is None:
        return given
    by_name = _SUFFIXES.get(output.suffix.lower())
    if by_name is None and given is None:
        raise UsageError(
            f"--output is {str(output)!r}; name it .csv, .json or .jsonl, or add --json or --csv."
        )
    if by_name and given and (by_name == "csv") != as_csv:
        raise UsageError(f"--output is {str(output)!r}, which is not --{given.rstrip('l')}.")
    return by_name or given


def _answers(ranked: Ranking | None, found: ImagePaths, top: int, bar: bool) -> Iterator[Answer]:
    """Yield the answers for all images, then the paths without an image."""
    from ..evaluation.answers import Answer, answers
    from ..utils.progress import Progress

    if ranked:
        with Progress("predicting", len(found.images), quiet=not bar) as progress:
            yield from answers(ranked, found.images, top=top, progress=progress)
    for path, reason in found.missing.items():
        yield Answer(path, error=reason)


def _noted(answers: Iterable[Answer], failed: dict[str, str]) -> Iterator[Answer]:
    """Yield the answers; note those with an error in `failed`."""
    for answer in answers:
        if answer.error:
            failed[answer.image] = answer.error
        yield answer
