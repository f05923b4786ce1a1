"""Prompts: one sentence per class, a template with the class name filled in."""

from collections.abc import Iterable

from ..errors import UsageError

DEFAULT_TEMPLATE = "a photo of a {}."
REPEATED_IMAGENET_NAMES = {
    "n04008634": ("missile", "projectile"),
    "n04356056": ("sunglasses", "dark glasses"),
}
"""By WordNet id, the second class of each name that CLIP's list for ImageNet repeats: its name, and
WordNet's other name for it. Two classes with one prompt would always get the same logit."""


def parse_template(template: str) -> str:
    """Return `template` with `{}` for the class name; `[CLASS]`, as in papers, is converted.

    Raises:
        ValueError: no such place, more than one, or any other brace.

    Example:
        >>> parse_template("a photo of a [CLASS].")
        'a photo of a {}.'
    """
    rule = "write {} (or [CLASS]) once, where the class name goes, as in 'a photo of a {}.'"
    if not isinstance(template, str):
        raise UsageError(f"template is {template!r}, not a string; {rule}")
    parsed = template.replace("[CLASS]", "{}")
    places = parsed.count("{}")
    if places == 0:
        raise UsageError(f"template {template!r} has no place for the class name; {rule}")
    if places > 1:
        raise UsageError(f"template {template!r} has {places} places for the class name; {rule}")
    rest = parsed.replace("{}", "")
    if "{" in rest or "}" in rest:
        raise UsageError(f"template {template!r} has other braces than {{}}; {rule}")
    return parsed


def readable(class_name: str) -> str:
    """Return the class name as it is in a prompt: with a space for every `_`."""
    if not isinstance(class_name, str):
        raise ValueError(f"class name is {class_name!r}; class names must be strings")
    return class_name.replace("_", " ")


def prompts(class_names: Iterable[str], template: str = DEFAULT_TEMPLATE) -> list[str]:
    """Return `template` filled in for every class, in order.

    Raises:
        ValueError: see `parse_template`; or `class_names` is one string instead of several.

    Example:
        >>> prompts(["sea_lion", "cat"], "a photo of a {}, a type of pet.")
        ['a photo of a sea lion, a type of pet.', 'a photo of a cat, a type of pet.']
    """
    if isinstance(class_names, str):
        raise ValueError(f"class_names is the string {class_names!r}; give a list of names")
    template = parse_template(template)
    return [template.replace("{}", readable(name)) for name in class_names]
