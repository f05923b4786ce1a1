"""Drawing printed characters: glyph masks, and random pictures made from them.

The distortions are those of print: small rotations and slants, other sizes, places and stroke
weights, blur and noise.  They are mild on purpose: strong ones teach the model to recognize much
handwriting as well, and handwriting is what the demo adapts it to.

Every picture starts from a TrueType outline that ships with matplotlib (``mpl-data/fonts/ttf``:
DejaVu, STIX and Computer Modern).  A large mask of each glyph in each font is drawn once; a batch
is then made from random masks with tensor operations only, so that rendering takes little time
compared with a training step.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from .characters import CLASSES, TRAIN_FONTS

IMAGE_SIZE = 32
"""Side of a finished picture, pixels."""

MASK_SIZE = 64
"""Side of a stored glyph mask, pixels: twice the picture, so that drawing stays smooth."""

GLYPH_SIZE = 44
"""Longer side of the glyph inside its mask, pixels."""


def font_path(name: str) -> Path:
    """Return the file of one of matplotlib's fonts.

    Raises:
        ValueError: this version of matplotlib has no such font; the message lists those it has.
    """
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    path = folder / f"{name}.ttf"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.ttf")))
        raise ValueError(
            f"matplotlib {matplotlib.__version__} has no font {name!r}; give one that it has "
            f"({known}), or install another version of matplotlib"
        )
    return path


def draw_mask(font: Path, character: str) -> np.ndarray:
    """Draw one glyph, centered and scaled to :data:`GLYPH_SIZE` by its longer side.

    Returns:
        uint8 array of shape (MASK_SIZE, MASK_SIZE): ink coverage, 0 none to 255 full.
    """
    from PIL import Image, ImageDraw, ImageFont

    face = ImageFont.truetype(str(font), 4 * GLYPH_SIZE)
    canvas = Image.new("L", (12 * GLYPH_SIZE, 12 * GLYPH_SIZE), 0)
    ImageDraw.Draw(canvas).text((3 * GLYPH_SIZE, 3 * GLYPH_SIZE), character, font=face, fill=255)
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"font {font.stem} draws nothing for {character!r}; use another font")
    glyph = canvas.crop(box)
    factor = GLYPH_SIZE / max(glyph.size)
    width, height = (max(1, round(side * factor)) for side in glyph.size)
    mask = Image.new("L", (MASK_SIZE, MASK_SIZE), 0)
    corner = ((MASK_SIZE - width) // 2, (MASK_SIZE - height) // 2)
    mask.paste(glyph.resize((width, height), Image.Resampling.LANCZOS), corner)
    return np.asarray(mask)


class GlyphBank:
    """Glyph masks of some fonts, and random pictures made from them.

    Attributes:
        masks: float32 (fonts, characters, 3, 64, 64) ink coverage 0..1; the three stroke weights
            are one pixel thinner, as designed, one pixel thicker.
        heaviest: float32 (fonts,) the largest index into the stroke weights that is drawn.
        starts, sizes: int64 (classes,) class k has the characters from ``starts[k]`` on, as many
            as ``sizes[k]``.

    Args:
        fonts: names out of ``TRAIN_FONTS`` and ``HELD_OUT_FONTS`` of :mod:`.characters`.
        device: where the masks are kept and the pictures are made.
    """

    def __init__(self, fonts: tuple[str, ...] = TRAIN_FONTS, device: str = "cpu") -> None:
        if not fonts:
            raise ValueError("no fonts given; name at least one, e.g. characters.TRAIN_FONTS")
        paths = [font_path(name) for name in fonts]
        groups = list(CLASSES.values())
        characters = "".join(groups)
        masks = np.stack([[draw_mask(path, c) for c in characters] for path in paths])
        base = torch.from_numpy(masks).to(device, torch.float32).flatten(0, 1)[:, None] / 255
        weights = [-F.max_pool2d(-base, 3, 1, 1), base, F.max_pool2d(base, 3, 1, 1)]
        self.masks = torch.stack(weights, 1).view(len(fonts), len(characters), 3, *masks.shape[-2:])
        # Bold outlines close up when thickened far, so they stop earlier.
        bold = torch.tensor(["Bol" in name or name == "cmb10" for name in fonts])
        self.heaviest = torch.where(bold, 1.4, 1.7)
        self.sizes = torch.tensor([len(group) for group in groups])
        self.starts = torch.cumsum(self.sizes, 0) - self.sizes
        self.device = device

    def sample(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Render ``count`` pictures of classes drawn at random.

        Args:
            count: number of pictures, at least 1.
            generator: CPU generator; equal seeds give equal pictures.

        Returns:
            float32 pictures (count, 3, 32, 32) in 0..1, and int64 classes (count,), which index
            ``list(CLASSES)``.
        """
        if count < 1:
            raise ValueError(f"count is {count}; ask for at least 1 picture")
        if generator.device.type != "cpu":
            raise ValueError(f"generator is on {generator.device}; give a CPU torch.Generator")

        def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
            draw = torch.rand(count, *shape, generator=generator)
            return (low + (high - low) * draw).to(self.device)

        def index(bound: int) -> torch.Tensor:
            return torch.randint(bound, (count,), generator=generator)

        labels = index(len(self.sizes))
        within = (torch.rand(count, generator=generator) * self.sizes[labels]).long()
        fonts = index(len(self.heaviest))
        levels = self.masks[fonts, self.starts[labels] + within]  # (count, 3, 64, 64)

        # Stroke weight: a point between two adjacent levels, near the outline as designed.
        span = self.heaviest[fonts].to(self.device) - 0.7
        weight = (0.7 + span * uniform(0, 1)).clamp(max=1.99)
        lower, share = weight.long(), (weight - weight.floor())[:, None, None]
        rows = torch.arange(count, device=self.device)
        ink = levels[rows, lower] * (1 - share) + levels[rows, lower + 1] * share

        ink = F.grid_sample(ink[:, None], self._grid(uniform, ink.shape), align_corners=False)
        ink = blur(F.avg_pool2d(ink, 2), uniform(0.2, 0.8))

        # Paper and ink: gray levels at least 0.35 apart, either one the lighter, then grain.
        gap = uniform(0.35, 1.0, 1, 1, 1)
        dark = uniform(0, 1, 1, 1, 1) * (1 - gap)
        ink = torch.where(uniform(0, 1, 1, 1, 1) < 0.5, ink, 1 - ink)
        grain = torch.randn(ink.shape, generator=generator).to(self.device)
        pictures = dark + gap * ink + grain * uniform(0, 0.08, 1, 1, 1)
        return pictures.clamp(0, 1).expand(-1, 3, -1, -1).contiguous(), labels.to(self.device)

    def _grid(self, uniform: Callable[..., torch.Tensor], shape: torch.Size) -> torch.Tensor:
        """Make the grid of random sizes, aspects, slants, turns and places; unit: half a mask."""
        angle, slant = uniform(-0.08, 0.08), uniform(-0.12, 0.12)  # radians; shift per height
        size, aspect = uniform(0.8, 1.2), uniform(-0.05, 0.05).exp()
        # The glyph fills GLYPH_SIZE / MASK_SIZE of the frame; what is left may be shifted away.
        room = (1 - size * GLYPH_SIZE / MASK_SIZE).clamp(min=0.05)
        shift = uniform(-1, 1, 2) * room[:, None] * 0.8
        cos, sin = angle.cos(), angle.sin()
        # Rows of the inverse map (frame -> mask): undo the shift, the turn, the slant, the size.
        x_row = torch.stack([cos - slant * sin, sin + slant * cos], 1) / (size / aspect)[:, None]
        y_row = torch.stack([-sin, cos], 1) / (size * aspect)[:, None]
        matrix = torch.stack([x_row, y_row], 1)
        offset = -(matrix @ shift[:, :, None])
        theta = torch.cat([matrix, offset], 2)
        return F.affine_grid(theta, [shape[0], 1, *shape[-2:]], align_corners=False)


def blur(pictures: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Blur each picture with its own Gaussian.

    Args:
        pictures: (count, 1, height, width).
        sigma: (count,) standard deviations, pixels, up to about 1.3 (the window is 7 wide).

    Returns:
        Tensor of the same shape.
    """
    offsets = torch.arange(-3, 4, device=pictures.device, dtype=pictures.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    flat = pictures.transpose(0, 1)  # one channel per picture
    flat = F.conv2d(flat, kernel[:, None, None, :], padding=(0, 3), groups=len(sigma))
    flat = F.conv2d(flat, kernel[:, None, :, None], padding=(3, 0), groups=len(sigma))
    return flat.transpose(0, 1)
