"""`open-clip-mmrl demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import DeviceOption, command, out, say


@command
def demo(
    output: Annotated[Path, typer.Option(help="Where runs and picture go.")] = Path("mmrl-demo"),
    device: DeviceOption = "cpu",
    quiet: Annotated[bool, typer.Option(help="No progress bars.")] = False,
) -> None:
    """Offline, about a minute: a CLIP of printed characters learns handwritten digits."""
    from ..demo import FIGURE, run_demo
    from ..experiments.run_spec import Runtime
    from ..tables import comparison_table

    say(
        "A tiny CLIP that has seen printed characters only is shown 16 handwritten images each of "
        "zero .. four.\nThen it reads these (base) and, by name alone, five .. nine (novel)."
    )
    rows = run_demo(output, Runtime(device=device, quiet=quiet, say=say))
    out.print(comparison_table(rows))
    say(f"runs and adapters: {output}   picture: {output / FIGURE}")
