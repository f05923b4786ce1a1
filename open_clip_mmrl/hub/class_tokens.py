"""Class names and their token ids, with the checks that a tokenizer does not make."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ..data.more_prompts import MorePrompts
from ..data.prompts import DEFAULT_TEMPLATE, parse_template, prompts, readable
from ..errors import UsageError
from ..models.prompt_tokens import PromptTokens
from ..utils.text import listing

logger = logging.getLogger(__name__)


def class_tokens(
    model: nn.Module, tokenizer: Callable, class_names: Sequence[str], template: str
) -> Tensor:
    """Return the token ids of one prompt per class, [C, context length].

    Raises:
        ValueError: no names, a template without a place for the name, or a prompt longer than
            the model's context, which a tokenizer would cut silently.
    """
    if not class_names:
        raise ValueError("there are no class names; give at least one.")
    return _tokens(model, tokenizer, prompts(class_names, template))


def class_prompts(
    model: nn.Module,
    tokenizer: Callable,
    class_names: Sequence[str],
    template: str,
    more: MorePrompts,
) -> PromptTokens:
    """Return the token ids of all prompts of the classes; raises as `class_tokens`.

    Raises:
        UsageError: two texts of the classes' own read the same.
    """
    of_classes = [more.of_class(name, template) for name in class_names]
    texts = [text for own in of_classes for text in own]
    tokens = _tokens(model, tokenizer, texts)
    if more.classes:
        for place, first in repeated_readings(map(tuple, tokens.tolist())):
            raise UsageError(
                f"the prompts {texts[first]!r} and {texts[place]!r} read the same to this model's "
                "tokenizer: a prompt has to tell one class from the others."
            )
    return PromptTokens(tokens, tuple(map(len, of_classes)))


def _tokens(model: nn.Module, tokenizer: Callable, texts: list[str]) -> Tensor:
    context = model.context_length
    # Four times the context: what differs from the padding after the context would be cut. Not the
    # last: some tokenizers put a class token there.
    roomy = tokenizer([*texts, ""], context_length=4 * context)
    padding = roomy[-1, -2]
    cut = (roomy[:-1, context:-1] != padding).any(dim=1)
    if cut.any():
        first = texts[int(cut.int().argmax())]
        raise ValueError(
            f"{int(cut.sum())} of {len(texts)} prompts are longer than the model's context of "
            f"{context} tokens, the first is {first!r}: shorten prompts, class names or the "
            "template."
        )
    return tokenizer(texts, context_length=context)


def readings(
    tokenizer: Callable, class_names: Iterable[str], template: str, context_length: int
) -> list[tuple[int, ...]]:
    """Return what the tokenizer makes of each class's prompt: same ids, same class to the model.

    Tokenizers read upper case as lower case, several blanks as one, and HTML entities and composed
    characters as what they stand for, so names that differ may be of one class.
    """
    texts = prompts(class_names, template or DEFAULT_TEMPLATE)
    return [tuple(row) for row in tokenizer(texts, context_length=4 * context_length).tolist()]


def repeated_readings(readings: Iterable[Hashable]) -> Iterator[tuple[int, int]]:
    """Yield the place of every reading that was there before, and the first place of it."""
    first: dict[Hashable, int] = {}
    for place, reading in enumerate(readings):
        if first.setdefault(reading, place) != place:
            yield place, first[reading]


def warn_of_look_alikes(class_names: Sequence[str], text_features: Tensor) -> None:
    """Log the pairs of `look_alikes`, in one line."""
    pairs = look_alikes(class_names, text_features)
    if pairs:
        logger.warning(
            "%s read the same to this text tower, which cannot tell them apart; other class names "
            "or another model may help.",
            listing((f"{one!r} and {other!r}" for one, other in pairs), 3),
        )


def look_alikes(
    class_names: Sequence[str], text_features: Tensor, limit: int = 2000
) -> list[tuple[str, str]]:
    """Return pairs of classes whose text features [C, E] (unit length) are the same.

    The model cannot distinguish such classes: their names differ in upper and lower case only, or
    in words that a small text tower has never seen. Empty for more than `limit` classes.
    """
    if len(class_names) > limit:
        return []
    same = (text_features @ text_features.T > 1 - 1e-5).triu(1)
    return [(class_names[i], class_names[j]) for i, j in torch.nonzero(same).tolist()]


def usable_names(class_names: Sequence[str], template: str) -> list[str]:
    """Return the names as a list, checked as far as can be without a tokenizer.

    Raises:
        ValueError: no list of texts, or two classes of one name; or see `parse_template`.
    """
    if isinstance(class_names, str):
        raise ValueError(f"class_names is the text {class_names!r}; give a list of names.")
    names = list(class_names)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"class_names has {name!r}; a class name has to be a text.")
    (name, count), *_ = *Counter(map(readable, names)).most_common(1), ("", 0)
    if count > 1:
        raise ValueError(f"class_names has {name!r} {count} times: give every class its own name.")
    if template:
        parse_template(template)
    return names
