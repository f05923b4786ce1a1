"""The task: its results, where gradients go, and moving it between devices and types."""

import copy
from unittest.mock import patch

import pytest
import torch
from helpers.tiny import shake, tiny_clip, tiny_family, tiny_images, tiny_mmrl, tiny_prompts
from torch.nn import functional as F

from open_clip_mmrl import MMRLTask
from open_clip_mmrl.models.image_towers.open_clip_vit import ClassTokenTower
from open_clip_mmrl.models.ops import unit
from open_clip_mmrl.models.precision import in_half
from open_clip_mmrl.models.task import FrozenClasses
from open_clip_mmrl.models.text_towers.causal import CausalTextTower

IMAGES, TOKENS, LABELS = tiny_images(3), tiny_prompts([4, 7, 12, 5]), torch.tensor([0, 3, 1])
VARIANTS = pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
FEATURES = (
    "image_features",
    "image_features_rep",
    "text_features",
    "frozen_image_features",
    "frozen_text_features",
)


def close(ours, theirs, tolerance=1e-12):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@VARIANTS
def test_result_of_a_step(variant):
    model = tiny_mmrl(variant=variant)
    result = MMRLTask(model, TOKENS)(IMAGES, LABELS)
    assert set(result) == {"loss", "logits", "logits_rep", "logits_fused", *FEATURES}
    assert result["loss"].shape == ()
    for name in ("logits", "logits_rep", "logits_fused"):
        assert result[name].shape == (3, 4)
    for name in FEATURES:
        assert result[name].shape == (4 if "text" in name else 3, 10)
        close(result[name].norm(dim=-1), torch.ones(len(result[name]), dtype=torch.float64))


@VARIANTS
@pytest.mark.parametrize("custom", [False, True])
def test_features_are_those_of_encode(variant, custom):
    clip = tiny_clip(custom=custom)
    model = tiny_mmrl(copy.deepcopy(clip), variant=variant)
    result = MMRLTask(model, TOKENS)(IMAGES, LABELS)
    close(result["image_features"], model.encode_image(IMAGES, True))
    close(result["image_features_rep"], model.encode_image(IMAGES, True, "representation"))
    close(result["text_features"], model.encode_text(TOKENS, True))
    close(result["frozen_image_features"], clip.encode_image(IMAGES, True))
    close(result["frozen_text_features"], clip.encode_text(TOKENS, True))
    w = model.encode_text(TOKENS, features="fused")
    fused = model.logit_scale.exp() * model.encode_image(IMAGES, features="fused") @ w.T
    close(result["logits_fused"], fused)


@pytest.mark.parametrize("bias", [None, -2.5])
def test_loss_by_hand(bias):
    model = tiny_mmrl(tiny_clip(init_logit_bias=bias), alpha=0.6, reg_weight=3.0)
    with torch.no_grad():
        model.logit_scale.fill_(1.5)
    result = MMRLTask(model, TOKENS)(IMAGES, LABELS)
    image, rep, w = (result[n] for n in ("image_features", "image_features_rep", "text_features"))
    scale = torch.tensor(1.5, dtype=torch.float64).exp()
    logits, logits_rep = (scale * x @ w.T + (bias or 0) for x in (image, rep))
    close(result["logits"], logits)
    close(result["logits_rep"], logits_rep)
    drift = 2 - (image * result["frozen_image_features"]).sum(-1).mean()
    drift = drift - (w * result["frozen_text_features"]).sum(-1).mean()
    expected = 0.6 * F.cross_entropy(logits, LABELS) + 0.4 * F.cross_entropy(logits_rep, LABELS)
    close(result["loss"], expected + 3.0 * drift)


@VARIANTS
def test_without_text_tokens_the_text_stays_frozen(variant):
    model = tiny_mmrl(variant=variant, token_sides="image")
    task = MMRLTask(model, TOKENS)
    result = task(IMAGES, LABELS)
    assert torch.equal(result["text_features"], task.frozen_text_features)
    assert not result["text_features"].requires_grad
    close(result["text_features"], tiny_clip().encode_text(TOKENS, True))
    assert set(result) == {"loss", "logits", "logits_rep", "logits_fused", *FEATURES}
    result["loss"].backward()
    assert all(p.grad.abs().max() > 0 for p in model.learner.parameters())


@VARIANTS
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_without_image_tokens_there_is_only_the_class_feature(variant, alpha):
    model = tiny_mmrl(variant=variant, token_sides="text", alpha=alpha, reg_weight=2.0)
    result = MMRLTask(model, TOKENS)(IMAGES, LABELS)
    assert set(result) == {"loss", "logits", "logits_fused", *FEATURES} - {"image_features_rep"}
    assert torch.equal(result["image_features"], result["frozen_image_features"])
    assert torch.equal(result["logits_fused"], result["logits"])
    drift = 1 - (result["text_features"] * result["frozen_text_features"]).sum(-1).mean()
    close(result["loss"], F.cross_entropy(result["logits"], LABELS) + 2.0 * drift)
    result["loss"].backward()
    assert all(p.grad.abs().max() > 0 for p in model.learner.parameters())


