"""The batched classifier against clip_benchmark's own, and the checks while scoring."""

import math

import open_clip
import pytest
import torch
from helpers.shard_sets import DIGITS, OURS
from sklearn.metrics import recall_score

from benchmark_adapters import seam
from benchmark_adapters.repairs import zero_shot
from benchmark_adapters.repairs.zero_shot import (
    accuracy,
    metrics,
    run_classification,
    zero_shot_classifier,
)
from open_clip_mmrl.assets import MODEL_NAME, TAG

LIST = ["a photo of the number {c}.", "the digit {c}.", "{c}"]
BY_CLASS = {name: LIST[: 1 + i % 3] for i, name in enumerate(DIGITS)}
BY_CLASS = {name: [text.format(c=name) for text in texts] for name, texts in BY_CLASS.items()}
theirs = seam.original(seam.CLASSIFICATION, "zero_shot_classifier")
their_scores = seam.original(seam.CLASSIFICATION, "run_classification")


@pytest.fixture(scope="module")
def tokenizer():
    return open_clip.get_tokenizer(MODEL_NAME)


@pytest.fixture(scope="module")
def stock():
    return open_clip.create_model(MODEL_NAME, TAG).eval()


@pytest.fixture(scope="module", params=["stock", "class", "fused", "frozen"])
def model(request, stock, adapter):
    if request.param == "stock":
        return stock
    model = open_clip.create_model(OURS, str(adapter)).eval()
    model.features = request.param
    return model


def images(count=40, seed=0):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def batches(labels, size=16):
    pictures = images(len(labels))
    return list(zip(pictures.split(size), torch.as_tensor(labels).split(size), strict=True))


@pytest.mark.parametrize("templates", [LIST, BY_CLASS], ids=["list", "by class"])
@pytest.mark.parametrize("at_once", [2, 7, 1024])
def test_classifier_equals_theirs(model, tokenizer, templates, at_once, monkeypatch):
    """2: a class in several batches; 7: batches that end between classes; 1024: one batch."""
    monkeypatch.setattr(zero_shot, "PROMPTS_AT_ONCE", at_once)
    ours = zero_shot_classifier(model, tokenizer, DIGITS, templates, "cpu", amp=False)
    wanted = theirs(model, tokenizer, DIGITS, templates, "cpu", amp=False)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-6)
    with torch.no_grad():
        features = model.encode_image(images())
    assert torch.equal((features @ ours).argmax(1), (features @ wanted).argmax(1))


def test_classifier_under_amp(model, tokenizer):
    """bfloat16 has 8 bits: batches of another shape may round otherwise, and no more than that."""
    ours = zero_shot_classifier(model, tokenizer, DIGITS, LIST, "cpu", amp=True)
    wanted = theirs(model, tokenizer, DIGITS, LIST, "cpu", amp=True)
    assert ours.dtype == torch.float32 and wanted.dtype == torch.bfloat16
    torch.testing.assert_close(ours, wanted.float(), rtol=0, atol=2**-7)
    exact = zero_shot_classifier(model, tokenizer, DIGITS, LIST, "cpu", amp=False)
    assert not torch.equal(ours, exact)


def test_classifier_takes_a_device_with_an_index(stock, tokenizer):
    for device in ("cpu:0", torch.device("cpu")):
        found = zero_shot_classifier(stock, tokenizer, DIGITS[:2], LIST, device)
        assert found.shape == (64, 2)


def test_prompts_come_in_bounded_batches(stock, tokenizer, monkeypatch):
    sizes = []

    def counting(texts):
        sizes.append(len(texts))
        return tokenizer(texts)

    monkeypatch.setattr(zero_shot, "PROMPTS_AT_ONCE", 8)
    zero_shot_classifier(stock, counting, DIGITS[:5], LIST, "cpu")
    assert sizes == [6, 6, 3]
    sizes.clear()
    zero_shot_classifier(stock, counting, ["one"], ["{c}"] * 20, "cpu")
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
def test_templates_that_cannot_be_used(stock, tokenizer, names, templates, words):
    with pytest.raises(ValueError, match=words):
        zero_shot_classifier(stock, tokenizer, names, templates, "cpu")


@pytest.mark.parametrize("amp", [False, True], ids=["float32", "amp"])
def test_scores_equal_theirs(model, tokenizer, amp):
    classifier = theirs(model, tokenizer, DIGITS, LIST, "cpu", amp=amp)
    data = batches([i % 10 for i in range(40)])
    ours, target = run_classification(model, classifier, data, "cpu:0", amp=amp)
    wanted, their_target = their_scores(model, classifier, data, "cpu", amp=amp)
    assert torch.equal(ours, wanted) and torch.equal(target, their_target)
    assert ours.dtype == torch.float32


def test_multi_label_targets_are_taken(stock):
    target = torch.eye(10, dtype=torch.long)
    _, found = run_classification(stock, torch.randn(64, 10), [(images(10), target)], "cpu")
    assert torch.equal(found, target)


def test_a_half_precision_classifier_works_without_amp(stock, tokenizer):
    data = batches([0, 1, 2])
    half = theirs(stock, tokenizer, DIGITS, LIST, "cpu", amp=True)
    assert half.dtype == torch.bfloat16
    found, _ = run_classification(stock, half, data, "cpu", amp=False)
    assert torch.equal(found, run_classification(stock, half.float(), data, "cpu", amp=False)[0])


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (torch.tensor([3, 10]), r"label 10, but there are 10 class names, for labels 0 to 9"),
        (torch.tensor([0, -1]), r"label -1, but there are 10 class names"),
        (torch.zeros(2, 9), r"have 9 columns, but there are 10 class names"),
    ],
)
def test_targets_that_are_no_class(stock, targets, words):
    """Found in the batch they come in, not at the end."""
    good = (images(2), torch.zeros(2, dtype=torch.long))

    def data():
        yield good
        yield images(2), targets
        raise AssertionError("read on")

    with pytest.raises(ValueError, match=words):
        run_classification(stock, torch.randn(64, 10), data(), "cpu")


def test_a_classifier_of_another_width(stock):
    with pytest.raises(
        ValueError, match=r"for features of width 128, this model's have 64.*mmrl_f"
    ):
        run_classification(stock, torch.randn(128, 10), batches([0, 1]), "cpu")


def test_no_images(stock):
    with pytest.raises(ValueError, match="no images to classify"):
        run_classification(stock, torch.randn(64, 10), [], "cpu")


def test_accuracy_by_hand():
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    target = torch.arange(50) % 7
    ranks = (logits > logits.gather(1, target[:, None])).sum(1)
    found = accuracy(logits, target, topk=(1, 5))
    assert found == [(ranks < 1).double().mean().item(), (ranks < 5).double().mean().item()]


@pytest.mark.parametrize("classes", [3, 5, 9])
def test_metrics_of_logits(classes):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(40, classes, generator=generator)
    labels = torch.randint(classes - 1, (40,), generator=generator)  # the last has no image
    found = metrics(logits, labels)
    assert found["acc1"] == (logits.argmax(1) == labels).sum().item() / 40
    recall = recall_score(labels, logits.argmax(1), labels=range(classes - 1), average="macro")
    assert found["mean_per_class_recall"] == pytest.approx(recall)
    top = [label in row.argsort()[-5:] for row, label in zip(logits, labels, strict=True)]
    expected = math.nan if classes < 5 else sum(top) / 40
    assert found["acc5"] == pytest.approx(expected, nan_ok=True)
