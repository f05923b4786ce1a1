"""The image tower's stages against open_clip's own forward pass."""

import copy

import pytest
import torch
from helpers.tiny import tiny_clip, tiny_images, tiny_mmrl

from open_clip_mmrl.models.image_towers.families import image_reason
from open_clip_mmrl.models.image_towers.open_clip_vit import ClassTokenTower
from open_clip_mmrl.models.learner import FullProjection

IMAGES = tiny_images(3)
TOWERS = {
    "plain": {},
    "quick-gelu": {"quick_gelu": True},
    "layer-scale": {"vision": {"ls_init_value": 0.3}},
    "no-ln-pre": {"vision": {"no_ln_pre": True}},
    "ln-after-pool": {"vision": {"final_ln_after_pool": True}},
    "custom-blocks": {"vision": {"qk_norm": True, "scale_heads": True, "scale_attn": True}},
    "wide-picture": {"vision": {"image_size": (16, 32)}},
    "fixed-positions": {"vision": {"pos_embed_type": "sin_cos_2d"}},
    "five-layers": {"image_layers": 5},
    "one-layer": {"image_layers": 1},
}


@pytest.fixture(params=TOWERS)
def visual(request):
    return tiny_clip(**TOWERS[request.param]).visual.requires_grad_(False)


def images_for(visual, count=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, *visual.image_size, generator=generator, dtype=torch.float64)


def tokens(layers, count=2, width=16, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(layers, count, width, generator=generator, dtype=torch.float64)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_frozen_branch_equals_open_clip(visual):
    images, depth = images_for(visual), len(visual.transformer.resblocks)
    for count in range(1, depth + 1):
        tower = ClassTokenTower(visual, count)
        close(tower.class_feature(tower.without_tokens(tower.lower(images))), visual(images))


def test_lower_layers_equal_open_clip(visual):
    images, blocks = images_for(visual), visual.transformer.resblocks
    for count in range(1, len(blocks) + 1):
        x = visual._embeds(images)
        for block in blocks[: len(blocks) - count]:
            x = block(x)
        close(ClassTokenTower(visual, count).lower(images), x)


def all_rows(visual, images, tokens, beta):
    """All rows through all layers, with tokens between class token and patches."""
    x, blocks = visual._embeds(images), visual.transformer.resblocks
    first, count = len(blocks) - len(tokens), tokens.shape[1]
    for i, block in enumerate(blocks):
        if i >= first:
            own = tokens[i - first].expand(len(images), -1, -1)
            if i == first:
                x = torch.cat([x[:, :1], own, x[:, 1:]], dim=1)
            else:
                mixed = beta * own + (1 - beta) * x[:, 1 : 1 + count]
                x = torch.cat([x[:, :1], mixed, x[:, 1 + count :]], dim=1)
        x = block(x)
    return x[:, :1], x[:, 1 : 1 + count]


@pytest.mark.parametrize("beta", [1.0, 0.6, 0.0])
def test_tokens_are_between_class_token_and_patches(visual, beta):
    images = images_for(visual)
    for count in range(1, len(visual.transformer.resblocks) + 1):
        tower, given = ClassTokenTower(visual, count), tokens(count)
        expected = all_rows(visual, images, given, beta)
        for norms in (False, True):
            found = tower.with_tokens(tower.lower(images), given, beta, norms)
            close(found[:2], expected)
            assert (found.norms is not None) == norms


def test_beta_near_1_is_near_beta_1():
    """beta = 1 runs other code; it has to be the limit of beta -> 1."""
    visual = tiny_clip().visual
    tower, given = ClassTokenTower(visual, 2), tokens(2)
    hidden = tower.lower(IMAGES)
    for norms in (False, True):
        exact = tower.with_tokens(hidden, given, 1.0, norms)
        found = tower.with_tokens(hidden, given, 1.0 - 1e-9, norms)
        torch.testing.assert_close(exact, found, rtol=0, atol=1e-7)


def test_images_of_a_batch_are_independent():
    tower, given = ClassTokenTower(tiny_clip().visual, 2), tokens(2)
    for beta in (1.0, 0.5):
        whole = tower.with_tokens(tower.lower(IMAGES), given, beta)
        alone = tower.with_tokens(tower.lower(IMAGES[1:2]), given, beta)
        for ours, theirs in zip(alone[:2], whole[:2], strict=True):
            close(ours, theirs[1:2])


def test_tokens_are_converted_to_the_rows_dtype():
    visual = tiny_clip().visual.bfloat16()
    tower = ClassTokenTower(visual, 2)
    row, rows, _ = tower.with_tokens(tower.lower(IMAGES.bfloat16()), tokens(2), 0.5)
    assert row.dtype == rows.dtype == torch.bfloat16
    assert tower.representation_feature(rows, FullProjection(16, 10)).dtype == torch.bfloat16


def test_the_representation_is_normed_then_averaged():
    visual = tiny_clip().visual
    rows, projection = tokens(3, count=4), FullProjection(16, 10).double()
    projection.reset_parameters()
    found = ClassTokenTower(visual, 2).representation_feature(rows, projection)
    close(found, torch.stack([visual.ln_post(r).mean(0) for r in rows]) @ projection.weight)
    other_order = visual.ln_post(rows.mean(dim=1)) @ projection.weight
    assert not torch.allclose(found, other_order, atol=1e-3)


def test_the_tower_is_a_view():
    model = tiny_mmrl()
    tower = model.image_tower
    assert tower.visual is model.visual and tower.token_layers == 2
    before = copy.deepcopy(model.visual.state_dict())
    tower.with_tokens(tower.lower(IMAGES), tokens(2), 0.5)
    for name, value in model.visual.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_wrong_number_of_token_layers_raises():
    tower = ClassTokenTower(tiny_clip().visual, 2)
    with pytest.raises(ValueError, match="zip"):
        tower.with_tokens(tower.lower(IMAGES), tokens(3), 1.0)


def test_supported_towers_have_no_reason(visual):
    assert image_reason(visual) is None


def test_a_tower_without_projection_is_unsupported():
    visual = tiny_clip().visual
    visual.proj = None
    assert "has no projection" in image_reason(visual)


def test_a_tower_with_foreign_attention_is_unsupported():
    visual = tiny_clip().visual
    visual.transformer.resblocks[0].attn = torch.nn.MultiheadAttention(16, 2, kdim=8, vdim=8)
    assert "separate query, key and value weights" in image_reason(visual)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_images_are_converted_to_the_tower_s_dtype(dtype):
    tower = ClassTokenTower(tiny_clip().visual.requires_grad_(False).to(dtype), 2)
    rows = tower.lower(IMAGES)
    assert rows.dtype == dtype
    assert torch.equal(rows, tower.lower(IMAGES.to(dtype)))


def test_integer_images_raise():
    """Pixels that were not normalized are not images."""
    tower = ClassTokenTower(tiny_clip().visual, 2)
    with pytest.raises(RuntimeError):
        tower.lower(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