@pytest.mark.parametrize(("sides", "tower"), [("image", "text"), ("text", "image")])
def test_frozen_tower_runs_once(sides, tower):
    """Its features are frozen CLIP's, which are computed already."""
    task = MMRLTask(tiny_mmrl(token_sides=sides), TOKENS)
    kind = {"text": CausalTextTower, "image": ClassTokenTower}[tower]
    with (
        patch.object(kind, "with_tokens") as adapted,
        patch.object(
            kind, "without_tokens", autospec=True, side_effect=kind.without_tokens
        ) as frozen,
    ):
        task(IMAGES, LABELS)
    assert not adapted.called
    assert frozen.call_count == {"text": 0, "image": 1}[tower]


@pytest.mark.parametrize("regularizer", ["l1", "mse"])
def test_the_regularizer_of_the_config_is_used(regularizer):
    model = tiny_mmrl(regularizer=regularizer, reg_weight=5.0)
    result = MMRLTask(model, TOKENS)(IMAGES, LABELS)
    kinds = ("image_features", "text_features")
    power = {"l1": 1, "mse": 2}[regularizer]
    drift = sum((result[k] - result[f"frozen_{k}"]).abs().pow(power).mean() for k in kinds)
    entropies = [F.cross_entropy(result[name], LABELS) for name in ("logits", "logits_rep")]
    close(result["loss"], 0.7 * entropies[0] + 0.3 * entropies[1] + 5.0 * drift)


@VARIANTS
def test_gradients_reach_the_whole_learner_and_nothing_else(variant):
    model = tiny_mmrl(variant=variant)
    task = MMRLTask(model, TOKENS)
    result = task(IMAGES, LABELS)
    assert not result["frozen_image_features"].requires_grad
    assert not result["frozen_text_features"].requires_grad
    result["loss"].backward()
    for name, parameter in task.named_parameters():
        if name.startswith("model.learner."):
            assert parameter.grad.abs().max() > 0, name
        else:
            assert parameter.grad is None and not parameter.requires_grad, name


@VARIANTS
def test_a_few_steps_lower_the_loss(variant):
    model = tiny_mmrl(variant=variant)
    task = MMRLTask(model, TOKENS)
    base = copy.deepcopy({k: v for k, v in model.state_dict().items() if "learner" not in k})
    optimizer = torch.optim.AdamW(model.learner.parameters(), lr=1e-2)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = task(IMAGES, LABELS)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    for name, value in base.items():
        assert torch.equal(model.state_dict()[name], value), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("custom", [False, True])
def test_moving_the_task_recomputes_the_prompts(dtype, custom):
    start = torch.float64 if dtype is torch.float32 else torch.float32
    model = tiny_mmrl(tiny_clip(custom=custom)).to(start)
    task = MMRLTask(model, TOKENS)
    assert task.frozen_text_features.dtype == start
    assert task.to(dtype) is task
    assert task.frozen_text_features.dtype == dtype
    result = task(IMAGES.to(dtype), LABELS)
    again = MMRLTask(copy.deepcopy(model), TOKENS)(IMAGES.to(dtype), LABELS)
    for name, value in again.items():
        assert value.dtype == dtype and torch.equal(result[name], value), name
    assert task.tokens.dtype == torch.long


def test_shorthands_move_it_too():
    task = MMRLTask(tiny_mmrl(), TOKENS)
    assert task.float()(IMAGES.float(), LABELS)["loss"].dtype == torch.float32
    assert task.double()(IMAGES, LABELS)["loss"].dtype == torch.float64


