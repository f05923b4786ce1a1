"""The README of an exported folder: what is in it, code that uses it, what it cannot do."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from open_clip.transform import PreprocessCfg

from ..utils.files import write_atomically
from ..version import __version__
from .source import README, Source

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Exported:
    """An exported folder."""

    folder: Path
    files: dict[str, int]
    """Names and sizes in bytes."""
    lines: list[str]
    """What the comparison with the model has shown."""


def write_readme(
    template: str, folder: Path, output: str | Path, source: Source, lines: list[str], **values: Any
) -> Exported:
    """Write README.md into the folder that will be `output`; return what is in it."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown and Python
    )
    # Not the whole path of a file: the folder is there to be given away.
    model, pretrained = source.info.base.model, Path(source.info.base.pretrained or "?").name
    text = environment.get_template(template).render(
        base=f"{model} ({pretrained})",
        classes=source.classes,
        cropping=cropping(source.preprocess),
        features=source.features,
        height=source.image_size[0],
        lines=lines,
        method="MMRL++" if source.info.config.variant == "mmrl++" else "MMRL",
        model=model,
        name=Path(output).name,
        preprocess=source.preprocess,
        pretrained=pretrained,
        versions=f"open_clip_mmrl {__version__} with torch {version('torch')}",
        width=source.image_size[1],
        context=source.loaded.model.context_length,
        **values,
    )
    write_atomically(folder / README, text.encode())
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return Exported(Path(output), files, lines)


def cropping(config: PreprocessCfg) -> list[str]:
    """Return lines of Python that bring a Pillow image to the input's size, as open_clip does."""
    _, height, width = config.input_size
    mode, square = config.resize_mode, height == width
    # open_clip passes no interpolation on where the shortest side has to fit a rectangle.
    bilinear = config.interpolation == "bilinear" and (mode != "shortest" or square)
    resample = f"Image.Resampling.{'BILINEAR' if bilinear else 'BICUBIC'}"
    if mode == "squash":
        return [f"image = image.resize(({width}, {height}), {resample})"]
    if mode == "shortest" and square:
        sides = f"{width} * side // min(image.size) for side in image.size"
        lines = [f"image = image.resize([{sides}], {resample})"]
    else:
        extreme = "max" if mode == "longest" else "min"
        lines = [
            f"ratio = {extreme}(image.width / {width}, image.height / {height})",
            f"image = image.resize([round(side / ratio) for side in image.size], {resample})",
        ]
    if mode == "shortest":
        return [
            *lines,
            f"x, y = round((image.width - {width}) / 2), round((image.height - {height}) / 2)",
            f"image = image.crop((x, y, x + {width}, y + {height}))",
        ]
    ground = f"Image.new('RGB', ({width}, {height}), {(config.fill_color,) * 3})"
    return [
        *lines,
        f"small, image = image, {ground}",
        f"image.paste(small, (({width} - small.width) // 2, ({height} - small.height) // 2))",
    ]
