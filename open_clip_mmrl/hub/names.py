"""Names of models: a prefix for the method, then the base's own name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config import Variant

PREFIXES: dict[str, Variant] = {"mmrl-": "mmrl", "mmrlpp-": "mmrl++"}
HUB, FOLDER = "hf-hub:", "local-dir:"
"""What open_clip's names of a place begin with, where a config lies next to its weights."""


@dataclass(frozen=True)
class ModelName:
    """The name of a model, read once; `str()` returns the name registered with open_clip.

    Attributes:
        base: open_clip's name of the base: "ViT-B-16", or a place, "hf-hub:organization/name" or
            "local-dir:/a/folder".
        variant: "mmrl" or "mmrl++"; None for the base itself.
    """

    base: str
    variant: Variant | None = None

    @classmethod
    def parse(cls, name: str) -> ModelName:
        """Read "mmrlpp-ViT-B-16" or "ViT-B/16"; open_clip takes "/" for "-" as well.

        A folder's path becomes absolute: adapters remember it.
        """
        variant = next((PREFIXES[prefix] for prefix in PREFIXES if name.startswith(prefix)), None)
        base = name[name.index("-") + 1 :] if variant else name
        folder = base.removeprefix(FOLDER)
        if folder not in (base, ""):
            base = f"{FOLDER}{Path(folder).expanduser().absolute()}"
        return cls(base if ":" in base else base.replace("/", "-"), variant)

    @property
    def is_place(self) -> bool:
        """Whether the base is a place that holds config and weights, rather than registered."""
        return is_place(self.base)

    @property
    def method(self) -> Variant:
        """Return the variant, or "mmrl" where the name has none."""
        return self.variant or "mmrl"

    def __str__(self) -> str:
        prefixes = {variant: prefix for prefix, variant in PREFIXES.items()}
        return prefixes[self.variant] + self.base if self.variant else self.base


def is_place(base: str | None) -> bool:
    """Return whether this name of a base is a place: on the hub, or a folder."""
    return base is not None and base.startswith((HUB, FOLDER))
