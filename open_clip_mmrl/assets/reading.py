"""The small CLIP's architecture, and its zero-shot accuracies on unseen pictures."""

from __future__ import annotations

from typing import Any, TypeAlias

import open_clip
import torch

from . import characters, glyphs

Model: TypeAlias = open_clip.CLIP | open_clip.CustomTextCLIP

MODEL: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": glyphs.IMAGE_SIZE,
        "patch_size": 8,
        "layers": 6,
        "width": 128,
        "head_width": 32,
    },
    "text_cfg": {
        "context_length": 32,
        "vocab_size": 49408,
        "width": 64,
        "heads": 2,
        "layers": 6,
    },
}
"""The open_clip model config."""

PREPROCESS: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
"""The settings of open_clip's image transform."""

HELD_OUT_SEED = 2**31
"""Seed of the pictures kept for measuring; training's ``--seed`` must stay below it.

PyTorch's CPU generator uses the low 32 bits of a seed only: a larger seed may repeat a lower one.
"""

HELD_OUT_COUNT = 4700
"""Pictures measured per set of fonts, about 100 of each class: a standard error near 0.2 %."""


def tokenize(captions: list[str]) -> torch.Tensor:
    """Return the token ids of open_clip's tokenizer, int64 (captions, context_length)."""
    return open_clip.SimpleTokenizer(context_length=MODEL["text_cfg"]["context_length"])(captions)


def normalize(pictures: torch.Tensor) -> torch.Tensor:
    """Map pictures (n, 3, h, w) in 0..1 to the range that the image tower expects."""
    mean, std = (pictures.new_tensor(PREPROCESS[key])[:, None, None] for key in ("mean", "std"))
    return (pictures - mean) / std


@torch.no_grad()
def read(model: Model, pictures: torch.Tensor, names: list[str]) -> torch.Tensor:
    """Return the zero-shot classes of pictures.

    Args:
        model: the CLIP in evaluation mode, on the CPU.
        pictures: (n, 3, 32, 32) in 0..1.
        names: class names, put into the first caption template.

    Returns:
        int64 (n,) indices into ``names``.
    """
    text = model.encode_text(tokenize([characters.TEMPLATES[0].format(n) for n in names]), True)
    batches = normalize(pictures).split(512)
    return torch.cat([(model.encode_image(b, True) @ text.T).argmax(1) for b in batches])


def printed_accuracy(model: Model, fonts: tuple[str, ...]) -> dict[str, float]:
    """Return the zero-shot accuracies on unseen renderings: all classes, and digits alone.

    Args:
        model: the CLIP in evaluation mode, on the CPU.
        fonts: fonts to draw from, see :mod:`.characters`.

    Returns:
        ``all_classes`` and ``ten_digits`` (shares, 0 to 1), ``renderings`` (pictures in all).
    """
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    pictures, labels = glyphs.GlyphBank(fonts).sample(HELD_OUT_COUNT, generator)
    names = list(characters.CLASSES)
    digit = labels < 10  # the digits are the first ten classes
    right_all = read(model, pictures, names) == labels
    right_digit = read(model, pictures[digit], names[:10]) == labels[digit]
    return {
        "all_classes": round(right_all.float().mean().item(), 4),
        "ten_digits": round(right_digit.float().mean().item(), 4),
        "renderings": HELD_OUT_COUNT,
    }


def handwritten_accuracy(model: Model) -> dict[str, float]:
    """Return the zero-shot accuracies on scikit-learn's 1,797 handwritten digits.

    Training never sees handwriting.  The strength of the distortions in :mod:`.glyphs` was lowered
    after this score had been seen, to leave a gap for adaptation, so it is no blind measurement.

    Returns:
        Shares (0 to 1) among all ten digits, and among the first and the last five alone.
    """
    from PIL import Image
    from sklearn.datasets import load_digits
    from torchvision.transforms import Compose

    values, target = load_digits(return_X_y=True)
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(size=glyphs.IMAGE_SIZE, **PREPROCESS), is_train=False
    )
    assert isinstance(transform, Compose)
    arrays = (values.reshape(-1, 8, 8) * 255 / 16).astype("uint8")
    pictures = torch.stack([transform(Image.fromarray(a).convert("RGB")) for a in arrays])
    mean, std = (torch.tensor(PREPROCESS[key])[:, None, None] for key in ("mean", "std"))
    pictures, labels = pictures * std + mean, torch.from_numpy(target)
    result: dict[str, float] = {}
    ranges = {"ten_digits": (0, 10), "zero_to_four": (0, 5), "five_to_nine": (5, 10)}
    for title, (low, high) in ranges.items():
        kept = (labels >= low) & (labels < high)
        names = list(characters.CLASSES)[low:high]
        right = read(model, pictures[kept], names) + low == labels[kept]
        result[title] = round(right.float().mean().item(), 4)
    return result
