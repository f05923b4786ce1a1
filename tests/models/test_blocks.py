"""One block run row by row, against open_clip's own forward pass over all rows."""

from types import SimpleNamespace

import pytest
import torch
from helpers.tiny import shake
from open_clip.transformer import (
    CustomResidualAttentionBlock,
    LayerNormFp32,
    QuickGELU,
    ResidualAttentionBlock,
)
from torch import nn

from open_clip_mmrl.models.blocks import KeysValues, block_reason, keys_values, run_block

BATCH, ROWS, WIDTH, HEADS = 3, 7, 12, 2

BLOCKS = {
    "plain": (ResidualAttentionBlock, {}),
    "layer scale": (ResidualAttentionBlock, {"ls_init_value": 0.3}),
    "quick gelu": (ResidualAttentionBlock, {"act_layer": QuickGELU, "mlp_ratio": 2.5}),
    "custom": (CustomResidualAttentionBlock, {}),
    "qk norm": (CustomResidualAttentionBlock, {"qk_norm": True}),
    "scaled heads": (CustomResidualAttentionBlock, {"scale_heads": True, "ls_init_value": 0.2}),
    "inner norms": (
        CustomResidualAttentionBlock,
        {"scale_attn_inner": True, "scale_attn": True, "scale_fc": True},
    ),
    "everything": (
        CustomResidualAttentionBlock,
        {
            "qk_norm": True,
            "scale_heads": True,
            "scale_attn_inner": True,
            "scale_attn": True,
            "scale_fc": True,
            "ls_init_value": 0.4,
        },
    ),
}


@pytest.fixture(params=BLOCKS, ids=lambda name: name.replace(" ", "-"))
def block(request):
    torch.manual_seed(0)
    block_class, options = BLOCKS[request.param]
    return shake(block_class(WIDTH, HEADS, **options), std=0.3).double()


def rows(count=ROWS, batch=BATCH, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, count, WIDTH, generator=generator, dtype=torch.float64)


def causal(count):
    """True where a query row may attend."""
    return torch.ones(count, count, dtype=torch.bool).tril()


def additive(mask):
    """open_clip's form of a mask: what is added to the scores."""
    return torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, float("-inf"))


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_all_rows(block):
    close(run_block(block, rows()), block(rows()))


def test_a_mask(block):
    theirs = block(rows(), attn_mask=additive(causal(ROWS)))
    close(run_block(block, rows(), mask=causal(ROWS)), theirs)
    assert not torch.allclose(theirs, block(rows()), atol=1e-3)


@pytest.mark.parametrize("queries", [slice(0, 1), slice(2, 5), slice(6, 7), slice(0, 7)])
@pytest.mark.parametrize("masked", [False, True])
def test_some_query_rows(block, queries, masked):
    mask = causal(ROWS) if masked else torch.ones(ROWS, ROWS, dtype=torch.bool)
    x = rows()
    ours = run_block(block, x, queries=x[:, queries], mask=mask[queries])
    close(ours, block(x, attn_mask=additive(mask))[:, queries])


def test_a_different_query_row_in_every_sample(block):
    """As the text tower reads each prompt at its own end."""
    x, positions = rows(), torch.tensor([2, 6, 0])
    queries = x[torch.arange(BATCH), positions].unsqueeze(1)
    mask = (torch.arange(ROWS) <= positions[:, None])[:, None, None]
    ours = run_block(block, x, queries=queries, mask=mask)[:, 0]
    close(ours, block(x, attn_mask=additive(causal(ROWS)))[torch.arange(BATCH), positions])


@pytest.mark.parametrize("batch", [1, BATCH])
def test_shared_rows_are_in_front(block, batch):
    front, x = rows(4, batch, seed=2), rows()
    whole = torch.cat([front.expand(BATCH, -1, -1), x], dim=1)
    ours = run_block(block, x, shared=keys_values(block, front))
    close(ours, block(whole)[:, 4:])
    ours = run_block(block, x, queries=x[:, :2], shared=keys_values(block, front))
    close(ours, block(whole)[:, 4:6])


def test_shared_rows_under_a_mask(block):
    front, x = rows(4, 1, seed=2), rows()
    whole = torch.cat([front.expand(BATCH, -1, -1), x], dim=1)
    theirs = block(whole, attn_mask=additive(causal(4 + ROWS)))
    ours = run_block(block, x, shared=keys_values(block, front), mask=causal(4 + ROWS)[4:])
    close(ours, theirs[:, 4:])
    # The rows in front do not see x, so they can be run alone.
    close(run_block(block, front, mask=causal(4)).expand(BATCH, -1, -1), theirs[:, :4])


def test_gradients(block):
    front, x = rows(4, 1, seed=2).requires_grad_(), rows().requires_grad_()
    whole = torch.cat([front.expand(BATCH, -1, -1), x], dim=1)
    theirs = torch.autograd.grad(block(whole)[:, 4:6].square().sum(), [front, x])
    found = run_block(block, x, queries=x[:, :2], shared=keys_values(block, front))
    ours = torch.autograd.grad(found.square().sum(), [front, x])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_shape_of_keys_and_values(block):
    lent = keys_values(block, rows(4, 1))
    assert isinstance(lent, KeysValues)
    assert lent.keys.shape == lent.values.shape == (1, HEADS, 4, WIDTH // HEADS)


def test_without_biases():
    block = CustomResidualAttentionBlock(WIDTH, HEADS).double()
    shake(block)
    block.attn.in_proj_bias = None
    close(run_block(block, rows()), block(rows()))
    x = rows()
    close(run_block(block, x, queries=x[:, :1]), block(x)[:, :1])


def test_in_half_precision(block):
    block = block.float()
    x = rows().float()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = run_block(block, x, queries=x[:, :2]), block(x)[:, :2]
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.05, atol=0.1)


def test_every_kind_used_above_is_supported(block):
    assert block_reason(block) is None


@pytest.mark.parametrize(
    ("attention", "reason"),
    [
        (nn.MultiheadAttention(8, 2, kdim=6, vdim=6), "separate query, key and value weights"),
        (SimpleNamespace(to_q=nn.Linear(2, 2)), "separate query, key and value weights"),
        (
            CustomResidualAttentionBlock(8, 2, scale_cosine_attn=True).attn,
            "scaled cosine attention",
        ),
    ],
    ids=["split", "foreign", "cosine"],
)
def test_unsupported_attention_has_a_reason(attention, reason):
    assert reason in block_reason(SimpleNamespace(attn=attention))


def test_norms_in_float32_inside_a_half_block():
    """What open_clip builds when it casts: half weights, float32 norms."""
    block = ResidualAttentionBlock(WIDTH, HEADS, norm_layer=LayerNormFp32)
    x = rows().bfloat16()
    exact = shake(block)(rows().float())
    block = block.bfloat16()
    for norm in (block.ln_1, block.ln_2):
        norm.float()
    ours = run_block(block, x, queries=x[:, :3])
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), exact[:, :3], rtol=0.05, atol=0.15)
