"""Names of models: a prefix for the method, then the base's own name."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import Variant

PREFIXES: dict[str, Variant] = {"mmrl-": "mmrl", "mmrlpp-": "mmrl++"}


@dataclass(frozen=True)
class ModelName:
    """The name of a model, read once; `str()` returns the name registered with open_clip.

    Attributes:
        base: open_clip's name of the base, "ViT-B-16".
        variant: "mmrl" or "mmrl++"; None for the base itself.
    """

    base: str
    variant: Variant | None = None

    @classmethod
    def parse(cls, name: str) -> ModelName:
        """Read "mmrlpp-ViT-B-16" or "ViT-B/16"; open_clip takes "/" for "-" as well."""
        variant = next((PREFIXES[prefix] for prefix in PREFIXES if name.startswith(prefix)), None)
        base = name[name.index("-") + 1 :] if variant else name
        # "hf-hub:organization/name" and "local-dir:/a/folder" keep theirs.
        return cls(base if ":" in base else base.replace("/", "-"), variant)

    @property
    def method(self) -> Variant:
        """Return the variant, or "mmrl" where the name has none."""
        return self.variant or "mmrl"

    def __str__(self) -> str:
        prefixes = {variant: prefix for prefix, variant in PREFIXES.items()}
        return prefixes[self.variant] + self.base if self.variant else self.base
