"""Few-shot comparisons on clip_benchmark's data sets, with its evaluation and its result files.

    python -m benchmark_adapters fewshot --dataset wds/NAME --dataset_root ROOT \
        --shots 1 4 16 --model mmrl-ViT-B-16 --pretrained openai \
        --methods zeroshot linear_probe mmrl mmrl++ --output DIR

Every (method, shots, seed) is trained on images of the train split and tested on the test split; a
linear probe also looks at a few images of the val split, where there is one. Each leaves a JSON
file of clip_benchmark's form in DIR, under a name that is different for other settings, so that the
same command computes only what is missing. `python -m benchmark_adapters build DIR` makes one table
of them, together with results of clip_benchmark itself.

All methods see the same images and one prompt, the one trained with: clip_benchmark gets it in
place of the data set's templates. Training and evaluation run on CUDA where there is any: so does
clip_benchmark.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from open_clip_mmrl.config import PRECISIONS
from open_clip_mmrl.data import load_data
from open_clip_mmrl.experiments.execute import Runtime
from open_clip_mmrl.utils.files import json_bytes, write_atomically
from open_clip_mmrl.utils.log import show_messages

from .. import seam
from .comparison import METHODS, SHOTS, Comparison
from .fewshot_jobs import Worker

logger = logging.getLogger(__name__)

EVAL_BATCH = 64
"""clip_benchmark's default."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command, spelled as clip_benchmark spells its own."""
    add = parser.add_argument
    add("--dataset", required=True, help="wds/NAME, or a data set that clip_benchmark knows")
    add("--dataset_root", default="root", help="folder or URL; {dataset} is filled in")
    add("--model", required=True, help="an open_clip model, with mmrl- or without")
    add("--pretrained", help="weights of the base: a tag or a checkpoint file")
    add("--methods", nargs="+", default=METHODS, help=" ".join(METHODS))
    add(
        "--shots",
        nargs="+",
        type=int,
        default=SHOTS,
        help="training images per class; default: 1 2 4 8 16",
    )
    add("--seeds", nargs="+", type=int, default=[1], help="one run each, default: 1")
    add("--output", default="fewshot", help="folder of the results; default: fewshot")
    add("--template", help="prompt, {} for the class name; default: the data set's first one")
    add("--epochs", type=int, help="default: the paper's, as the next two")
    add("--batch_size", type=int, help="of training")
    add("--lr", type=float, help="learning rate")
    add("--no_flip", action="store_true", help="do not mirror training images (for characters)")
    add("--precision", default="fp32", help=" ".join(PRECISIONS))
    add("--eval_batch_size", type=int, default=EVAL_BATCH, help="of clip_benchmark's evaluation")
    add("--num_workers", type=int, default=4, help="processes that decode images")
    add("--quiet", action="store_true", help="no progress bars")


def main(args: argparse.Namespace) -> int:
    """Run the command; errors are `open_clip_mmrl`'s own."""
    train = {name: getattr(args, name) for name in ("epochs", "batch_size", "lr")}
    train["flip"] = False if args.no_flip else None
    comparison = Comparison(
        dataset=args.dataset,
        dataset_root=args.dataset_root,
        model=args.model,
        pretrained=args.pretrained,
        shots=tuple(args.shots),
        methods=tuple(args.methods),
        seeds=tuple(args.seeds),
        template=args.template,
        precision=args.precision,
        train={name: value for name, value in train.items() if value is not None},
    )
    show_messages(logging.WARNING if args.quiet else logging.INFO)
    console, runtime = Console(), Runtime(workers=args.num_workers, quiet=args.quiet)
    results = compare(comparison, args.output, runtime=runtime, batch_size=args.eval_batch_size)
    console.print(table(results))
    text = f"results: {args.output}   as one table: build {args.output} --output results.csv"
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    return 0


def compare(
    comparison: Comparison,
    output: str | Path,
    *,
    runtime: Runtime | None = None,
    batch_size: int = EVAL_BATCH,
) -> list[dict[str, Any]]:
    """Carry out what is not there yet; returns the content of all result files, in order.

    Raises:
        UsageError: names that do not exist, or a run that was begun on other images.
        ValueError: a data set without training or test images, or with damaged ones.
    """
    seam.register()
    runtime, output = runtime or Runtime(), Path(output)
    data = load_data(
        comparison.spec,
        data_root=comparison.dataset_root,
        template=comparison.template,
        quiet=runtime.quiet,
    )
    for part in ("train", "test"):
        if not getattr(data, part):
            raise ValueError(f"{comparison.dataset} has no {part} images; few-shot runs need them.")
    worker, jobs = Worker(comparison, data, output, runtime, batch_size), list(comparison.jobs())
    results = []
    for count, job in enumerate(jobs, 1):
        path = output / f"{worker.name(job)}.json"
        done = path.is_file()
        how = f", {job.shots} shots, seed {job.seed}" if job.shots else ""
        state = ": done before" if done else ""
        logger.info("[%d/%d] %s%s%s", count, len(jobs), job.method, how, state)
        if not done:
            write_atomically(path, json_bytes(worker.carry_out(job)))
        results.append(json.loads(path.read_text(encoding="utf-8")))
    return results


def table(results: Sequence[dict[str, Any]]) -> Table:
    """Methods x shots, the mean accuracy over seeds in percent."""
    columns = sorted({result["shots"] for result in results})
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
            _mean([r["metrics"]["acc1"] for r in own if r["shots"] == shots]) for shots in columns
        ]
        found.add_row(method, *cells, f"{own[0]['trainable_parameters']:,}")
    return found


def _mean(shares: Sequence[float]) -> str:
    if not shares:
        return ""
    spread = f" ±{100 * statistics.stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{100 * statistics.mean(shares):.1f}{spread}"
