"""`open-clip-mmrl models`, and `--model` with the name of a place."""

import json

from helpers.cli import run


def test_bases_are_listed_by_kinds_of_towers():
    code, text, _ = run("models", "RN50x4")
    assert code == 0
    assert "ResNet, which has no tokens" in text and "ViT-L-14-336" in text
    code, text, _ = run("models", "roberta-ViT-B-32")
    assert code == 0 and "1 of 2 take tokens" in text
    assert "text: Hugging Face, tokens on the image side only" in text
    assert "12 x 768" in text and "3.15 M" in text


def test_json_holds_exact_numbers():
    code, text, _ = run("models", "vit-b-16-quickgelu", "--json")
    (found,) = json.loads(text)
    assert code == 0 and found["parameters"] == {"mmrl": 4_992_256, "mmrl++": 813_312}


def test_a_name_that_no_base_has():
    code, _, result = run("models", "okapi")
    assert code == 2 and "'okapi'" in str(result.output)
