"""Prompts besides the one template: more templates, and texts of single classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..utils.files import expand_home, read_json
from ..utils.text import did_you_mean, listing
from .prompts import DEFAULT_TEMPLATE, parse_template, prompts

_FORM = 'write {"class name": ["a prompt", "another one"], ...}'


@dataclass(frozen=True)
class MorePrompts:
    """What is written for classes besides the template.

    A class with texts of its own has these alone; the others have the template and `templates`.
    The first prompt of a class is the one that is trained with.
    """

    templates: tuple[str, ...] = ()
    """After the first."""
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Texts by class name; also of classes that are not trained on."""

    @classmethod
    def of(
        cls, templates: Iterable[str], classes: Mapping[str, Sequence[str]] | None = None
    ) -> MorePrompts | None:
        """Return the value, checked; None where there is nothing besides the template.

        Raises:
            UsageError: a template without a place for the name, or what is no text, or given twice.
        """
        templates = tuple(map(parse_template, templates))
        if not templates and not classes:
            return None
        return cls(templates, _checked(classes or {}))

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> MorePrompts | None:
        """Return what `to_json` made; ValueError, the end of a sentence, for anything else."""
        if value is None:
            return None
        try:
            return cls.of(value["templates"], value["classes"])
        except (KeyError, TypeError, UsageError) as error:
            raise ValueError(f"whose prompts cannot be used ({error})") from error

    def plus(self, classes: Mapping[str, tuple[str, ...]]) -> MorePrompts:
        """Return the same with texts of more classes, or others."""
        return replace(self, classes={**self.classes, **classes})

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        classes = {name: list(texts) for name, texts in self.classes.items()}
        return {"templates": list(self.templates), "classes": classes}

    def of_class(self, name: str, template: str) -> list[str]:
        """Return the prompts of a class, the one that is trained with first."""
        templates = (template or DEFAULT_TEMPLATE, *self.templates)
        own = self.classes.get(name)
        return list(own) if own else [text for t in templates for text in prompts([name], t)]


def given_prompts(
    templates: str | Sequence[str] | None, classes: Mapping[str, Sequence[str]] | None = None
) -> tuple[str, MorePrompts | None]:
    """Return the template that is trained with, "" for none, and what is given besides.

    Raises:
        UsageError: see `MorePrompts.of`.
    """
    first, *others = [templates] if isinstance(templates, str) else [*(templates or [""])]
    return first, MorePrompts.of(others, classes)


def as_given(template: str, more: MorePrompts | None) -> dict[str, Any]:
    """Return `template` and `prompts`, from which `given_prompts` makes these."""
    if more is None:
        return {"template": template}
    templates = [template, *more.templates] if more.templates else template
    return {"template": templates, "prompts": dict(more.classes) or None}


def require_prompts(more: MorePrompts | None, names: Iterable[str]) -> None:
    """Check that every class has texts of its own, if any has.

    Raises:
        UsageError: some have none; the message names the nearest names that have.
    """
    own = more.classes if more else {}
    missing = [name for name in names if own and name not in own]
    if missing:
        raise UsageError(
            f"there are prompts for {len(own)} classes, but none for {listing(missing)}."
            f"{did_you_mean(missing[0], own)} Give every class at least one."
        )


def wording(template: str, more: MorePrompts | None) -> str:
    """Return the prompts of classes, in words."""
    if more and more.classes:
        return f"{sum(map(len, more.classes.values())):,} texts of {len(more.classes):,} classes"
    return " | ".join([template, *(more.templates if more else ())])


def read_prompts(path: str | Path | None) -> dict[str, tuple[str, ...]] | None:
    """Return the prompts by class name that a JSON file holds; None without a file.

    Raises:
        UsageError: it holds something else, an empty list, or a prompt twice.
    """
    if path is None:
        return None
    try:
        found = _checked(read_json(expand_home(path)))
    except (OSError, ValueError) as error:
        raise UsageError(f"prompts {path}: {error}") from error
    if not found:
        raise UsageError(f"prompts {path}: there are none; {_FORM}.")
    return found


def _checked(classes: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(classes, Mapping):
        raise UsageError(f"they are a {type(classes).__name__}; {_FORM}.")
    for name, texts in classes.items():
        is_list = isinstance(name, str) and isinstance(texts, list | tuple) and texts
        if not is_list or not all(isinstance(text, str) and text.strip() for text in texts):
            raise UsageError(f"the prompts of {name!r} are {texts!r:.100}; {_FORM}.")
    counts = Counter(text for texts in classes.values() for text in texts)
    twice = [text for text, count in counts.items() if count > 1]
    if twice:
        owners = [name for name, texts in classes.items() if twice[0] in texts]
        raise UsageError(
            f"{len(twice)} prompts are there more than once, as {twice[0]!r} of "
            f"{listing(map(repr, owners))}: a prompt has to tell one class from the others."
        )
    return {name: tuple(texts) for name, texts in classes.items()}
