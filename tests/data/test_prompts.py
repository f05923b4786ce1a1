import pytest

from open_clip_mmrl.data.prompts import parse_template, prompts, readable


def test_underscores_of_class_names_become_spaces():
    assert prompts(["sea_lion", "cat"], "a photo of a {}, a type of pet.") == [
        "a photo of a sea lion, a type of pet.",
        "a photo of a cat, a type of pet.",
    ]


def test_the_place_may_be_written_as_papers_print_it():
    assert parse_template("[CLASS] texture.") == "{} texture."
    assert prompts(["dotted"], "[CLASS] texture.") == ["dotted texture."]


def test_default_template():
    assert prompts(["dog"]) == ["a photo of a dog."]


def test_a_class_name_may_hold_braces():
    assert prompts(["a{b}{}"], "the {}") == ["the a{b}{}"]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("a photo.", "has no place for the class name; write {} "),
        ("", "has no place"),
        ("a photo of a {c}.", "has no place"),
        ("a {} or a {}", "has 2 places"),
        ("a {} or a [CLASS]", "has 2 places"),
        ("a {} on a {name}", "has other braces"),
        ("a {} }", "has other braces"),
        (None, "None, not a string"),
    ],
)
def test_template_errors(template, words):
    with pytest.raises(ValueError, match=words):
        parse_template(template)


def test_prompts_wants_several_names():
    with pytest.raises(ValueError, match="is the string 'cat'; give a list of names"):
        prompts("cat")


def test_class_names_are_strings():
    with pytest.raises(ValueError, match="class name is 3; class names must be strings"):
        readable(3)
