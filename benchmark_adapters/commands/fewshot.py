"""`fewshot`: compare methods on clip_benchmark's data sets, with its evaluation and result files.

    python -m benchmark_adapters fewshot --dataset wds/NAME --dataset_root ROOT \
        --shots 1 4 16 --model mmrl-ViT-B-16 --pretrained openai \
        --methods zeroshot linear_probe mmrl mmrl++ --output DIR

Every (method, shots, seed) is trained on images of the train split and tested on the test split; a
linear probe also uses a few images of the val split, where there is one. Each writes a JSON file of
clip_benchmark's form to DIR, under a name that is different for other settings, so that the same
command computes only what is missing. `python -m benchmark_adapters build DIR` makes one table of
them, together with results of clip_benchmark itself.

All methods use the same images and the same prompt in training and test: clip_benchmark gets it
instead of the data set's templates. Training and evaluation run on CUDA if there is a GPU, as in
clip_benchmark.
"""

from __future__ import annotations

import argparse
import logging
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.config import METHODS, PRECISIONS, USUAL_METHODS, Shots
from open_clip_mmrl.data import load_data
from open_clip_mmrl.data.sampling import parse_shots, shots_number
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.run_spec import FewShotRun, Runtime
from open_clip_mmrl.utils.console import PlainConsole
from open_clip_mmrl.utils.files import json_bytes, write_atomically
from open_clip_mmrl.utils.json_fields import required, required_number
from open_clip_mmrl.utils.text import counted, decimal, printable

from .. import seam
from ..repairs.build_table import read_result
from .few_shot_runs import Worker, file_name, plan_runs, shots_and_seed

logger = logging.getLogger(__name__)

EVAL_BATCH = 64
"""clip_benchmark's default."""
SHOTS = (1, 2, 4, 8, 16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command, with names as in clip_benchmark."""
    add = parser.add_argument_group("Data").add_argument
    what = "wds/NAME, or a data set that clip_benchmark knows"
    add("--dataset", metavar="NAME", required=True, help=what)
    what = "folder or URL; {dataset} is filled in"
    add("--dataset_root", metavar="PATH", default="root", help=what)
    what = "training images per class, or all; default: 1 2 4 8 16"
    add("--shots", metavar="N", nargs="+", type=_shots, default=SHOTS, help=what)
    add("--seeds", metavar="N", nargs="+", type=int, default=[1], help="one run each; default: 1")
    what = "prompt, {} for the class name; default: the data set's first one"
    add("--template", metavar="TEXT", help=what)
    add = parser.add_argument_group("Method").add_argument
    what = "an open_clip model, with mmrl- or without; default: the tiny one shipped"
    add("--model", metavar="NAME", default=MODEL_NAME, help=what)
    what = "weights of the base: a tag or a checkpoint file"
    add("--pretrained", metavar="TAG_OR_FILE", help=what)
    what = f"of {' '.join(METHODS)}; default: {' '.join(USUAL_METHODS)}"
    add("--methods", metavar="NAME", nargs="+", default=USUAL_METHODS, help=what)
    add = parser.add_argument_group("Training").add_argument
    add("--epochs", metavar="N", type=int, help="default: the paper's, as the next two")
    add("--batch_size", metavar="N", type=int, help="images per step")
    add("--lr", metavar="X", type=float, help="learning rate")
    what = "do not mirror training images (for characters)"
    add("--no_flip", action="store_true", help=what)
    add = parser.add_argument_group("Machine").add_argument
    add("--precision", metavar="TYPE", default="fp32", help=" ".join(PRECISIONS))
    what = f"images at a time in clip_benchmark's evaluation; default: {EVAL_BATCH}"
    add("--eval_batch_size", metavar="N", type=int, default=EVAL_BATCH, help=what)
    what = "processes that decode images; default: 4"
    add("--num_workers", metavar="N", type=int, default=4, help=what)
    add = parser.add_argument_group("Output").add_argument
    what = "folder of the results; default: fewshot"
    add("--output", metavar="PATH", default="fewshot", help=what)
    add("--quiet", action="store_true", help="no progress bars")


def _shots(text: str) -> Shots:
    try:
        return parse_shots(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if not args.output.strip():
        raise UsageError("--output is empty; give a folder.")
    runtime = Runtime(workers=args.num_workers, quiet=args.quiet)
    output, batch_size = Path(args.output), args.eval_batch_size
    results = compare(plan_runs(args), output, args.template, runtime, batch_size)
    PlainConsole().print(table(results))
    shown = printable(str(args.output), keep="")
    print(f"results: {shown}   as one table: build {shown} --output results.csv")
    return 0


def compare(
    runs: Sequence[FewShotRun],
    output: Path,
    template: str | None = None,
    runtime: Runtime | None = None,
    batch_size: int = EVAL_BATCH,
) -> list[dict[str, Any]]:
    """Carry out the runs that have no result yet; return the content of all result files.

    The prompt is `template`, {} for the class name, or the data set's; `batch_size` is that of
    clip_benchmark's evaluation.

    Raises:
        UsageError: names that do not exist, or a run that was started on other images.
        ValueError: a data set without training or test images, or with damaged ones.
    """
    seam.register()
    first, runtime, results = runs[0], runtime or Runtime(), []
    data = load_data(first.data, data_root=first.data_root, template=template, quiet=runtime.quiet)
    for split in ("train", "test"):
        if not getattr(data, split):
            raise ValueError(f"{first.data} has no {split} images; few-shot runs need them.")
    worker = Worker(first, data, output, runtime, batch_size)
    for count, planned in enumerate(runs, 1):
        run = planned.replace(template=data.template)
        path, (shots, seed) = output / f"{file_name(run)}.json", shots_and_seed(run)
        how = f", {counted(shots, 'shot')}, seed {seed}" if shots else ""
        result = _done_before(path)
        done = ": done before" if result else ""
        logger.info("[%d/%d] %s%s%s", count, len(runs), run.method, how, done)
        if result is None:
            result = worker.carry_out(run)
            write_atomically(path, json_bytes(result))
        results.append(result)
    return results


def _done_before(path: Path) -> dict[str, Any] | None:
    """Return the content of a result file; None where it is to be computed, or is damaged."""
    if not path.exists():
        return None
    try:
        result = read_result(path)
        for key, kind in {"dataset": str, "method": str, "shots": int}.items():
            if result.get(key) != "all":
                required(result, key, kind)
        for place, key in ((result, "trainable_parameters"), (result["metrics"], "acc1")):
            required_number(place, key)
    except ValueError as error:
        logger.warning("computed again, because a result is damaged: %s", error)
        return None
    return result


def table(results: Sequence[dict[str, Any]]) -> Table:
    """Return methods x shots, the mean accuracy over seeds in percent."""
    columns = sorted({result["shots"] for result in results}, key=shots_number)
    found = Table(
        title=f"{results[0]['dataset']}, accuracy in % by shots",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    found.add_column("method", no_wrap=True)
    for shots in columns:
        found.add_column(str(shots), justify="right", no_wrap=True)
    found.add_column("trained\nparameters", justify="right", no_wrap=True)
    for method in dict.fromkeys(result["method"] for result in results):
        own = [result for result in results if result["method"] == method]
        cells = [
            _mean([100 * r["metrics"]["acc1"] for r in own if r["shots"] == shots])
            for shots in columns
        ]
        found.add_row(method, *cells, f"{own[0]['trainable_parameters']:,}")
    return found


def _mean(percents: Sequence[float]) -> str:
    if not percents:
        return ""
    std = statistics.stdev(percents) if len(percents) > 1 else None
    return decimal(statistics.mean(percents), 1, std)
