"""`scrawl`: 47 characters in shaky handwriting, drawn by this package. Needs no download.

Class names share words ("capital letter a", "small letter a", "digit two"), and the shipped tiny
CLIP was trained on all of them as printed characters, so it can classify novel classes. The
handwriting is new to it: other fonts, bent, slanted, broken and struck through.
"""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

from ..dataset import ImageData
from ..example import Example

if TYPE_CHECKING:
    import torch

    from ...assets.glyphs import GlyphBank

TEMPLATE = "a photo of the {}."
IMAGES = {"train": 20, "val": 10, "test": 60}
"""Per class."""
SEED = 20250


@cache
def read_scrawl() -> ImageData:
    """Draw 47 classes of 32 x 32 gray pixels; 20 train, 10 val and 60 test images of each.

    The order of the classes is shuffled (always in the same way), so that digits, capitals and
    small letters are among the base and the novel classes. The same images on every machine, up to
    rounding.
    """
    import torch

    from ...assets.characters import CLASSES, HELD_OUT_FONTS
    from ...assets.glyphs import GlyphBank

    names = list(CLASSES)
    random.Random(SEED).shuffle(names)
    place = {name: index for index, name in enumerate(CLASSES)}
    bank, generator = GlyphBank(HELD_OUT_FONTS), torch.Generator().manual_seed(SEED)
    splits: dict[str, tuple[Example, ...]] = {}
    for split, count in IMAGES.items():
        labels = torch.arange(len(names)).repeat(count)
        characters = torch.tensor([place[name] for name in names])[labels]
        pixels = _draw(bank, characters, generator)
        splits[split] = tuple(
            Example(image=image.numpy(), label=int(label))
            for image, label in zip(pixels, labels, strict=True)
        )
    return ImageData(
        spec="scrawl",
        class_names=tuple(names),
        template=TEMPLATE,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
    )


def _draw(bank: GlyphBank, characters: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Classes of the glyph bank [N] -> uint8 images [N, 32, 32]."""
    import torch
    import torch.nn.functional as F

    from ...assets.glyphs import blur

    count = len(characters)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    def smooth(size: int, *, channels: int = 1) -> torch.Tensor:
        """Smooth noise, [N, channels, 64, 64]: `size` points across, bicubic between them."""
        noise = torch.randn(count, channels, size, size, generator=generator)
        return F.interpolate(noise, size=(64, 64), mode="bicubic", align_corners=True)

    within = (uniform(0, 1) * bank.sizes[characters]).long()
    fonts = torch.randint(len(bank.heaviest), (count,), generator=generator)
    weight = torch.randint(0, 2, (count,), generator=generator)  # thin, or as designed
    ink = bank.masks[fonts, bank.starts[characters] + within, weight][:, None]
    # Bend every stroke; slant, rotate and scale the character.
    angle, slant, size = uniform(-0.3, 0.3), uniform(-0.5, 0.5), uniform(0.75, 1.1)
    rows = torch.stack([angle.cos() - slant * angle.sin(), angle.sin() + slant * angle.cos()], 1)
    columns = torch.stack([-angle.sin(), angle.cos()], 1)
    matrix = torch.stack([rows, columns], 1) / size[:, None, None]
    theta = torch.cat([matrix, uniform(-0.12, 0.12, 2, 1)], 2)
    grid = F.affine_grid(theta, [count, 1, 64, 64], align_corners=False)
    bend = smooth(5, channels=2).permute(0, 2, 3, 1) * uniform(0.03, 0.11, 1, 1, 1)
    ink = F.grid_sample(ink, grid + bend, align_corners=False)
    # Gaps in the strokes, and for half of the images a line through the character.
    ink = ink * (smooth(12) > uniform(-2.2, -0.7, 1, 1, 1)).float()
    across = torch.linspace(-1, 1, 64)
    height = uniform(-0.7, 0.7, 1) + uniform(-0.5, 0.5, 1) * across  # [N, 64], one per column
    line = (across[None, :, None] - height[:, None, :]).abs() < 0.035
    drawn = (uniform(0, 1, 1, 1, 1) < 0.5) & line[:, None]
    ink = torch.maximum(ink, drawn.float() * 0.9)
    ink = blur(F.avg_pool2d(ink, 2), uniform(0.3, 0.8))
    images = 0.15 + 0.7 * ink + torch.randn(ink.shape, generator=generator) * 0.06
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)[:, 0]
