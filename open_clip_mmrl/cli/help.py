"""What every command's help has: options in panels, lists written with spaces, one example."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from ..config import PROTOCOLS
from .common import DATA, MACHINE, METHOD, OUTPUT, TRAINING

PANELS = (DATA, METHOD, TRAINING, MACHINE, OUTPUT)
EXAMPLES = {
    "demo": "demo",
    "train": "train --data digits --shots 4 --no-flip --output runs/digits",
    "eval": "eval --adapter runs/digits --data digits --output runs/eval",
    "predict": "predict --adapter runs/digits photos --new-class six --csv",
    "import": "import OUT --model ViT-B-16 --class-names names.txt --output x.safetensors",
    "export": "export --adapter runs/digits --to onnx --output digits-onnx",
    "info": "info runs/digits",
    "verify": "verify runs/digits",
    "run": "run few-shot --datasets digits --shots 1 2 4 --output runs",
    "status": "status runs --watch",
    "report": "report runs",
    "share": "share --adapter runs/digits --output shared",
    "models": "models siglip2",
    "check": "data check --data-root DATA",
    "speed": "speed --model ViT-B-32 --classes 50 --batch-size 4",
}
"""Of each command, without the program's name; each fits into a line of 80 columns."""


def example(command: str) -> str:
    """Return the end of a command's help."""
    return f"Example:\n\nopen-clip-mmrl {EXAMPLES[command]}"


class Command(TyperCommand):
    """A command with its options in panels; those with a metavar "N ..." take several words.

    `--shots 1 2 4` is `--shots 1,2,4`: it ends at the next option or protocol.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the words that follow a list option with commas, then parse as usual."""
        lists = {
            name
            for option in self.params
            if (option.metavar or "").endswith(" ...")
            for name in option.opts
        }
        joined: list[str] = []
        for word in args:
            more = len(joined) > 1 and joined[-2] in lists
            if more and not word.startswith("--") and word not in PROTOCOLS:
                joined[-1] += f",{word}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options in the order of the panels, flags without a type."""
        params: list[Any] = super().get_params(ctx)
        for option in params:
            if getattr(option, "is_flag", False):
                option.metavar = ""
            if "--help" in option.opts:
                option.rich_help_panel = OUTPUT
        return sorted(params, key=_place)


def _place(option: Any) -> int:
    panel = getattr(option, "rich_help_panel", None)
    return PANELS.index(panel) if panel in PANELS else -1
