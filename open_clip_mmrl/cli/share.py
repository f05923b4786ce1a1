"""`open-clip-mmrl share`."""

from __future__ import annotations

import logging
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..errors import UsageError
from ..utils.text import listing
from .common import OUTPUT, AdapterOption, command, option, path_option, say

if TYPE_CHECKING:
    from ..hub.adapter_info import AdapterInfo
    from ..hub.card_scores import ScoredRun

logger = logging.getLogger(__name__)


@command()
def share(
    adapter: AdapterOption,
    repo: Annotated[
        str | None,
        option(
            OUTPUT,
            "Repository on the Hugging Face hub to upload to; created if there is none. Log in "
            "first: hf auth login, or HF_TOKEN.",
            metavar="USER/NAME",
        ),
    ] = None,
    private: Annotated[bool, option(OUTPUT, "Make a new repository private.", "--private")] = False,
    output: Annotated[
        Path | None,
        path_option("Write the folder here as well, or only, without any network."),
    ] = None,
    license: Annotated[
        str | None, option(OUTPUT, "License of the adapter, as mit or cc-by-4.0.", metavar="ID")
    ] = None,
) -> None:
    """Share an adapter: as a folder, or in a repository on the hub.

    Written are the adapter, a config by which open_clip finds it, and a
    model card with classes, settings, scores and limits. Of a run's folder,
    the card has the scores of its other seeds next to it as well. Read it
    before others do: --output DIR alone uploads nothing.
    """
    from ..hub.adapter_reading import read_adapter
    from ..hub.shared_folder import push_folder, save_folder

    if repo is None and output is None:
        raise UsageError("give --repo USER/NAME to upload, or --output DIR to write a folder only.")
    if private and repo is None:
        raise UsageError("--private goes with --repo USER/NAME.")
    info = read_adapter(adapter)
    runs, write = _runs(Path(info.path)), partial(shutil.copyfile, info.path)
    if paths := _local_paths(info):
        logger.warning(
            "The header of the adapter names places on this machine, which become public with it: "
            "%s.",
            listing(paths),
        )
    if output is not None:
        folder = save_folder(output, write, runs=runs, license=license, repo=repo)
        say(f"folder: {folder} (read its README.md; hf upload USER/NAME {folder} uploads it)")
    if repo is not None:
        url = push_folder(repo, write, private=private or None, runs=runs, license=license)
        say(f"uploaded: {url}\nload it with --adapter hf-hub:{repo}")


def _runs(adapter: Path) -> list[ScoredRun]:
    """Return the results of the run next to the adapter, and of its other seeds, by seed."""
    from ..experiments.results import ADAPTER, RESULTS, RunResult
    from ..experiments.run_dir import same_but_for_seed
    from ..hub.card_scores import ScoredRun

    folders = same_but_for_seed(adapter.parent) if adapter.name == ADAPTER else []
    found = []
    for folder in folders:
        try:
            result = RunResult.read(folder / RESULTS)
        except (ValueError, OSError) as error:
            logger.warning("left out of the model card: %s.", error)
            continue
        run = ScoredRun(
            dataset=result.dataset,
            test_split=result.test_split,
            seed=result.seed,
            metrics=result.metrics,
            zero_shot=result.zero_shot,
            calibration=result.calibration,
            calibration_zero_shot=result.calibration_zero_shot,
            calibrated=result.calibrated,
            test_images=result.sizes.test if result.sizes else None,
            is_this=folder == adapter.parent,
        )
        found.append(run)
    return sorted(found, key=lambda run: run.seed or 0)


def _local_paths(info: AdapterInfo) -> list[str]:
    """Return what the header tells of this machine's folders."""
    data = str(info.settings.get("data", "")).partition(":")[2]
    base = (info.base.model or "").removeprefix("local-dir:")
    places = (data, info.settings.get("data_root"), base, info.base.pretrained)
    return [str(place) for place in places if place and Path(str(place)).is_absolute()]
