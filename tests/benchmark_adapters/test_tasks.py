"""Every task on data on disk, through clip_benchmark's own command, against scores by hand."""

import json

import open_clip
import pytest
import torch
from helpers.shard_sets import (
    DIGITS,
    OURS,
    eval_command,
    multi_label,
    pictures,
    results,
    retrieval,
    sugar_crepe,
)
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from torch.nn import functional as F

from benchmark_adapters.cli import main
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.evaluation.predict import build_classifier, predict

KINDS = {"mmrl": "class", "mmrl_fused": "fused", "mmrl_frozen": "frozen", "open_clip": "class"}
TYPES = pytest.mark.parametrize("model_type", ["mmrl", "mmrl_fused", "mmrl_frozen"])


@pytest.fixture(autouse=True)
def _undone(registered):
    """The commands register; nothing of it stays for other tests."""


@pytest.fixture(scope="module")
def ours(adapter):
    model, _, transform = open_clip.create_model_and_transforms(OURS, str(adapter))
    return model.eval(), transform, open_clip.get_tokenizer(OURS)


def digit_batch(transform, count=30):
    images, labels = zip(*pictures(count), strict=True)
    return torch.stack([transform(image) for image in images]), torch.tensor(labels)


def only_result(tmp_path):
    (found,) = results(tmp_path / "out").values()
    return found


def run(tmp_path, root, dataset, *options):
    """The metrics of one evaluation in float32."""
    command = eval_command(root, dataset, tmp_path / "out", "--no_amp", *options)
    assert main(command) == 0
    return only_result(tmp_path)["metrics"]


@pytest.mark.parametrize("model_type", KINDS)
def test_single_label(tmp_path, digits, adapter, ours, model_type):
    """The metrics, from `predict`'s logits where one template makes both classifiers the same."""
    root = tmp_path / "digits"
    root.symlink_to(digits)
    template = tmp_path / "templates.json"
    template.write_text(json.dumps({"digits": ["the digit {c}."]}))
    options = ["--pretrained", adapter, "--model_type", model_type]
    options += ["--custom_template_file", template]
    found = run(tmp_path, root, "wds/digits", *options)

    model, transform, tokenizer = ours
    classifier = build_classifier(model, tokenizer([f"the digit {name}." for name in DIGITS]))
    wanted = predict(model, classifier, [digit_batch(transform)], features=KINDS[model_type])
    best = wanted.scores.topk(5).indices
    assert found["acc1"] == pytest.approx(wanted.accuracy / 100)
    hits = best.eq(wanted.labels[:, None]).any(1)
    assert found["acc5"] == pytest.approx(hits.double().mean().item())
    recall = balanced_accuracy_score(wanted.labels, best[:, 0])
    assert found["mean_per_class_recall"] == pytest.approx(recall)


def test_frozen_scores_as_the_stock_model(tmp_path, digits, adapter):
    command = eval_command(digits, "wds/digits", tmp_path / "out", "--no_amp")
    assert main([*command, "--model_type", "mmrl_frozen", "--pretrained", str(adapter)]) == 0
    assert main([*command, "--model", MODEL_NAME, "--pretrained", TAG]) == 0
    frozen, stock = results(tmp_path / "out").values()
    assert frozen["metrics"] == stock["metrics"]
    assert {frozen["model_type"], stock["model_type"]} == {"mmrl_frozen", "open_clip"}


def test_amp_is_close_to_float32(tmp_path, digits, adapter):
    command = eval_command(digits, "wds/digits", tmp_path / "out", "--pretrained", adapter)
    assert main(command) == 0
    half = only_result(tmp_path)["metrics"]["acc1"]
    assert half == pytest.approx(
        run(tmp_path, digits, "wds/digits", "--pretrained", adapter)["acc1"], abs=0.1
    )


def test_auto_with_seen_and_new_classes(tmp_path, digits, half_adapter, capsys):
    options = ["--pretrained", half_adapter, "--model_type", "mmrl_auto"]
    found = run(tmp_path, digits, "wds/digits", *options)
    assert "mmrl_auto: 5 of 10 classes seen in training: both features" in capsys.readouterr().err
    model, _, transform = open_clip.create_model_and_transforms(OURS, str(half_adapter))
    tokenizer = open_clip.get_tokenizer(OURS)
    images, labels = digit_batch(transform)
    with torch.no_grad():
        text = [
            model.eval().encode_text(
                tokenizer([f"a photo of the number {name}.", f"the digit {name}."]), True
            )
            for name in DIGITS
        ]
        text = F.normalize(torch.stack(text).mean(1), dim=-1)
        by_class, by_rep = (
            model.encode_image(images, True, kind) @ text.T for kind in ("class", "representation")
        )
    alpha = model.config.alpha
    mixed = torch.cat([alpha * by_class + (1 - alpha) * by_rep, by_class], 1)[
        :, [0, 1, 2, 3, 4, 15, 16, 17, 18, 19]
    ]
    assert found["acc1"] == pytest.approx((mixed.argmax(1) == labels).double().mean().item())


@TYPES
def test_multi_label(tmp_path, adapter, ours, model_type):
    root = multi_label(tmp_path / "multi")
    options = ["--pretrained", adapter, "--model_type", model_type]
    found = run(tmp_path, root, "wds/multi", *options)
    model, transform, tokenizer = ours
    images, labels = digit_batch(transform)
    targets = F.one_hot(labels, 10) + F.one_hot((labels + 1) % 10, 10)
    with torch.no_grad():
        kind = KINDS[model_type]
        text = model.encode_text(tokenizer([f"the digit {n}." for n in DIGITS]), True, kind)
        scores = model.encode_image(images, True, kind) @ text.T
    wanted = average_precision_score(targets.numpy(), scores.numpy(), average="macro")
    assert found == {"mean_average_precision": pytest.approx(wanted, abs=1e-4)}


