"""Draw `towers.svg`, the README's picture of the tokens in both towers.

Run `python -m open_clip_mmrl.assets.draw_towers` after a change; a test compares the result with
the file.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

PICTURE = Path(__file__).with_name("towers.svg")

_WIDTH, _HEIGHT = 880, 392
_FROZEN, _TRAINED, _CLASS, _INK, _LINE = "#e6e9ef", "#f2a541", "#4f7cac", "#1f2933", "#9aa5b1"
_LAYERS = (("layer J", 350), ("J + 1", 450), ("layer L", 570))
"""Label and left edge of the upper layers."""
_IMAGE_Y, _SPACE_Y, _TEXT_Y, _BOX = 62, 174, 262, 70


def _text(x: float, y: float, text: str, size: int = 13, anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}"/>'


def _arrow(x1: float, y1: float, x2: float, y2: float, color: str = _LINE) -> str:
    head = "trained" if color == _TRAINED else "plain"
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{color}" stroke-width="2" '
        f'marker-end="url(#{head})"/>'
    )


def _rows(x: float, y: float, kinds: str) -> list[str]:
    """Return small squares for the rows of a layer: "c" class, "t" token, "o" any."""
    fills = {"c": _CLASS, "t": _TRAINED, "o": "#ffffff"}
    return [_box(x + 12 * i, y, 9, 9, fills[kind]) for i, kind in enumerate(kinds)]


def _tower(y: float, name: str, given: tuple[str, str], rows: str, tokens: str) -> list[str]:
    """Return one tower: its input, the layers without tokens and those with tokens.

    Args:
        y: upper edge of the layers.
        name: of the tower.
        given: the input in two lines.
        rows: kinds of the rows of a layer without tokens.
        tokens: the same of a layer with tokens.
    """
    middle = y + _BOX / 2
    found = [
        _text(20, middle - 4, given[0], anchor="start"),
        _text(20, middle + 14, given[1], anchor="start"),
        _arrow(152, middle, 176, middle),
        _box(180, y, 130, _BOX, _FROZEN),
        _text(245, y + 28, "layers 1 to J - 1"),
        *_rows(245 - 6 * len(rows), y + 44, rows),
        _text(180, y - 10, name, 14, "start"),
        _arrow(312, middle, 346, middle),
        _arrow(432, middle, 446, middle),
        _text(549, middle + 4, "..."),
    ]
    for label, x in _LAYERS:
        found += [
            _box(x, y, 80, _BOX, _FROZEN),
            _text(x + 40, y + 28, label),
            *_rows(x + 40 - 6 * len(tokens) + 1, y + 44, tokens),
        ]
    return found


def draw() -> str:
    """Return the picture as SVG."""
    image = _tower(_IMAGE_Y, "image tower", ("class token", "and patches"), "cooo", "cttoo")
    text = _tower(_TEXT_Y, "text tower", ("“a photo", "of a cat.”"), "oooc", "ottoc")
    space = [
        _box(180, _SPACE_Y, 470, 44, _TRAINED),
        _text(415, _SPACE_Y + 27, "shared space R: K learned tokens, one linear map per layer"),
    ]
    for _, x in _LAYERS:
        space += [
            _arrow(x + 40, _SPACE_Y - 2, x + 40, _IMAGE_Y + _BOX + 6, _TRAINED),
            _arrow(x + 40, _SPACE_Y + 46, x + 40, _TEXT_Y - 6, _TRAINED),
        ]
    outputs = [
        _arrow(652, _IMAGE_Y + 20, 686, _IMAGE_Y + 20, _LINE),
        _box(692, _IMAGE_Y + 4, 168, 30, _CLASS),
        '<g fill="#ffffff">' + _text(776, _IMAGE_Y + 24, "class feature") + "</g>",
        _arrow(652, _IMAGE_Y + 54, 686, _IMAGE_Y + 54, _TRAINED),
        _box(692, _IMAGE_Y + 40, 168, 30, _TRAINED),
        _text(776, _IMAGE_Y + 60, "representation feature"),
        _arrow(652, _TEXT_Y + 35, 686, _TEXT_Y + 35),
        _box(692, _TEXT_Y + 20, 168, 30, _CLASS),
        '<g fill="#ffffff">' + _text(776, _TEXT_Y + 40, "text feature of a class") + "</g>",
        _text(692, 178, "classes seen in training:", anchor="start"),
        _text(692, 196, "both features", anchor="start"),
        _text(692, 222, "new classes:", anchor="start"),
        _text(692, 240, "the class feature alone", anchor="start"),
    ]
    legend = [
        *(_box(180, 358, 14, 14, _FROZEN), _text(202, 370, "CLIP, frozen", anchor="start")),
        *(_box(310, 358, 14, 14, _TRAINED), _text(332, 370, "trained", anchor="start")),
        *(_box(410, 358, 14, 14, _CLASS), _text(432, 370, "read out as CLIP does", anchor="start")),
    ]
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{color}"/></marker>'
        for name, color in (("plain", _LINE), ("trained", _TRAINED))
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            f'width="{_WIDTH}" height="{_HEIGHT}" role="img" fill="{_INK}" '
            'font-family="Helvetica, Arial, sans-serif">',
            "<title>Learned tokens of one shared space enter the upper layers of both towers"
            "</title>",
            f"<defs>{heads}</defs>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="10" fill="#ffffff"/>',
            *image,
            *text,
            *space,
            *outputs,
            *legend,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
