"""Which features each model type shows, and what mmrl_auto makes of seen and new classes."""

import open_clip
import pytest
import torch
from helpers.shard_sets import DIGITS, OURS, write_adapter
from helpers.tiny import shake
from torch.nn import functional as F

import open_clip_mmrl
from benchmark_adapters.auto import chosen_features, seen_among
from benchmark_adapters.model_types import FEATURES, load
from benchmark_adapters.repairs.run_classification import run_classification
from benchmark_adapters.repairs.zero_shot_classifier import zero_shot_classifier
from open_clip_mmrl.assets import MODEL_NAME, TAG
from open_clip_mmrl.errors import UsageError

IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TEMPLATES = ["the digit {c}.", "a photo of {c}."]
ROUNDING = 100 * 128**0.5 * torch.finfo(torch.float32).eps
"""Of 100 times a sum of 128 products of unit vectors; such sums differ from machine to machine."""


def close(ours, theirs, tolerance=1e-6):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def tokens():
    return open_clip.get_tokenizer(MODEL_NAME)(DIGITS)


@pytest.mark.parametrize("model_type", FEATURES)
@torch.no_grad()
def test_types_show_their_features(adapter, tokens, model_type):
    model, _, tokenizer = load(model_type, OURS, str(adapter))
    wanted = open_clip.create_model(OURS, str(adapter)).eval()
    kind = {"mmrl_fused": "fused", "mmrl_frozen": "frozen"}.get(model_type, "class")
    model.eval()
    close(model.encode_image(IMAGES), wanted.encode_image(IMAGES, features=kind))
    close(model.encode_text(tokenizer(DIGITS)), wanted.encode_text(tokens, features=kind))


@torch.no_grad()
def test_frozen_is_the_stock_model(adapter, tokens):
    model, transform, _ = load("mmrl_frozen", OURS, str(adapter))
    stock, _, stock_transform = open_clip.create_model_and_transforms(MODEL_NAME, TAG)
    close(model.eval().encode_image(IMAGES), stock.eval().encode_image(IMAGES), 1e-5)
    close(model.encode_text(tokens), stock.encode_text(tokens), 1e-5)
    assert repr(transform) == repr(stock_transform)


@pytest.mark.parametrize("name", [MODEL_NAME, "ViT-B-32-quickgelu"])
@pytest.mark.parametrize("place", ["file", "folder"])
def test_an_adapter_knows_its_model(adapter, name, place):
    model, _, _ = load("mmrl", name, str(adapter if place == "file" else adapter.parent))
    assert model.base_origin["model"] == MODEL_NAME


def test_the_tokenizer_fits_an_adapter_with_another_context(tmp_path):
    model = open_clip.create_model(OURS, TAG, force_context_length=9)
    path = open_clip_mmrl.save_adapter(model, tmp_path / "short.safetensors")
    model, _, tokenizer = load("mmrl", OURS, str(path))
    assert model.encode_text(tokenizer(DIGITS)).shape == (10, 64)


@pytest.mark.parametrize(
    ("model_type", "name", "pretrained", "words"),
    [
        (
            "mmrl",
            MODEL_NAME,
            TAG,
            rf"'{MODEL_NAME}' has none.*'printed' is no adapter.*mmrl-ViT-Ti",
        ),
        ("mmrl_frozen", "RN50", TAG, r"--model_type mmrl_frozen needs a model with tokens"),
        ("mmrl", OURS, "gone/adapter.safetensors", r"neither a tag of .* nor a file"),
        ("mmrl", "mmrl-RN50", "openai", r"RN50 does not support representation tokens"),
        ("mmrl_auto", OURS, TAG, r"mmrl_auto goes by the classes.*'printed' is no adapter"),
    ],
)
def test_what_cannot_be_loaded(model_type, name, pretrained, words):
    with pytest.raises(UsageError, match=words):
        load(model_type, name, pretrained)


def test_auto_needs_class_names(tmp_path):
    path = write_adapter(tmp_path / "nameless.safetensors", class_names=())
    with pytest.raises(UsageError, match=r"names no classes.*mmrl_fused .*or mmrl"):
        load("mmrl_auto", OURS, str(path))


def test_an_adapter_without_a_base_needs_the_name(tmp_path):
    base = open_clip.create_model(MODEL_NAME, TAG)
    path = open_clip_mmrl.save_adapter(
        open_clip_mmrl.MMRLCLIP.from_open_clip(base), tmp_path / "x.safetensors"
    )
    with pytest.raises(UsageError, match=r"does not name its base model: give --model mmrl-<base>"):
        load("mmrl", MODEL_NAME, str(path))


