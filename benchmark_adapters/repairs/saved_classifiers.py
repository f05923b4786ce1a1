"""`--load_clfs` and `--save_clf`: unchecked files, and a folder that has to exist.

clip_benchmark 1.6.2 averages whatever tensors it loads: a classifier of another data set gives
wrong scores without an error, and a missing file is found after the model was loaded. A
`--save_clf` in a folder that does not exist fails after the classifier was computed. To see the
first: its `evaluate(..., load_clfs=[FILE])` with 9 columns in the file and 10 class names.

Shapes: C classes, E embedding width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from open_clip_mmrl.errors import UsageError


def check_classifier_files(original: Callable[..., dict[str, float]]) -> Callable[..., Any]:
    """Wrap `zeroshot_classification.evaluate` with checks of the files it reads and writes."""

    @functools.wraps(original)
    def evaluate(
        model: Any,
        dataloader: Any,
        tokenizer: Any,
        classnames: Sequence[str],
        templates: Any,
        device: str,
        amp: bool = True,
        verbose: bool = False,
        save_clf: str | None = None,
        load_clfs: Sequence[str] = (),
    ) -> dict[str, float]:
        check_saved(load_clfs, len(classnames))
        if save_clf:
            Path(save_clf).parent.mkdir(parents=True, exist_ok=True)
        options = {"amp": amp, "verbose": verbose, "save_clf": save_clf, "load_clfs": load_clfs}
        return original(model, dataloader, tokenizer, classnames, templates, device, **options)

    return evaluate


def check_saved(paths: Sequence[str], classes: int) -> None:
    """Check that the classifiers to load are tensors [E, C] of one shape.

    Raises:
        UsageError: a file that does not exist.
        ValueError: a file that holds something else, or is for another number of classes.
    """
    shapes = {}
    for path in paths:
        if not Path(path).is_file():
            raise UsageError(f"--load_clfs: there is no file {path}.")
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # pickle, zip and torch raise errors of many types, with unsafe advice
            raise ValueError(
                f"--load_clfs: {path} cannot be read (damaged, or with other objects in it)."
            ) from None
        if not isinstance(saved, Tensor) or saved.ndim != 2:
            raise ValueError(f"--load_clfs: {path} is no classifier as --save_clf writes it.")
        if saved.shape[1] != classes:
            raise ValueError(
                f"--load_clfs: {path} is for {saved.shape[1]} classes, the data set has {classes}."
            )
        shapes[path] = tuple(saved.shape)
    if len(set(shapes.values())) > 1:
        raise ValueError(f"--load_clfs: only classifiers of one shape can be averaged: {shapes}.")