@VARIANTS
def test_bf16_autocast_stays_close_and_gives_float32(variant):
    model = tiny_mmrl(tiny_clip().float(), variant=variant).float()
    images = IMAGES.float()
    with torch.no_grad():
        model.logit_scale.fill_(2.0)
    exact = MMRLTask(model, TOKENS)(images, LABELS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        task = MMRLTask(model, TOKENS)
        result = task(images, LABELS)
    for name, value in result.items():
        assert value.dtype == torch.float32, name
    for name in FEATURES:
        close(result[name].norm(dim=-1), torch.ones(len(result[name])), 1e-5)
        close(result[name], exact[name], 0.05)
    # It did run in half ...
    assert not torch.equal(result["image_features"], exact["image_features"])
    # ... but for the prompts of frozen CLIP, which are computed once.
    assert torch.equal(result["frozen_text_features"], exact["frozen_text_features"])
    close(result["loss"], exact["loss"], 0.05 * exact["loss"].item())
    result["loss"].backward()
    for name, parameter in model.learner.named_parameters():
        assert parameter.grad.dtype == torch.float32 and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_base_stored_in_half(dtype):
    exact = tiny_mmrl(tiny_clip().float()).float()
    model = tiny_mmrl(tiny_clip().to(dtype))
    result = MMRLTask(model, TOKENS)(IMAGES.to(dtype), LABELS)
    expected = MMRLTask(exact, TOKENS)(IMAGES.float(), LABELS)
    for name in ("loss", *FEATURES):
        assert result[name].dtype == torch.float32, name
    for name in FEATURES:
        close(result[name], expected[name], 0.1)
    result["loss"].backward()
    assert all(p.grad.isfinite().all() for p in model.learner.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_prompts_of_float32_run_in_half(dtype):
    """Prepared before the base is kept in half: converted where they are used."""
    exact = MMRLTask(tiny_mmrl(tiny_clip().float()).float(), TOKENS)
    task = copy.deepcopy(exact)
    task.model = in_half(task.model, "bf16" if dtype is torch.bfloat16 else "fp16")
    result = task(IMAGES.float(), LABELS)
    expected = exact(IMAGES.float(), LABELS)
    for name in FEATURES:
        assert result[name].dtype == torch.float32
        close(result[name], expected[name], 0.05)


@VARIANTS
@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_chunks_of_prompts_change_nothing(variant, family):
    model, found = tiny_mmrl(tiny_family(family), variant=variant), []
    for size, cache in ((None, True), (1, True), (3, True), (3, False)):
        model.zero_grad()
        task = MMRLTask(model, TOKENS, text_chunk_size=size, text_cache=cache)
        assert isinstance(task.classes.prompts, torch.Tensor) != cache
        result = task(IMAGES, LABELS)
        result["loss"].backward()
        found.append([result["loss"], *(p.grad.clone() for p in model.learner.parameters())])
    for other in found[1:]:
        for ours, theirs in zip(other, found[0], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_copy_is_independent():
    task = MMRLTask(tiny_mmrl(), TOKENS)
    twin = copy.deepcopy(task)
    before = task(IMAGES, LABELS)["loss"]
    shake(twin.model.learner)
    assert torch.equal(task(IMAGES, LABELS)["loss"], before)
    assert not torch.equal(twin(IMAGES, LABELS)["loss"], before)


def test_state_dict_is_the_model_s():
    task = MMRLTask(tiny_mmrl(), TOKENS)
    assert set(task.state_dict()) == {f"model.{name}" for name in task.model.state_dict()}


def test_one_class_and_one_image():
    result = MMRLTask(tiny_mmrl(), TOKENS[:1])(IMAGES[:1], torch.tensor([0]))
    assert result["logits"].shape == (1, 1)
    assert result["loss"].isfinite()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_unit_is_float32_or_better(dtype):
    vectors = torch.tensor([[3.0, 4.0], [1e-3, 0.0]]).to(dtype)
    result = unit(vectors)
    assert result.dtype == (torch.float64 if dtype is torch.float64 else torch.float32)
    close(result, torch.tensor([[0.6, 0.8], [1.0, 0.0]], dtype=result.dtype), 1e-6)


def test_loading_another_base_recomputes_the_frozen_text():
    tokens = tiny_prompts([4, 7])
    first = MMRLTask(tiny_mmrl(), tokens)
    second = MMRLTask(tiny_mmrl(tiny_clip(seed=3)), tokens)
    before = first.frozen_text_features
    first.load_state_dict(second.state_dict())
    assert not torch.allclose(before, second.frozen_text_features, atol=1e-3)
    torch.testing.assert_close(first.frozen_text_features, second.frozen_text_features)


@VARIANTS
def test_classes_are_computed_once_and_passed(variant):
    model = tiny_mmrl(variant=variant)
    expected = MMRLTask(model, TOKENS)(IMAGES, LABELS)
    classes = FrozenClasses.of(model, TOKENS)
    for other in (model, model.sibling()):
        other.learner.load_state_dict(model.learner.state_dict())
        with patch.object(CausalTextTower, "lower", side_effect=AssertionError):
            found = MMRLTask(other, classes)(IMAGES, LABELS)
        for name, value in expected.items():
            assert torch.equal(found[name], value), name


def test_prompts_that_are_not_tokenized_are_refused():
    with pytest.raises(ValueError, match=r"tokens is a list; give the token ids.*get_tokenizer"):
        MMRLTask(tiny_mmrl(), ["a cat", "a dog"])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 4, 1], r"labels have to be 0 to 3, by the classes: Target 4 "),
        ([0, -1, 1], r"labels have to be 0 to 3, by the classes: Target -1 "),
        ([0, 1], r"labels are of shape \(2,\); for 3 images they have to be \(3,\)"),
        ([[0], [1], [2]], r"labels are of shape \(3, 1\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, words):
    with pytest.raises(ValueError, match=words):
        MMRLTask(tiny_mmrl(), TOKENS)(IMAGES, torch.tensor(labels))
