"""`open-clip-mmrl predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..utils.text import printable
from .common import OUTPUT, AdapterOption, BaseOption, DeviceOption, command, option, say


@command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    adapter: AdapterOption,
    top: Annotated[int, option(OUTPUT, "Classes shown per image.", min=1, metavar="N")] = 3,
    pretrained: BaseOption = None,
    device: DeviceOption = None,
    as_json: Annotated[bool, option(OUTPUT, "One JSON object per line.", "--json")] = False,
) -> None:
    """Name the most probable classes of images, among those the adapter was trained on."""
    for path, probabilities in zip(
        images, _probabilities(images, adapter, pretrained, device), strict=True
    ):
        best = sorted(probabilities.items(), key=lambda item: item[1], reverse=True)[:top]
        if as_json:
            say(json.dumps({"image": str(path), "classes": {n: round(p, 4) for n, p in best}}))
        else:
            shown = ", ".join(f"{name} {100 * p:.1f} %" for name, p in best)
            say(printable(f"{path}: {shown}", keep=""))


def _probabilities(
    images: list[Path], adapter: Path, pretrained: str | None, device: str | None
) -> list[dict[str, float]]:
    """Return the probability of every class, image by image, as `FewShotClassifier` does.

    Without it, because it imports scikit-learn, which takes a second.
    """
    from ..data import Example
    from ..data.check_images import require_readable
    from ..data.loading.images import ImageSet, eval_transform, in_order, loader
    from ..evaluation.predict import build_classifier, predict
    from ..hub.load import build_from_adapter
    from ..utils.devices import pick_device

    loaded, info = build_from_adapter(
        adapter, base_pretrained=pretrained, device=pick_device(device)
    )
    examples = [Example(image=path, label=0, upright=True) for path in images]
    require_readable(examples)
    if not info.class_names:
        raise ValueError(f"{adapter} names no classes: it was saved without class_names.")
    tokens = loaded.class_tokens(info.class_names, info.template)
    shown = ImageSet(examples, eval_transform(loaded.model))
    scores = predict(
        loaded.model,
        build_classifier(loaded.model, tokens, class_names=info.class_names),
        loader(shown, in_order(len(shown))),
        features="fused",
        fusion="probabilities",
    ).scores
    rows = scores.double().softmax(dim=1).tolist()
    return [dict(zip(info.class_names, row, strict=True)) for row in rows]