@TYPES
def test_retrieval_is_recognized_and_scored(tmp_path, adapter, ours, model_type):
    root = retrieval(tmp_path / "captions")
    options = ["--pretrained", adapter, "--model_type", model_type, "--recall_k", 1, 3]
    found = run(tmp_path, root, "wds/captions", *options)
    model, transform, tokenizer = ours
    images, labels = digit_batch(transform, 12)
    texts = []
    for i, label in enumerate(labels):
        texts += [f"the digit {DIGITS[label]}", f"a photo of {i} {DIGITS[label]}"]
    owner = torch.arange(24) // 2
    with torch.no_grad():
        kind = KINDS[model_type]
        scores = (
            model.encode_text(tokenizer(texts), True, kind)
            @ model.encode_image(images, True, kind).T
        )
    wanted = {}
    for k in (1, 3):
        hits = scores.topk(k).indices.eq(owner[:, None]).any(1)
        wanted[f"image_retrieval_recall@{k}"] = pytest.approx(hits.double().mean().item())
        hits = owner[scores.T.topk(k).indices].eq(torch.arange(12)[:, None]).any(1)
        wanted[f"text_retrieval_recall@{k}"] = pytest.approx(hits.double().mean().item())
    assert found == wanted
    assert only_result(tmp_path)["task"] == "zeroshot_retrieval"


@TYPES
def test_image_caption_selection(tmp_path, adapter, ours, model_type):
    root = sugar_crepe(tmp_path / "crepe", 30)
    options = ["--pretrained", adapter, "--model_type", model_type]
    found = run(tmp_path, root, "sugar_crepe/add_att", *options)
    model, transform, tokenizer = ours
    images, labels = digit_batch(transform)
    with torch.no_grad():
        kind = KINDS[model_type]
        right, wrong = (
            model.encode_text(
                tokenizer([f"the digit {DIGITS[(n + step) % 10]}" for n in labels]), True, kind
            )
            for step in (0, 3)
        )
        image = model.encode_image(images, True, kind)
    best = ((image * right).sum(1) > (image * wrong).sum(1)).double().mean().item()
    assert found["text_acc"] == pytest.approx(best) and found["image_acc"] == 1
    assert 0.3 < best < 1


@pytest.mark.parametrize(
    ("model_type", "half", "same_as"),
    [
        ("mmrl_frozen", False, "stock"),
        ("mmrl_auto", False, "mmrl_fused"),
        ("mmrl_auto", True, "mmrl"),
    ],
    ids=["frozen", "all seen", "half seen"],
)
def test_linear_probe(tmp_path, digits, adapter, half_adapter, model_type, half, same_as):
    """The probe itself has its own tests; here, that it gets the features of the model type."""
    if half:
        adapter = half_adapter
    other = ["--pretrained", adapter, "--model_type", same_as]
    if same_as == "stock":
        other = ["--model", MODEL_NAME, "--pretrained", TAG]
    runs = [["--pretrained", adapter, "--model_type", model_type], other]
    if same_as == "mmrl_fused":
        runs.append(["--pretrained", adapter])
    found = []
    for i, options in enumerate(runs):
        words = ["--task", "linear_probe", "--feature_root", tmp_path / "features" / str(i)]
        words += ["--fewshot_k", 1, "--fewshot_lr", 0.01, "--no_amp", *options]
        assert main(eval_command(digits, "wds/digits", tmp_path / str(i), *words)) == 0
        (result,) = results(tmp_path / str(i)).values()
        found.append(result["metrics"])
    assert found[0] == found[1] and found[0]["lp_acc1"] > 0.2
    assert all(metrics != found[0] for metrics in found[2:])


def test_linear_probe_of_a_stream_with_val_proportion(tmp_path, digits, adapter, capsys):
    options = ["--task", "linear_probe", "--val_proportion", 0.5, "--pretrained", adapter]
    assert main(eval_command(digits, "wds/digits", tmp_path / "out", *options)) == 2
    assert "--val_proportion cannot split wds/digits" in capsys.readouterr().err


# Data that does not fit the task.


def test_labels_beyond_the_class_names(tmp_path, adapter, capsys, write_image):
    """Through a reader of clip_benchmark's that does not check: fer2013's is an ImageFolder."""
    for i in range(3):
        write_image(tmp_path / "faces" / "test" / str(i) / "x.png")
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"fer2013": ["happy", "sad"]}))
    command = eval_command(tmp_path / "faces", "fer2013", tmp_path / "out", "--pretrained", adapter)
    assert main([*command, "--custom_classname_file", str(names)]) == 1
    shown = capsys.readouterr().err
    assert (
        f"error: fer2013 with {OURS}, {adapter}: an image has label 2, but there are 2 class names"
        in shown
    )


def test_fewer_than_five_classes_have_no_acc5(tmp_path, adapter, write_image):
    for i in range(3):
        write_image(tmp_path / "faces" / "test" / str(i) / "x.png")
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"fer2013": ["happy", "sad", "angry"]}))
    options = ["--pretrained", adapter, "--custom_classname_file", names]
    found = run(tmp_path, tmp_path / "faces", "fer2013", *options)
    assert found["acc5"] is None and 0 <= found["acc1"] <= 1
