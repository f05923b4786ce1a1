"""`train`, `eval`, `predict` and the classifier with several prompts per class."""

import json

import numpy as np
import pytest
from helpers.cli import run
from helpers.runs import write_folder
from PIL import Image

from open_clip_mmrl import FewShotClassifier
from open_clip_mmrl.hub.adapter_reading import read_adapter

TEXTS = {
    "one": ["the digit one", "a handwritten one"],
    "two": ["the digit two"],
    "six": ["the digit six", "a handwritten six"],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompts")
    data = write_folder(folder / "digits", {"one": 2, "two": 2}, test=4)
    (folder / "prompts.json").write_text(json.dumps(TEXTS))
    for name, more in (
        ("own", ["--prompts", folder / "prompts.json"]),
        ("many", ["--template", "a {}.", "--template", "the digit {}."]),
    ):
        given = ["--data", data, "--shots", 2, "--epochs", 1, "--rep-dim", 8, *more, "--no-probe"]
        code, text, _ = run("train", *given, "--output", folder / name, "--quiet")
        assert code == 0, text
    return folder, data


def test_prompts_are_kept_with_the_adapter(trained):
    own, many = (read_adapter(trained[0] / name) for name in ("own", "many"))
    assert own.prompts.classes == {name: tuple(texts) for name, texts in TEXTS.items()}
    assert (many.template, many.prompts.templates) == ("a {}.", ("the digit {}.",))
    assert own.to_dict()["format_version"] == 3  # which versions without prompts refuse


def test_eval_predict_and_the_classifier_agree_with_the_run(trained, tmp_path):
    folder, data = trained
    for name in ("own", "many"):
        result = json.loads((folder / name / "results.json").read_text())
        code, _, done = run("eval", "--adapter", folder / name, "--data", data, "--json", "--quiet")
        found = json.loads(done.stdout)
        assert code == 0 and found["accuracy"] == result["metrics"]["accuracy"]
        assert found["zero_shot"] == result["zero_shot"]["accuracy"]
    images = sorted((folder / "digits" / "test").rglob("*.png"))
    classifier = FewShotClassifier.load(folder / "own").add_classes(["six"])
    again = FewShotClassifier.load(classifier.save(tmp_path / "x.safetensors"))
    expected = again.predict_proba([np.asarray(Image.open(path)) for path in images])
    command = ["predict", *images, "--new-class", "six", "--json", "--quiet", "--adapter"]
    _, _, done = run(*command, folder / "own")
    rows = [json.loads(line)["classes"] for line in done.stdout.splitlines()]
    found = [[row[name] for name in again.classes_] for row in rows]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    texts = [
        run(*command, folder / "many", *more)[1]
        for more in ([], ["--prompts", folder / "prompts.json"])
    ]
    assert texts[0] != texts[1]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"one": ["1"], "tow": ["2"]}, r"none for two. Did you mean tow\?"),
        ({"one": ["Cat"], "two": ["dog", "cat"]}, "'Cat' and 'cat' read the same"),
        (
            {"one": ["1"], "two": ["the number " * 40]},
            "prompts are longer than the model's context",
        ),
    ],
)
def test_prompts_that_do_not_fit_are_refused(trained, texts, words, tmp_path):
    (tmp_path / "prompts.json").write_text(json.dumps(texts))
    given = ["--data", trained[1], "--shots", 2, "--prompts", tmp_path / "prompts.json"]
    code, text, result = run("train", *given, "--output", tmp_path / "run", "--quiet")
    assert code == 2 or "longer" in words
    with pytest.raises(ValueError, match=words):
        raise result.exception if isinstance(result.exception, ValueError) else ValueError(text)
