"""The names of our models: a prefix for the method, then the base's own name."""

from __future__ import annotations

PREFIXES = {"mmrl-": "mmrl", "mmrlpp-": "mmrl++"}


def split_name(name: str) -> tuple[str, str] | None:
    """ "mmrlpp-ViT-B-16" -> ("mmrl++", "ViT-B-16"); None for a name that is not ours."""
    for prefix, variant in PREFIXES.items():
        if name.startswith(prefix):
            return variant, name[len(prefix) :].replace("/", "-")
    return None


def name_for(base: str, variant: str) -> str:
    """("ViT-B-16", "mmrl++") -> "mmrlpp-ViT-B-16"."""
    return next(prefix for prefix, v in PREFIXES.items() if v == variant) + base


def base_name(name: str | None) -> str | None:
    """The base's name, from that or from one of ours: "mmrl-ViT-B/16" -> "ViT-B-16"."""
    if name is None:
        return None
    named = split_name(name)
    return named[1] if named else name.replace("/", "-")
