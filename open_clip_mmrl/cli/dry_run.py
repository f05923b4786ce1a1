"""What `run --dry-run` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..utils.text import counted, in_words, listing
from .common import say

if TYPE_CHECKING:
    from ..experiments.protocols import PlannedRun
    from ..experiments.run_spec import Runtime


def show(planned: Sequence[PlannedRun], output: Path, runtime: Runtime) -> None:
    """Print every run with an estimate of its time, and the sum."""
    from ..experiments.resolve import data_of, require_tested
    from ..experiments.results import RESULTS
    from ..experiments.runner import unfinished
    from ..experiments.time_estimate import matrix_product_rate, seconds_of
    from ..utils.devices import pick_device

    rate = matrix_product_rate(pick_device(runtime.device))
    todo, data, total = unfinished(planned, output), {}, 0.0
    for item in planned:
        run = item.run
        if run.data not in data:
            try:
                found = data_of(run, quiet=runtime.quiet)
                require_tested(found, run)
                data[run.data] = found
            except ValueError as error:
                data[run.data] = None
                say(f"{run.data} cannot be used: {error}")
        if item not in todo:
            note = _finished(output / item.folder / RESULTS)
        elif item.reuse_from:
            note = f"shares the training of {item.reuse_from[0]}"
        elif data[run.data] is None:
            note = "its data cannot be used"
        else:
            seconds = seconds_of(run, data[run.data], rate)
            total += seconds
            note = f"about {in_words(seconds)}"
        say(f"{item.folder}: {note}")
    say(
        f"{counted(len(planned), 'run')}, {len(planned) - len(todo)} finished; the rest about "
        f"{in_words(total)} on this {pick_device(runtime.device).type}, by counting operations "
        "(a factor of two either way; targets of transfer are not counted)."
    )
    unusable = [spec for spec, found in data.items() if found is None]
    if unusable:
        raise ValueError(f"data that cannot be used: {listing(unusable)}; the reasons are above.")


def _finished(path: Path) -> str:
    from ..experiments.results import RunResult

    try:
        RunResult.read(path)
    except (ValueError, OSError) as error:
        return f"damaged ({error})"
    return "finished"
