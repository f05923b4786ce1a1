"""The command line: `clip-benchmark-mmrl eval | build | fewshot | export`.

`eval` and `build` are clip_benchmark's own, with our model types and repairs; its parser reads
sys.argv. Exit code 2 for a usage error, 1 for other errors, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from open_clip_mmrl import __version__
from open_clip_mmrl.utils import stop, streams

from . import seam

PROG = "clip-benchmark-mmrl"
THEIRS = {
    "eval": "score models on data sets; clip_benchmark's own options and ours",
    "build": "write the results of many runs into one CSV file",
}
OURS = {
    "fewshot": "train on a few images per class of a data set, and score",
    "export": "write a data set as the shards that eval reads",
}
ON_STOP = {
    "eval": "Finished results are kept; with --skip_existing the same command computes the others.",
    "fewshot": stop.RESUMES,
}
EXAMPLES = {
    "export": "export --data digits --output shards/digits",
    "fewshot": "fewshot --dataset wds/digits \\\n"
    "      --dataset_root shards/digits --shots 1 4 --methods zeroshot mmrl",
    "eval": "eval --dataset wds/digits --dataset_root shards/digits \\\n"
    "      --model_type mmrl_auto --pretrained runs/digits --output digits.json",
    "build": "build fewshot --output digits.csv",
}
SKIP_BROKEN = "--skip_broken"
EVAL_HELP = f"""\
In addition to clip_benchmark's own options:
  --model mmrl-<base> or mmrlpp-<base>
  --pretrained <adapter file or folder of a run of open-clip-mmrl train>
  --model_type mmrl         the class feature: for new classes and other data sets
               mmrl_fused   both features: for the classes the adapter was trained on
               mmrl_frozen  the base model's own feature
               mmrl_auto    by the adapter's class names, class by class
  {SKIP_BROKEN}             skip images of wds/ data sets that cannot be read
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    is_program, argv = argv is None, list(sys.argv[1:] if argv is None else argv)
    hint = ON_STOP.get(argv[0], stop.AGAIN) if argv else stop.AGAIN
    if is_program:
        streams.prepare()
        stop.install(hint)
    options = _parser().parse_args(argv[:1])
    if options.command is None:
        _parser().print_help()
        return 0
    try:
        return _run(options.command, argv)
    except KeyboardInterrupt:
        print(f"Stopped. {hint}", file=sys.stderr)
        return 130
    finally:
        stop.end_if_stopped()


def _run(command: str, argv: list[str]) -> int:
    from open_clip_mmrl.errors import UsageError
    from open_clip_mmrl.utils.text import printable

    _show_messages()
    try:
        return _clip_benchmark(argv) if command in THEIRS else _own(command, argv[1:])
    except (ValueError, RuntimeError, OSError) as error:
        print("error:", printable(" ".join(str(error).split())), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROG, description="clip_benchmark with MMRL and MMRL++ models."
    )
    parser.add_argument("--version", action="version", version=f"open_clip_mmrl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in {**THEIRS, **OURS}.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def _clip_benchmark(argv: list[str]) -> int:
    seam.register()
    from clip_benchmark import cli

    from .repairs import wds_samples

    if {"-h", "--help"} & set(argv):
        print(_example(argv[0]))
    if argv[0] == "eval":
        if {"-h", "--help"} & set(argv):
            print(EVAL_HELP)
        wds_samples.set_skip_broken(SKIP_BROKEN in argv)
        argv = [word for word in argv if word != SKIP_BROKEN]
    with _command_line(argv):
        cli.main()
    return 0


@contextmanager
def _command_line(argv: list[str]) -> Generator[None, None, None]:
    before = sys.argv
    sys.argv = [PROG, *argv]
    try:
        yield
    finally:
        sys.argv = before


def _own(command: str, argv: list[str]) -> int:
    module = importlib.import_module(f".commands.{command}", __package__)
    return module.main(parser_of(command).parse_args(argv))


def parser_of(command: str) -> argparse.ArgumentParser:
    """Return the parser of one of our own commands."""
    module = importlib.import_module(f".commands.{command}", __package__)
    parser = argparse.ArgumentParser(
        prog=f"{PROG} {command}",
        usage="%(prog)s [options]",
        description=OURS[command],
        epilog=_example(command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def _example(command: str) -> str:
    return f"Example:\n  {PROG} {EXAMPLES[command]}\n"


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"warning: {text}" if record.levelno >= logging.WARNING else text


def _show_messages() -> None:
    from open_clip_mmrl.utils.log import show_messages

    show_messages()
    for handler in logging.getLogger(__package__).handlers:
        handler.setFormatter(_Formatter())
