"""Which printed characters the small CLIP knows, what they are called, and in which fonts.

Characters that look alike when they are alone and of unknown size share a class or are left out.
"""

from __future__ import annotations

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def _classes() -> dict[str, str]:
    """Map each class name to the characters drawn for it."""
    table = {f"digit {name}": str(value) for value, name in enumerate(DIGIT_NAMES)}
    # A lone capital of these differs from its small letter in size or place on the line only,
    # and both are random here: one class for both.
    table |= {f"letter {c}": c.upper() + c for c in "cjkpsuvwxyz"}
    # These differ in shape from one case to the other: a class for each.
    for c in "abdefghmnqrt":
        table[f"capital letter {c}"] = c.upper()
        table[f"small letter {c}"] = c
    # O and o are left out because they look like the digit zero; I and l because they look like
    # each other and, with serifs, like the digit one.  Their other-case partners stay.
    table |= {"capital letter l": "L", "small letter i": "i"}
    return table


CLASSES: dict[str, str] = _classes()
"""Class name -> the characters that belong to it (47 classes, 58 characters)."""

TEMPLATES = (
    "a photo of the {}.",
    "a picture of the {}.",
    "a printed {}.",
    "an image of the {}.",
    "the {} in print.",
    "a blurry photo of the {}.",
)
"""Captions used in training; the first one is the prompt for zero-shot classification."""

HELD_OUT_FONTS = ("DejaVuSansMono", "DejaVuSerif-Bold", "STIXGeneralItalic", "cmss10")
"""Fonts that training never sees; Computer Modern Sans (cmss10) is a family of its own."""

TRAIN_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-BoldOblique",
    "DejaVuSans-Oblique",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-BoldItalic",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "cmb10",
    "cmmi10",
    "cmr10",
    "cmti10",
    "cmtt10",
)
