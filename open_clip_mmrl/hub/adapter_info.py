"""The header of an adapter file as a value: checked once when it is read, then passed on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..config import MMRLConfig

FORMAT_VERSION = 1

_KINDS = {dict: "JSON object", list: "list", str: "text", bool: "true or false", int: "number"}
_HEADER = {"config": dict, "base": dict, "class_names": list, "template": str}
_BASE = {
    "quick_gelu": bool,
    "shape": dict,
    "fingerprint": dict,
    "image_size": list,
    "context_length": int,
}
_FINGERPRINT = {"sha256": str, "dtype": str, "means": list, "positions": dict}


@dataclass(frozen=True)
class Fingerprint:
    """What distinguishes one set of base weights from another; see `base_fingerprint`.

    Attributes:
        sha256: digest of sampled values of every frozen tensor, except position embeddings.
        dtype: the dtypes of these tensors, "float32" or "float16+float32".
        means: mean magnitude of the samples of each tensor.
        positions: digest of the position embeddings, by name and number of rows.
    """

    sha256: str
    dtype: str
    means: list[float]
    positions: dict[str, str]


@dataclass(frozen=True)
class BaseInfo:
    """What has to agree before an adapter may be used, and how the base was run.

    Attributes:
        model: open_clip's name of the base; None where it was not known.
        pretrained: its tag, or the path of its checkpoint; None where it was not known.
        quick_gelu: whether the towers ran QuickGELU.
        shape: widths and depths of the towers, by name.
        fingerprint: of the base weights.
        image_size: height and width in pixels.
        context_length: tokens per prompt.
        preprocess: open_clip's preprocessing config, or None.
    """

    model: str | None
    pretrained: str | None
    quick_gelu: bool
    shape: dict[str, int]
    fingerprint: Fingerprint
    image_size: list[int]
    context_length: int
    preprocess: dict[str, Any] | None


@dataclass(frozen=True)
class AdapterInfo:
    """The header of the adapter file at `path`; a path itself wherever one is taken.

    Attributes:
        path: the file it was read from.
        config: the method's config.
        base: the base model it belongs to.
        class_names: the classes of the training.
        template: their prompt, with {} for the class name.
        settings: how it was trained, for the record.
        scores: how it was scored, for the record.
    """

    path: str | Path
    config: MMRLConfig
    base: BaseInfo
    class_names: list[str]
    template: str
    settings: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)

    def __fspath__(self) -> str:
        return str(self.path)

    @classmethod
    def parse(cls, path: str | Path, text: str) -> AdapterInfo:
        """Read the JSON text of a file's header.

        Raises:
            ValueError: it is damaged, or of another format version.
        """
        try:
            header = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path} has a header that is no JSON ({error}): train again."
            ) from error
        if not isinstance(header, dict):
            raise ValueError(f"{path} has a header that is no JSON object: train again.")
        if header.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"{path} has adapter format {header.get('format_version')}, this version of "
                f"open_clip_mmrl reads {FORMAT_VERSION}: install the version that wrote it or a "
                "newer one."
            )
        _check(path, header, _HEADER)
        base = header["base"]
        _check(path, base, _BASE)
        _check(path, base["fingerprint"], _FINGERPRINT)
        # A file older than some of the fields holds the full method.
        config = {**MMRLConfig().to_dict(), **header["config"]}
        try:
            config = MMRLConfig.from_dict(config)
        except ValueError as error:
            raise ValueError(f"{path} has a config that cannot be used: {error}") from error
        prints = {name: base["fingerprint"][name] for name in _FINGERPRINT}
        optional = {name: base.get(name) for name in ("model", "pretrained", "preprocess")}
        known: dict[str, Any] = {**optional, **{name: base[name] for name in _BASE}}
        known["fingerprint"] = Fingerprint(**prints)
        return cls(
            path=path,
            config=config,
            base=BaseInfo(**known),
            class_names=header["class_names"],
            template=header["template"],
            settings=header.get("settings", {}),
            scores=header.get("scores", {}),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the header as it is in the file."""
        return {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_dict(),
            "base": asdict(self.base),
            "class_names": list(self.class_names),
            "template": self.template,
            "settings": self.settings,
            "scores": self.scores,
        }


def _check(path: object, content: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    """Raise ValueError where a key is missing or holds another kind of value."""
    missing = [key for key in kinds if key not in content]
    if missing:
        raise ValueError(f"{path} has a header without {', '.join(missing)}: train again.")
    for key, kind in kinds.items():
        if not isinstance(content[key], kind):
            raise ValueError(f"{path} has a header whose {key} is no {_KINDS[kind]}: train again.")
