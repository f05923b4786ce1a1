"""The bidirectional text tower's stages against open_clip's own forward pass."""

from unittest.mock import patch

import pytest
import torch
from helpers.tiny import CONTEXT, END, tiny_clip, tiny_mmrl, tiny_prompts

from open_clip_mmrl.models.text_towers import bidirectional
from open_clip_mmrl.models.text_towers.bidirectional import BidirectionalTextTower

TOKENS = tiny_prompts([4, 7, 12, 3, 5])
BETAS = pytest.mark.parametrize("beta", [1.0, 0.5])
TOWERS = {
    "siglip": {"pool_type": "last", "proj_bias": True},
    "mobileclip": {},
    "eos": {"pool_type": "eos", "eos_id": END},
    "first": {"pool_type": "first"},
    "custom-blocks": {"qk_norm": True, "scale_attn": True, "ls_init_value": 0.3},
}


@pytest.fixture(params=[(name, custom) for name in TOWERS for custom in (False, True)], ids=str)
def clip(request):
    name, custom = request.param
    text = {"no_causal_mask": True, **TOWERS[name]}
    return tiny_clip(custom=custom, text=text).requires_grad_(False)


def siglip():
    return tiny_clip(custom=True, text={"no_causal_mask": True, **TOWERS["siglip"]})


def rep_tokens(layers, count=2, width=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(layers, count, width, generator=generator, dtype=torch.float64)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def frozen(tower, tokens):
    return tower.project(tower.without_tokens(tower.lower(tokens)))


def test_frozen_branch_equals_open_clip(clip):
    for count in (1, 2, 3):
        close(frozen(BidirectionalTextTower.of(clip, count), TOKENS), clip.encode_text(TOKENS))


def all_rows(clip, tokens, given, beta, place):
    """All rows through all layers: tokens before row `place`."""
    tower = BidirectionalTextTower.of(clip)
    x, blocks, count = tower._embed(tokens), tower.transformer.resblocks, given.shape[1]
    first = len(blocks) - len(given)
    for i, block in enumerate(blocks):
        if i >= first:
            own = given[i - first].expand(len(tokens), -1, -1)
            before, after = x[:, :place], x[:, place:]
            if i > first:
                previous, after = after[:, :count], after[:, count:]
                own = beta * own + (1 - beta) * previous
            x = torch.cat([before, own, after], dim=1)
        x = block(x)
    end = tower.end_positions(tokens)
    return x[torch.arange(len(tokens)), torch.where(end >= place, end + count, end)]


@pytest.mark.parametrize("place", [0, 1, CONTEXT])
@pytest.mark.parametrize("beta", [1.0, 0.6, 0.0])
def test_the_place_of_tokens_has_no_effect(clip, beta, place):
    for count in (1, 2, 3):
        tower, given = BidirectionalTextTower.of(clip, count), rep_tokens(count)
        ours = tower.with_tokens(tower.lower(TOKENS), given, beta)
        close(ours, all_rows(clip, TOKENS, given, beta, place))


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@BETAS
def test_chunks_change_nothing(size, beta):
    tower, given, found = BidirectionalTextTower.of(siglip(), 2), rep_tokens(2), []
    given.requires_grad_()
    for chunk_size in (None, size):
        row = tower.with_tokens(tower.lower(TOKENS), given, beta, chunk_size)
        (gradient,) = torch.autograd.grad(row.square().sum(), given)
        found.append((row, gradient))
        with torch.no_grad(), patch.object(bidirectional, "FROZEN_CHUNK", size):
            close(tower.with_tokens(tower.lower(TOKENS), given, beta), row)
            close(frozen(tower, TOKENS), siglip().encode_text(TOKENS))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@BETAS
def test_prompts_are_independent(beta):
    """However they are batched, ordered or repeated."""
    tower, given = BidirectionalTextTower.of(siglip(), 2), rep_tokens(2)
    whole = tower.with_tokens(tower.lower(TOKENS), given, beta)
    for index in ([0], [3, 1], [4, 4, 0, 2, 1, 3]):
        close(tower.with_tokens(tower.lower(TOKENS[index]), given, beta), whole[index])
        close(frozen(tower, TOKENS[index]), frozen(tower, TOKENS)[index])


def test_padding_is_read_and_decides_on_what_is_alike():
    clip = siglip()
    other = TOKENS.clone()
    other[0, -2] = 5
    tower = BidirectionalTextTower.of(clip, 2)
    assert (frozen(tower, other)[0] - frozen(tower, TOKENS)[0]).abs().max() > 1e-6
    both = torch.cat([TOKENS, other])
    assert tower.first_alike(both).tolist() == [0, 1, 2, 3, 4, 5, 1, 2, 3, 4]


def test_last_layer_computes_the_pooled_row_alone():
    tower, given, seen = BidirectionalTextTower.of(siglip(), 2), rep_tokens(2), []
    prompts, run = tower.lower(TOKENS), bidirectional.run_block

    def spied(block, x, **how):
        seen.append((x.shape[1], None if how.get("queries") is None else how["queries"].shape[1]))
        return run(block, x, **how)

    with patch.object(bidirectional, "run_block", side_effect=spied):
        tower.with_tokens(prompts, given, 1.0)
        tower.with_tokens(prompts, given, 0.5)
    # With beta 1 tokens only give keys and values.
    assert seen == [(CONTEXT, None), (CONTEXT, 1), (CONTEXT + 2, None), (CONTEXT, 1)]


@BETAS
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_a_hook_on_a_block_fires_and_changes_nothing(beta, chunk_size):
    clip, given, seen = siglip(), rep_tokens(2), []
    tower = BidirectionalTextTower.of(clip, 2)
    prompts = tower.lower(TOKENS)
    expected = tower.with_tokens(prompts, given, beta)
    clip.text.transformer.resblocks[1].register_forward_hook(lambda *_: seen.append(1))
    close(tower.with_tokens(prompts, given, beta, chunk_size), expected)
    close(tower.with_tokens(tower.lower(TOKENS), given, beta), expected)
    close(frozen(tower, TOKENS), clip.encode_text(TOKENS))
    assert len(seen) > 3


def test_zero_prompts():
    clip = siglip()
    assert clip.encode_text(TOKENS[:0]).shape == (0, 10)
    model = tiny_mmrl(clip)
    for kind, width in (("class", 10), ("fused", 20), ("frozen", 10)):
        assert model.encode_text(TOKENS[:0], features=kind).shape == (0, width)
