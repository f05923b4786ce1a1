"""The offline demo: a CLIP that knows printed characters learns handwritten digits."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from . import assets
from .config import VARIANTS
from .experiments import recipes
from .experiments.execute import execute
from .experiments.run_spec import FewShotRun, Runtime
from .report import Row, base_to_novel_rows, comparison_figure

SEEDS = (1, 2, 3)
FIGURE = "comparison.png"


def run_demo(output: str | Path, runtime: Runtime, seeds: tuple[int, ...] = SEEDS) -> list[Row]:
    """Train both methods with every seed, each in a folder of its own, and draw the figure.

    16 shots of "zero" .. "four" are the base classes, "five" .. "nine" the novel ones.
    Finished runs are read, not repeated.
    """
    output, start = Path(output), time.perf_counter()
    torch.set_num_threads(1)  # tensors this small only make a second thread wait
    recipe, results = recipes.demo(), []
    for variant in VARIANTS:
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
            scores = results[-1]["metrics"]
            runtime.say(
                f"{variant:7} seed {seed}: base {scores['base']:.1f}  novel {scores['novel']:.1f}"
                f"  HM {scores['hm']:.1f}   ({time.perf_counter() - start:.0f} s so far)"
            )
    rows = base_to_novel_rows(results)
    title = f"Handwritten digits, 16 images per base class, mean of {len(seeds)} seeds"
    comparison_figure(rows, title, output / FIGURE)
    return rows
