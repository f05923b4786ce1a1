"""Prompts besides the template: files, what is refused, and what each class has."""

import json

import pytest

from open_clip_mmrl.data.more_prompts import (
    MorePrompts,
    as_given,
    given_prompts,
    read_prompts,
    require_prompts,
)
from open_clip_mmrl.errors import UsageError

FISH = {"tench": ["a green fish", "a fish of ponds"], "cock": ["a bird"]}


def test_a_file_holds_texts_by_class_name(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(FISH))
    assert read_prompts(path) == {"tench": ("a green fish", "a fish of ponds"), "cock": ("a bird",)}
    assert read_prompts(None) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1]", "they are a list; write .*class name"),
        ("{}", "there are none; write"),
        ("{", "not JSON"),
        ('{"a": ["x"], "a": ["y"]}', "prompts .*'a'"),
        ('{"a": []}', r"the prompts of 'a' are \[\]; write"),
        ('{"a": "x"}', "the prompts of 'a' are 'x'; write"),
        ('{"a": ["x", " "]}', "the prompts of 'a' are"),
        ('{"a": ["x"], "b": ["y", "x"]}', "'x' of 'a', 'b': a prompt has to tell one class"),
        ('{"a": ["x", "x"]}', "more than once, as 'x' of 'a'"),
        (None, "cannot read"),
    ],
)
def test_what_a_file_may_not_hold(content, words, tmp_path):
    path = tmp_path / "prompts.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=words):
        read_prompts(path)


def test_a_class_has_its_own_texts_or_all_templates():
    more = MorePrompts.of(["the word [CLASS]"], FISH)
    assert more.of_class("tench", "a {}.") == FISH["tench"]
    assert more.of_class("sea_cow", "a {}.") == ["a sea cow.", "the word sea cow"]
    assert more.of_class("cow", "")[0] == "a photo of a cow."
    assert MorePrompts.from_json(json.loads(json.dumps(more.to_json()))) == more
    assert given_prompts(**_named(as_given("a {}.", more))) == ("a {}.", more)
    assert MorePrompts.of([]) is MorePrompts.from_json(None) is None
    with pytest.raises(UsageError, match="no place for the class name"):
        MorePrompts.of(["a"])
    with pytest.raises(ValueError, match="whose prompts cannot be used"):
        MorePrompts.from_json({"templates": []})


def _named(given):
    return {"templates": given["template"], "classes": given["prompts"]}


def test_a_class_without_texts_is_refused_where_others_have_some():
    require_prompts(MorePrompts.of(["the {}"]), ["cow"])
    with pytest.raises(UsageError, match=r"2 classes, but none for Tenhc, cow. Did you mean tench"):
        require_prompts(MorePrompts.of([], FISH), ["cock", "Tenhc", "cow"])