def test_untrained_tokens_are_a_warning(caplog, adapter):
    load("mmrl", OURS, TAG)
    load("mmrl_frozen", OURS, TAG)
    load("mmrl_fused", OURS, str(adapter))
    (message,) = caplog.messages
    assert message.startswith(f"the tokens of {OURS} are random: printed holds weights of")


# mmrl_auto


@pytest.fixture
def auto(half_adapter):
    """A model that has seen zero to four; alpha is not 0.5, so that halves cannot be confused."""
    model, _, tokenizer = load("mmrl_auto", OURS, str(half_adapter))
    object.__setattr__(model.config, "alpha", 0.7)
    return model.eval(), tokenizer


def auto_scores(model, tokenizer, names):
    with chosen_features(model, names, mix=True):
        classifier = zero_shot_classifier(model, tokenizer, names, TEMPLATES, "cpu", amp=False)
        data = [(IMAGES, torch.zeros(len(IMAGES), dtype=torch.long))]
        return run_classification(model, classifier, data, "cpu", amp=False)[0]


@torch.no_grad()
def by_hand(model, tokenizer, names):
    """Cosines, times 100, of each image's two features with every class: [N, C] twice."""
    prompts = [[t.format(c=name) for t in TEMPLATES] for name in names]
    text = torch.stack(
        [model.encode_text(tokenizer(p), normalize=True, features="class").mean(0) for p in prompts]
    )
    text = F.normalize(text, dim=-1)
    both = [model.encode_image(IMAGES, True, kind) for kind in ("class", "representation")]
    return tuple(100 * feature @ text.T for feature in both)


@pytest.mark.parametrize(
    ("names", "seen", "shown"),
    [
        (DIGITS[:5], 5, "both features, 5 of 5 classes seen in training."),
        (DIGITS[5:], 0, "the class feature, 0 of 5 classes seen in training."),
        (
            [DIGITS[7], DIGITS[1], DIGITS[9]],
            1,
            "1 of 3 classes seen in training: both features for these, the class feature for the "
            "others.",
        ),
    ],
    ids=["seen", "new", "mixed"],
)
def test_auto_scores_each_class_by_its_kind(auto, caplog, names, seen, shown):
    caplog.set_level("INFO", "benchmark_adapters")
    model, _ = auto
    found = auto_scores(*auto, names)
    assert caplog.messages == [f"mmrl_auto: {shown}"]
    by_class, by_rep = by_hand(*auto, names)
    known = torch.tensor([name in DIGITS[:5] for name in names])
    assert known.sum() == seen
    close(found, torch.where(known, 0.7 * by_class + 0.3 * by_rep, by_class), ROUNDING)
    assert not torch.allclose(by_class, by_rep, atol=0.1)
    assert model.features == "class"


def test_auto_reads_underscores_as_spaces(tmp_path):
    path = write_adapter(tmp_path / "a.safetensors", class_names=["grand_piano", "two"])
    model, _, _ = load("mmrl_auto", OURS, str(path))
    assert seen_among(model, ["grand piano", "grand_piano", "one"]).tolist() == [True, True, False]


def test_auto_reads_names_as_the_tokenizer_does(tmp_path):
    path = write_adapter(tmp_path / "a.safetensors", class_names=["Café au lait", "R&D"])
    model, _, _ = load("mmrl_auto", OURS, str(path))
    names = ["cafe\u0301  AU lait", "r&amp;d", "cafe au lait", "R & E"]
    assert seen_among(model, names).tolist() == [True, True, False, False]


def test_auto_cannot_mix_without_the_class_feature(auto):
    model, tokenizer = auto
    object.__setattr__(model.config, "alpha", 0.0)
    with pytest.raises(UsageError, match=r"1 of 2 classes seen.*alpha is 0.*mmrl_fused or mmrl"):
        auto_scores(model, tokenizer, ["one", "nine"])
    _, by_rep = by_hand(model, tokenizer, ["one", "two"])
    close(auto_scores(model, tokenizer, ["one", "two"]), by_rep, ROUNDING)


@pytest.mark.parametrize(
    ("names", "features"),
    [(None, "class"), ([], "class"), (["one", "nine"], "class"), (["one", "two"], "fused")],
)
def test_auto_in_tasks_that_cannot_mix(auto, names, features, caplog):
    caplog.set_level("INFO", "benchmark_adapters")
    model, _ = auto
    with chosen_features(model, names):
        assert model.features == features
    assert model.features == "class" and len(caplog.messages) == 1


def test_other_models_choose_nothing(adapter, caplog):
    caplog.set_level("INFO", "benchmark_adapters")
    model, _, _ = load("mmrl_fused", OURS, str(adapter))
    shake(model.learner)
    with chosen_features(model, DIGITS, mix=True):
        assert model.features == "fused"
    assert not caplog.messages
