"""Hooks, wrappers and LoRA on the towers: blocks are called as they are, the rest is reported."""

import logging

import pytest
import torch
from helpers.tiny import CONTEXT, tiny_clip, tiny_images, tiny_mmrl, tiny_prompts
from torch import nn

from open_clip_mmrl import MMRLTask
from open_clip_mmrl.models import whole_blocks
from open_clip_mmrl.models.precision import autocast, in_half
from open_clip_mmrl.models.reference import ReferenceTask

IMAGES, LABELS = tiny_images(3), torch.tensor([0, 3, 1])
TOKENS = torch.cat([tiny_prompts([4, 7, 12, 3]), torch.zeros(1, CONTEXT, dtype=torch.long)])
CUSTOM = pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])


@pytest.fixture(autouse=True)
def warned(caplog):
    whole_blocks._warn.cache_clear()
    whole_blocks._warn_bypassed.cache_clear()
    caplog.set_level(logging.WARNING)
    return caplog


def blocks_of(model):
    text = getattr(model, "text", model).transformer.resblocks
    return [*model.visual.transformer.resblocks, *text]


def hook(*_):
    return None


def own_forward(module):
    forward = module.forward
    module.forward = lambda *args, **kwargs: forward(*args, **kwargs)


class Wrapped(nn.Module):
    """An attention within another module."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


def wrap_attention(block):
    block.attn = Wrapped(block.attn)


CHANGES = {
    "forward-hook": lambda block: block.register_forward_hook(hook),
    "pre-hook": lambda block: block.register_forward_pre_hook(hook),
    "backward-hook": lambda block: block.mlp.register_full_backward_hook(hook),
    "hook-of-a-part": lambda block: block.mlp.c_fc.register_forward_hook(hook),
    "forward-of-its-own": own_forward,
    "forward-of-attention": lambda block: own_forward(block.attn),
    "wrapped-attention": wrap_attention,
}


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def step(task, model):
    model.zero_grad()
    result = task(IMAGES, LABELS)
    result["loss"].backward()
    gradients = [p.grad for p in model.learner.parameters() if p.grad is not None]
    return [value.detach() for value in result.values()] + gradients


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("where", [slice(None), slice(2, 3), slice(0, 1)], ids=str)
def test_results_stay_the_same(change, where, warned):
    model = tiny_mmrl(beta=0.7, sequence_weight=0.5)
    given = [IMAGES, TOKENS]
    encoded = [model.encode_image(IMAGES), model.encode_text(TOKENS)]
    task = MMRLTask(model, TOKENS)
    expected = step(task, model)
    assert not warned.records
    for block in blocks_of(model)[where]:
        CHANGES[change](block)
    close([model.encode_image(given[0]), model.encode_text(given[1])], encoded)
    again, later = MMRLTask(model, TOKENS, text_chunk_size=2), step(task, model)
    close(later, expected)
    close(step(again, model), expected)
    assert "blocks as they are" in warned.text
    assert len(warned.records) == 1


@pytest.mark.parametrize("precision", ["amp_bf16", "bf16"])
def test_in_half_precision(precision):
    losses = []
    for hooked in (False, True):
        model = tiny_mmrl().float()
        for block in blocks_of(model) if hooked else ():
            block.register_forward_hook(hook)
        with autocast(precision, torch.device("cpu")):
            task = MMRLTask(in_half(model, precision), TOKENS)
            losses.append(task(IMAGES.float(), LABELS)["loss"])
    torch.testing.assert_close(*losses, rtol=0.05, atol=0)


@pytest.mark.parametrize("beta", [1.0, 0.5])
@CUSTOM
def test_hooks_get_all_rows_in_stock_order(custom, beta):
    """Class token or BOS, representation tokens, the rest."""
    model, seen = tiny_mmrl(tiny_clip(custom=custom), beta=beta), {}
    for i, block in enumerate(blocks_of(model)):
        block.register_forward_hook(lambda _m, _x, y, i=i: seen.update({i: y}))
    model.encode_image(IMAGES)
    model.encode_text(TOKENS)
    assert [seen[i].shape[1] for i in range(6)] == [5, 7, 7, CONTEXT, CONTEXT + 2, CONTEXT + 2]
    expected = dict(seen)
    reference = ReferenceTask(model, TOKENS)
    reference.encode_image(IMAGES)
    reference._text()
    for i in range(6):
        close(expected[i], seen[i])


def test_changes_of_a_replaced_part_are_of_effect():
    """As LoRA on the attention, or on layers of the MLP."""
    for part in ("attn", "mlp"):
        model = tiny_mmrl().requires_grad_(True)
        before = model.encode_image(IMAGES)
        inner = getattr(model.visual.transformer.resblocks[0], part)
        scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

        class Scaled(Wrapped):
            def forward(self, *args, scale=scale, **kwargs):
                out = self.inner(*args, **kwargs)
                return (out[0] * scale, None) if isinstance(out, tuple) else out * scale

        setattr(model.visual.transformer.resblocks[0], part, Scaled(inner))
        after = model.encode_image(IMAGES)
        assert not torch.allclose(before, after)
        after.sum().backward()
        assert scale.grad is not None


def test_a_hook_that_was_removed_leaves_nothing(warned):
    model = tiny_mmrl()
    expected = model.encode_image(IMAGES)
    handle = blocks_of(model)[1].register_forward_hook(hook)
    model.encode_image(IMAGES)
    handle.remove()
    assert torch.equal(model.encode_image(IMAGES), expected)


@pytest.mark.parametrize("name", ["visual", "visual.transformer", "transformer", "text"])
def test_hooks_on_what_is_never_called_are_reported(name, warned):
    model = tiny_mmrl(tiny_clip(custom=name == "text"))
    model.get_submodule(name).register_forward_hook(hook)
    for _ in range(2):
        model.encode_image(IMAGES)
        model.encode_text(TOKENS)
    (record,) = warned.records
    assert f"Hooks on model.{name} do not fire" in record.message
    assert "Use its blocks" in record.message


def test_a_tower_that_was_replaced_is_refused():
    model = tiny_mmrl()
    model.visual = torch.compile(model.visual)
    with pytest.raises(ValueError, match=r"model\.visual has become a OptimizedModule.*blocks"):
        model.encode_image(IMAGES)


def test_blocks_within_another_module(warned):
    model = tiny_mmrl()
    expected = model.encode_image(IMAGES), model.encode_text(TOKENS)
    for blocks in (model.visual.transformer.resblocks, model.transformer.resblocks):
        blocks[1] = Wrapped(blocks[1])
    close([model.encode_image(IMAGES), model.encode_text(TOKENS)], list(expected))


def test_gradients_wanted_outside_of_the_learner_are_reported(warned):
    """As after LoRA: below the tokens there are none."""
    model = tiny_mmrl()
    MMRLTask(model, TOKENS)
    assert not warned.records
    model.visual.conv1.requires_grad_(True)
    MMRLTask(model, TOKENS)
    assert "1 parameters outside of model.learner" in warned.text
    assert "visual.conv1.weight" in warned.text


def test_captum():
    attr = pytest.importorskip("captum.attr")
    model = tiny_mmrl()
    block = model.visual.transformer.resblocks[-1]
    assert attr.LayerGradCam(model.encode_image, block).attribute(IMAGES, 0).shape == (3, 1, 16)
    assert attr.LayerActivation(model.encode_image, block.mlp).attribute(IMAGES).shape == (3, 7, 16)


@pytest.mark.parametrize("targets", [["attn"], ["c_fc", "c_proj"]], ids=str)
def test_lora(targets):
    """It changes both features, and all of its parameters get gradients."""
    peft = pytest.importorskip("peft")
    model = tiny_mmrl()
    before = model.encode_image(IMAGES), model.encode_text(TOKENS)
    config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
    peft.inject_adapter_in_model(config, model)
    after = model.encode_image(IMAGES), model.encode_text(TOKENS)
    assert not any(torch.allclose(*pair) for pair in zip(before, after, strict=True))
    sum(feature.square().sum() for feature in after).backward()
    lora = {name: p for name, p in model.named_parameters() if "lora" in name}
    assert lora and all(p.grad.abs().sum() > 0 for p in lora.values())
