"""`open-clip-mmrl predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .common import AdapterOption, BaseOption, DeviceOption, command, say


@command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    adapter: AdapterOption,
    top: Annotated[int, typer.Option(min=1, help="Classes shown per image.")] = 3,
    pretrained: BaseOption = None,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Name the most probable classes of images, among those the adapter was trained on."""
    from ..classifier import FewShotClassifier

    classifier = FewShotClassifier.from_adapter(adapter, pretrained=pretrained, device=device)
    for path, row in zip(images, classifier.predict_proba(images), strict=True):
        best = row.argsort()[::-1][:top]
        found = {str(classifier.classes_[i]): round(float(row[i]), 4) for i in best}
        if as_json:
            say(json.dumps({"image": str(path), "classes": found}))
        else:
            say(f"{path}: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in found.items()))
