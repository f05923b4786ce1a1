"""Image towers of every family: as the base without tokens, as the reference with them."""

from unittest.mock import patch

import pytest
import torch
from helpers.tiny import (
    IMAGE_FAMILIES,
    tiny_family,
    tiny_images,
    tiny_mmrl,
    tiny_prompts,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from open_clip.timm_model import TimmModel
from torch.nn import functional as F

from open_clip_mmrl import MMRLTask
from open_clip_mmrl.models.image_towers import timm_vit
from open_clip_mmrl.models.image_towers.families import image_reason
from open_clip_mmrl.models.precision import autocast, in_half
from open_clip_mmrl.models.reference import ReferenceTask

IMAGES, PROMPTS, LABELS = tiny_images(3), tiny_prompts([4, 7, 12]), torch.tensor([0, 1, 2])


def family_model(family, layers=3, **config):
    return tiny_mmrl(tiny_family(family, layers), **config)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def run(task):
    task.model.learner.zero_grad()
    result = task(IMAGES, LABELS)
    result["loss"].backward()
    return result, {n: p.grad.clone() for n, p in task.model.learner.named_parameters()}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(IMAGE_FAMILIES),
    st.sampled_from(["mmrl", "mmrl++"]),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from([0.0, 0.5]),
)
def test_agrees_with_the_reference(family, variant, layers, tokens, beta, norms):
    config = {"variant": variant, "start_layer": 4 - layers, "num_rep_tokens": tokens}
    config |= {"beta": beta, "norm_weight": norms, "sequence_weight": 2 * norms}
    model = family_model(family, layers, **config)
    (ours, gradients), (theirs, expected) = (
        run(MMRLTask(model, PROMPTS)),
        run(ReferenceTask(model, PROMPTS)),
    )
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=1e-9, msg=name)
    for name, value in gradients.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-9, msg=name)
    assert all(p.grad is None for n, p in model.named_parameters() if "learner" not in n)


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_without_tokens_it_is_the_base(family):
    clip = tiny_family(family)
    expected, model = clip.encode_image(IMAGES), tiny_mmrl(clip)
    close(model.encode_image(IMAGES, features="frozen"), expected)
    alone = model.encode_image(IMAGES[1:2], features="fused")
    close(alone, model.encode_image(IMAGES, features="fused")[1:2])  # whatever the batch


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_tokens_that_are_not_attended_to_change_nothing(family):
    model = family_model(family, beta=0.5, num_rep_tokens=3)
    attention, own = F.scaled_dot_product_attention, model.image_tower.lower(IMAGES)
    count = getattr(own, "x", own).shape[1]
    kept = slice(count) if isinstance(model.visual, TimmModel) else slice(3, None)

    def without(q, k, v, *args, **kwargs):
        if k.shape[2] == count + 3:
            k, v = k[:, :, kept], v[:, :, kept]
        return attention(q, k, v, *args, **kwargs)

    with patch.object(F, "scaled_dot_product_attention", without):
        found = model.encode_image(IMAGES)
    frozen = model.encode_image(IMAGES, features="frozen")
    close(found, frozen)
    assert not torch.allclose(model.encode_image(IMAGES), frozen, atol=1e-4)


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_representation_starts_at_the_head_of_the_base(family):
    """With U = 0, MMRL++ reads the token rows as the base reads its own rows."""
    model = family_model(family, variant="mmrl++")
    with torch.no_grad():
        model.learner.projection.residual_u.zero_()
    tower, rows = model.image_tower, torch.randn(3, 1, 16, dtype=torch.float64)
    found = tower.representation_feature(rows, model.learner.projection)
    is_timm = isinstance(model.visual, TimmModel)
    prefix = model.visual.trunk.num_prefix_tokens if is_timm else family != "attention"
    own = torch.cat([rows] * (1 + prefix), dim=1)  # class token, registers, one patch: all alike
    close(found, tower.class_feature(own))


@pytest.mark.parametrize("precision", ["bf16", "amp_bf16"])
@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_runs_in_half(family, precision):
    model, images = family_model(family, beta=0.5).float(), IMAGES.float()
    with autocast(precision, model.device):
        found = in_half(model, precision).encode_image(images, features="fused")
        literal = model.encode_image(images, features="fused")
    assert found.dtype == torch.bfloat16
    if precision == "amp_bf16":
        assert torch.equal(found, literal)
    torch.testing.assert_close(found.float(), literal.float(), rtol=0, atol=0.03)


def test_images_of_another_size_raise():
    with pytest.raises(ValueError, match=r"8 x 16 pixels.*takes 16 x 16.*force_image_size"):
        family_model("siglip").encode_image(IMAGES[:, :, :8])


def test_hooks_on_blocks_and_attention_of_timm_fire():
    model, seen = family_model("eva02"), []
    for block in model.visual.trunk.blocks:
        block.register_forward_hook(lambda *_: seen.append("block"))
        block.attn.register_forward_hook(lambda *_: seen.append("attention"))
    model.encode_image(IMAGES)
    assert seen == ["attention", "block"] * 3


@pytest.mark.parametrize("family", ["siglip", "eva02", "pe-core"])
def test_gradient_checkpointing_of_timm(family):
    model = family_model(family, start_layer=2)
    (_, expected), checkpoint = run(MMRLTask(model, PROMPTS)), timm_vit.checkpoint
    model.set_grad_checkpointing()
    with patch.object(timm_vit, "checkpoint", wraps=checkpoint) as used:
        _, found = run(MMRLTask(model, PROMPTS))
    assert used.call_count == 2  # layers with tokens; nothing else is differentiated
    for name, value in found.items():
        close(value, expected[name])


def test_batch_norms_and_chance_of_the_base_stay_off():
    """In training too: MobileCLIP has batch norms, and stochastic depth."""
    clip = tiny_family("mobileclip").train()
    norms = [m for m in clip.modules() if "BatchNorm" in type(m).__name__]
    before = [norm.running_mean.clone() for norm in norms]
    model = tiny_mmrl(clip).train()
    task = MMRLTask(model, PROMPTS).train()
    task(IMAGES, LABELS)
    assert model.training and model.learner.training and not model.visual.training
    assert norms and all(torch.equal(n.running_mean, b) for n, b in zip(norms, before, strict=True))


@pytest.mark.parametrize(
    ("name", "pool", "reason"),
    [
        ("resnet18", "avg", "image tower is a ResNet, not open_clip's or timm's VisionTransformer"),
        ("vit_relpos_small_patch16_224", "avg", "image tower is a VisionTransformerRelPos, not"),
        ("deit_tiny_distilled_patch16_224", "token", "is a VisionTransformerDistilled, not"),
        ("vit_tiny_patch16_224", "max", "image tower pools by timm's 'max', not one of"),
    ],
)
def test_other_towers_have_a_reason(name, pool, reason):
    with torch.device("meta"):
        visual = TimmModel(name, 8, pool=pool, proj=None)
    assert reason in image_reason(visual)


def test_what_is_no_tower_has_a_reason():
    assert "image tower is a NoneType" in image_reason(None)
    assert "image tower is a Linear" in image_reason(torch.nn.Linear(1, 1))
