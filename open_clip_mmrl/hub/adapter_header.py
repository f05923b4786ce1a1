"""Which headers of adapter files are accepted: kinds of values, and bounds of what is built.

Nothing here builds or loads anything; `check_header` looks at plain values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from ..config import FUSIONS, MMRLConfig
from ..models.base_config import lowest_start_layer
from ..utils.json_fields import unique_keys

FORMAT_VERSION, WITH_PROMPTS = 2, 3
"""Version 2 added "tensors_sha256", the digest over the tensors; 3 "prompts", where it is used."""
READABLE_VERSIONS = (1, FORMAT_VERSION, WITH_PROMPTS)
MAX_BYTES = 16 * 2**20
"""Of the JSON text; the names of ImageNet-21k are half a MB."""

_MAX_DEPTH = 20
_MAX_SIZE = 65_536  # of a tower, a vocabulary aside
MAX_SIDE = 4_096  # of an image's side
_MAX_PATCHES = 16_384
_MAX_CONTEXT = 4_096
_MAX_TEXT = 1_000  # characters of a name

HeldBack = Literal["shots", "val"]
MAX_HELD_BACK = 5_000
"""Images that a calibration is made of at most: with two numbers each, some 300 kB."""

Kind = tuple[Callable[[Any], bool], str]


def _is_count(value: object, high: int = _MAX_SIZE) -> bool:
    return type(value) is int and 1 <= value <= high


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT and "\0" not in value


def _is_side(value: object) -> bool:
    return _is_count(value, MAX_SIDE)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, int | float) or _is_text(value)


def _list_of(check: Callable[[Any], bool], length: int | None = None) -> Callable[[Any], bool]:
    def is_list(value: object) -> bool:
        fits = isinstance(value, list) and length in (None, len(value))
        return fits and all(map(check, value))

    return is_list


def _are_names(names: list[str]) -> bool:
    return len(set(names)) == len(names) and all(map(str.strip, names))


def _object_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _one_of(*allowed: str) -> Kind:
    return lambda value: value in (None, *allowed), f"one of {allowed}"


_TEXT: Kind = (_is_text, f"text of at most {_MAX_TEXT:,} characters")
_NAME: Kind = (_or_none(_is_text), "text or null")
_OBJECT: Kind = (lambda value: isinstance(value, dict), "JSON object")
_POSITIVE: Kind = (lambda value: _is_number(value) and value > 0, "number above 0")
_COUNT: Kind = (_is_count, f"whole number from 1 to {_MAX_SIZE:,}")
_CHANNELS: Kind = (
    _or_none(lambda value: _is_number(value) or _list_of(_is_number, 3)(value)),
    "number or list of three numbers",
)
_HEADER: dict[str, Kind] = {
    "config": (_object_of(_is_scalar), "JSON object of numbers and texts"),
    "base": _OBJECT,
    "class_names": (
        lambda value: _list_of(_is_text)(value) and _are_names(value),
        f"list of {_TEXT[1]} each, all different and none blank",
    ),
    "template": _TEXT,
}
_OPTIONAL: dict[str, Kind] = {
    "settings": _OBJECT,
    "scores": _OBJECT,
    "calibration": _OBJECT,
    "provenance": _OBJECT,
    "header_sha256": _TEXT,
}
_SHARES: Kind = (
    lambda value: _list_of(_is_share)(value) and 0 < len(value) <= MAX_HELD_BACK,
    f"list of 1 to {MAX_HELD_BACK:,} numbers from 0 to 1",
)
_CALIBRATION: dict[str, Kind] = {
    "held_back": (lambda value: value in get_args(HeldBack), f"one of {get_args(HeldBack)}"),
    "temperature": _OBJECT,
    "true_probability": _OBJECT,
    "max_softmax": _SHARES,
    "sha256": _TEXT,
}
_BASE: dict[str, Kind] = {
    "quick_gelu": (lambda value: isinstance(value, bool), "true or false"),
    "shape": _OBJECT,
    "fingerprint": _OBJECT,
    "image_size": (_list_of(_is_side, 2), f"list of two numbers from 1 to {MAX_SIDE:,}"),
    "context_length": (
        lambda value: _is_count(value, _MAX_CONTEXT),
        f"whole number from 1 to {_MAX_CONTEXT:,}",
    ),
}
_BASE_OPTIONAL: dict[str, Kind] = {
    "model": _NAME,
    "pretrained": _NAME,
    "preprocess": (lambda value: value is None or isinstance(value, dict), "JSON object or null"),
}
_FINGERPRINT: dict[str, Kind] = {
    "sha256": _TEXT,
    "dtype": _TEXT,
    "means": (_list_of(_is_number), "list of numbers"),
    "positions": (_object_of(_is_text), "JSON object of texts"),
}
_SIZES = ("image_width", "image_layers", "patch_size", "text_width", "text_layers", "embed_dim")
_SHAPE: dict[str, Kind] = {
    **dict.fromkeys(_SIZES, _COUNT),
    "vocab_size": (lambda value: _is_count(value, 2**24), f"whole number from 1 to {2**24:,}"),
}
_PREPROCESS: dict[str, Kind] = {
    "size": (
        _or_none(lambda value: _is_side(value) or _list_of(_is_side, 2)(value)),
        f"number, or list of two numbers, from 1 to {MAX_SIDE:,}",
    ),
    "mode": _one_of("RGB"),
    "mean": _CHANNELS,
    "std": _CHANNELS,
    "interpolation": _one_of("bicubic", "bilinear", "random"),
    "resize_mode": _one_of("shortest", "longest", "squash"),
    "fill_color": (_or_none(lambda v: type(v) is int and 0 <= v <= 255), "number from 0 to 255"),
}


def parse_json(text: str) -> dict[str, Any]:
    """Return the object in a header's text.

    Raises:
        ValueError: the text is too long, no JSON object, nested too deep, or holds a number or
            text that nothing can be done with; the message is the end of a sentence.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"of more than {MAX_BYTES:,} bytes")
    try:
        header = json.loads(text, object_pairs_hook=unique_keys)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {_MAX_DEPTH}") from error
    except ValueError as error:
        raise ValueError(f"that is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise ValueError("that is no JSON object")
    _check_values(header)
    return header


def _check_values(header: dict[str, Any]) -> None:
    """Look at every value once, level by level, without recursion."""
    level: list[Any] = [header]
    for _ in range(_MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value, *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    raise ValueError(f"with text that is no Unicode ({value[:40]!a})") from error
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"with the number {value}")
            elif isinstance(value, int) and value.bit_length() > 63:
                raise ValueError("with a whole number of more than 63 bits")
        level = below
        if not level:
            return
    raise ValueError(f"nested deeper than {_MAX_DEPTH}")


def check_header(header: Mapping[str, Any]) -> MMRLConfig:
    """Check all that a model is built from, kinds of values and sizes; return the config.

    What the shapes of the tensors have to be is checked by `adapter_reading`.

    Raises:
        UsageError: "config" holds a field or a value that this version does not know.
        ValueError: with the end of a sentence that begins "... has a header ".
    """
    _check(header, _HEADER, _OPTIONAL)
    # A file older than some of the fields holds the full method.
    config = MMRLConfig.from_dict({**MMRLConfig().to_dict(), **header["config"]})
    _check_base(header["base"])
    _check_config(config, header["base"]["shape"])
    if "calibration" in header:
        _check_calibration(header["calibration"], header["base"]["shape"]["embed_dim"])
    if header["format_version"] != 1:
        _check(header, {"tensors_sha256": _TEXT})
    return config


def check_known(path: object, **known: Any) -> None:
    """Check what is known of a file's header before the training: it could not be saved after it.

    Raises:
        ValueError: the header would be refused; the message names the file and the reason.
    """
    try:
        _check(
            parse_json(json.dumps(known)), {name: {**_HEADER, **_OPTIONAL}[name] for name in known}
        )
    except ValueError as error:
        raise ValueError(f"{path} could not be written: it would have a header {error}.") from error


def _check_calibration(calibration: Mapping[str, Any], width: int) -> None:
    """Check what was measured on held-back images, with features of this width."""
    _check(calibration, _CALIBRATION, {"image_means": _OBJECT})
    if "image_means" in calibration:
        feature: Kind = (_list_of(_is_number, width), f"list of {width} numbers")
        kinds = {"class": feature, "frozen": feature}
        _check(calibration["image_means"], kinds, {"representation": feature})
    _check(calibration["temperature"], dict.fromkeys(FUSIONS, _POSITIVE))
    _check(calibration["true_probability"], dict.fromkeys(FUSIONS, _SHARES))
    lists = (calibration["max_softmax"], *calibration["true_probability"].values())
    if len(set(map(len, lists))) > 1:
        raise ValueError("whose calibration has lists of different lengths")
    if sorted(calibration["max_softmax"]) != calibration["max_softmax"]:
        raise ValueError("whose calibration has a max_softmax that does not ascend")


def _check_base(base: Mapping[str, Any]) -> None:
    """Check what the header says of the base model."""
    _check(base, _BASE, _BASE_OPTIONAL)
    _check(base["fingerprint"], _FINGERPRINT)
    _check(base["shape"], _SHAPE)
    preprocess = base.get("preprocess") or {}
    _check(preprocess, {}, _PREPROCESS)
    std = preprocess.get("std")
    if std is not None and 0 in (std if isinstance(std, list) else [std]):
        raise ValueError("whose std is 0")
    patch = base["shape"]["patch_size"]
    rows, columns = (side // patch for side in base["image_size"])
    if not 1 <= rows * columns <= _MAX_PATCHES:
        raise ValueError(
            f"whose images of {base['image_size']} pixels have {rows * columns:,} patches; "
            f"allowed are 1 to {_MAX_PATCHES:,}"
        )


def _check_config(config: MMRLConfig, shape: Mapping[str, int]) -> None:
    """Check that the base has the layers for the learner."""
    text = shape["text_layers"]
    lowest = lowest_start_layer(text, shape["image_layers"])
    if not lowest <= config.start_layer <= text:
        raise ValueError(
            f"whose start_layer is {config.start_layer}; its base allows {lowest} to {text}"
        )


def _check(
    content: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    optional: Mapping[str, Kind] = MappingProxyType({}),
) -> None:
    """Raise ValueError where a key is missing or holds another kind of value."""
    missing = [key for key in kinds if key not in content]
    if missing:
        raise ValueError(f"without {', '.join(missing)}")
    for key, (fits, words) in {**kinds, **optional}.items():
        if key in content and not fits(content[key]):
            raise ValueError(f"whose {key} is no {words}")
