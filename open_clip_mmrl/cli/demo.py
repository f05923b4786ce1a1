"""`open-clip-mmrl demo`."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..utils.stop import RESUMES
from .common import DeviceOption, QuietOption, command, out, path_option, say

if TYPE_CHECKING:
    from ..experiments.run_spec import Runtime
    from ..report.tables.methods import MethodRow

logger = logging.getLogger(__name__)

SEEDS = (1, 2, 3)
FIGURE = "comparison.png"


@command(RESUMES)
def demo(
    output: Annotated[Path, path_option("Folder of runs and picture.")] = Path("mmrl-demo"),
    device: DeviceOption = "cpu",
    quiet: QuietOption = False,
) -> None:
    """Teach a CLIP of printed characters handwritten digits; offline, about a minute."""
    from ..experiments.run_spec import Runtime
    from .tables import comparison_table

    say(
        "A tiny CLIP that has seen printed characters only is shown 16 handwritten images each of "
        "zero .. four.\nThen it reads these (base) and, by name alone, five .. nine (novel)."
    )
    rows = run_demo(output, Runtime(device=device, quiet=quiet))
    out.print(comparison_table(rows))
    say(f"runs and adapters: {output}   picture: {output / FIGURE}")


def run_demo(
    output: str | Path, runtime: Runtime, seeds: tuple[int, ...] = SEEDS
) -> list[MethodRow]:
    """Train both methods with every seed, each in a folder of its own, and draw the figure.

    16 shots of "zero" .. "four" are the base classes, "five" .. "nine" the novel ones.
    Finished runs are read, not repeated.
    """
    import torch

    from .. import assets
    from ..config import VARIANTS
    from ..experiments import recipes
    from ..experiments.execute import execute
    from ..experiments.run_spec import FewShotRun
    from ..report.figures.comparison import comparison_figure
    from ..report.tables.methods import method_rows

    output, start = Path(output), time.perf_counter()
    torch.set_num_threads(1)  # tensors this small only make a second thread wait
    results = []
    for variant in VARIANTS:
        recipe = recipes.demo(variant)
        for seed in seeds:
            run = FewShotRun(
                model=assets.MODEL_NAME,
                pretrained=assets.TAG,
                data="digits",
                method=variant,
                classes="base",
                settings=recipe.method,
                settings_source="demo",
                train=recipes.changed(recipe.train, seed=seed),
            )
            folder = output / f"{variant.replace('+', 'p')}-seed{seed}"
            results.append(execute(run, folder, runtime))
            scores = results[-1].metrics
            logger.info(
                "%-7s seed %d: base %.1f  novel %.1f  HM %.1f   (%.0f s so far)",
                variant, seed, *scores.values(), time.perf_counter() - start,
            )  # fmt: skip
    rows = method_rows(results)
    title = f"Handwritten digits, 16 images per base class, mean of {len(seeds)} seeds"
    comparison_figure(rows, title, output / FIGURE)
    return rows
