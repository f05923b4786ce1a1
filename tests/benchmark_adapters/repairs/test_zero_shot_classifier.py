"""The batched classifier against clip_benchmark's own."""

import pytest
import torch
from helpers.shard_sets import DIGITS
from helpers.upstream import mended

from benchmark_adapters import seam
from benchmark_adapters.repairs import zero_shot_classifier as module
from benchmark_adapters.repairs.run_classification import run_classification
from benchmark_adapters.repairs.zero_shot_classifier import zero_shot_classifier

LIST = ["a photo of the number {c}.", "the digit {c}.", "{c}"]
BY_CLASS = {name: LIST[: 1 + i % 3] for i, name in enumerate(DIGITS)}
BY_CLASS = {name: [text.format(c=name) for text in texts] for name, texts in BY_CLASS.items()}
theirs = seam.original(seam.CLASSIFICATION, "zero_shot_classifier")


def images(count=40, seed=0):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("templates", [LIST, BY_CLASS], ids=["list", "by class"])
@pytest.mark.parametrize("at_once", [2, 7, 1024])
def test_classifier_equals_theirs(clip_model, clip_tokenizer, templates, at_once, monkeypatch):
    """2: a class in several batches; 7: batches that end between classes; 1024: one batch."""
    monkeypatch.setattr(module, "PROMPTS_AT_ONCE", at_once)
    ours = zero_shot_classifier(clip_model, clip_tokenizer, DIGITS, templates, "cpu", amp=False)
    wanted = theirs(clip_model, clip_tokenizer, DIGITS, templates, "cpu", amp=False)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-6)
    with torch.no_grad():
        features = clip_model.encode_image(images())
    assert torch.equal((features @ ours).argmax(1), (features @ wanted).argmax(1))


def test_classifier_under_amp(clip_model, clip_tokenizer):
    """bfloat16 has 8 bits: batches of another shape may round otherwise, and no more than that."""
    ours = zero_shot_classifier(clip_model, clip_tokenizer, DIGITS, LIST, "cpu", amp=True)
    wanted = theirs(clip_model, clip_tokenizer, DIGITS, LIST, "cpu", amp=True)
    assert ours.dtype == torch.float32 and wanted.dtype == torch.bfloat16
    torch.testing.assert_close(ours, wanted.float(), rtol=0, atol=2**-7)
    exact = zero_shot_classifier(clip_model, clip_tokenizer, DIGITS, LIST, "cpu", amp=False)
    assert not torch.equal(ours, exact)


def test_classifier_takes_a_device_with_an_index(stock_clip, clip_tokenizer):
    found = zero_shot_classifier(stock_clip, clip_tokenizer, DIGITS[:2], LIST, "cpu:0")
    assert found.shape == (64, 2)


def test_prompts_come_in_bounded_batches(stock_clip, clip_tokenizer, monkeypatch):
    sizes = []

    def counting(texts):
        sizes.append(len(texts))
        return clip_tokenizer(texts)

    monkeypatch.setattr(module, "PROMPTS_AT_ONCE", 8)
    zero_shot_classifier(stock_clip, counting, DIGITS[:5], LIST, "cpu")
    assert sizes == [6, 6, 3]
    sizes.clear()
    zero_shot_classifier(stock_clip, counting, ["one"], ["{c}"] * 20, "cpu")
    assert sizes == [8, 8, 4]


@pytest.mark.parametrize(
    ("names", "templates", "words"),
    [
        ([], LIST, "no class names"),
        (["one"], [], r"templates is \[\]; it has to be a list or a dict"),
        (["one"], "the {c}", "templates is 'the {c}'; it has to be"),
        (["one"], ["a photo of a {}."], r"'a photo of a \{\}\.'.*cannot be filled in.*write \{c\}"),
        (["one"], ["a {name}"], "cannot be filled in"),
        (["one"], ["a {c"], "cannot be filled in"),
        (["one", "two"], {"one": ["the one"]}, "by class have none for 'two'"),
    ],
)
def test_templates_that_cannot_be_used(stock_clip, clip_tokenizer, names, templates, words):
    with pytest.raises(ValueError, match=words):
        zero_shot_classifier(stock_clip, clip_tokenizer, names, templates, "cpu")


def test_clip_benchmark_calls_the_text_tower_once_per_class(stock_clip, clip_tokenizer):
    sizes = []

    def counting(texts):
        sizes.append(len(texts))
        return clip_tokenizer(texts)

    found = theirs(stock_clip, counting, DIGITS, LIST, "cpu", amp=True)
    assert sizes == [3] * 10 or found.dtype != torch.float32, mended("zero_shot_classifier")


def test_classes_with_the_same_prompts_get_the_same_logits(clip_model, clip_tokenizer, caplog):
    """They are named, and the first of them is the best."""
    names = ["one", "two", "One", "three", "TWO", "Two", "ONE"]
    classifier = zero_shot_classifier(clip_model, clip_tokenizer, names, LIST, "cpu", amp=False)
    assert "'one' and 'One'" in caplog.text
    first = [0, 1, 0, 3, 1, 1, 0]
    assert torch.equal(classifier, classifier[:, first])
    images = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    data = [(images, torch.zeros(40, dtype=torch.long))]
    logits, _ = run_classification(clip_model, classifier, data, "cpu", amp=False)
    assert torch.equal(logits, logits[:, first])
