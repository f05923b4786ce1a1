"""The text tower's stages against open_clip's own forward pass."""

from unittest.mock import patch

import pytest
import torch
from helpers.tiny import CONTEXT, END, START, tiny_clip, tiny_mmrl, tiny_prompts
from open_clip.transformer import text_global_pool
from torch.nn.attention.bias import CausalBias

from open_clip_mmrl.models.blocks import causal_mask
from open_clip_mmrl.models.text_towers import causal as text
from open_clip_mmrl.models.text_towers.causal import CausalTextTower
from open_clip_mmrl.models.text_towers.class_prompts import length_groups

TOKENS = tiny_prompts([4, 7, 12, 3, 5])
CAUSAL = causal_mask
CUSTOM = pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])
TOWERS = {
    "plain": {},
    "quick-gelu": {"quick_gelu": True},
    "layer-scale": {"text": {"ls_init_value": 0.3}},
    "projection-with-bias": {"text": {"proj_bias": True}},
    "no-projection": {"text": {"proj_type": "none", "width": 10}},
    "custom-blocks": {"text": {"qk_norm": True, "scale_heads": True, "scale_fc": True}},
    "pools-at-eos": {"text": {"pool_type": "eos", "eos_id": END}},
    "pools-last": {"text": {"pool_type": "last"}},
    "five-layers": {"text_layers": 5, "image_layers": 5},
    "one-layer": {"text_layers": 1},
}


@pytest.fixture(params=[(name, custom) for name in TOWERS for custom in (False, True)], ids=str)
def clip(request):
    name, custom = request.param
    return tiny_clip(custom=custom, **TOWERS[name]).requires_grad_(False)


def rep_tokens(layers, count=2, width=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(layers, count, width, generator=generator, dtype=torch.float64)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def depth(clip):
    return len(CausalTextTower.of(clip).transformer.resblocks)


def frozen(tower, tokens):
    return tower.project(tower.without_tokens(tower.lower(tokens)))


def test_frozen_branch_equals_open_clip(clip):
    for count in range(1, depth(clip) + 1):
        close(frozen(CausalTextTower.of(clip, count), TOKENS), clip.encode_text(TOKENS))


def all_rows(clip, tokens, given, beta):
    """All rows through all layers at full length: tokens after the first one."""
    tower = CausalTextTower.of(clip)
    x = tower.token_embedding(tokens) + tower.positional_embedding
    blocks, count = tower.transformer.resblocks, given.shape[1]
    first = len(blocks) - len(given)
    for i, block in enumerate(blocks):
        if i >= first:
            own = given[i - first].expand(len(tokens), -1, -1)
            if i == first:
                x = torch.cat([x[:, :1], own, x[:, 1:]], dim=1)
            else:
                mixed = beta * own + (1 - beta) * x[:, 1 : 1 + count]
                x = torch.cat([x[:, :1], mixed, x[:, 1 + count :]], dim=1)
        n = x.shape[1]
        x = block(x, attn_mask=torch.full((n, n), float("-inf"), dtype=x.dtype).triu(1))
    end = tower.end_positions(tokens) + count
    return x[torch.arange(len(tokens)), end]


@pytest.mark.parametrize("beta", [1.0, 0.6, 0.0])
def test_tokens_are_after_the_first_token(clip, beta):
    for count in range(1, depth(clip) + 1):
        tower = CausalTextTower.of(clip, count)
        given = rep_tokens(count, width=tower.token_embedding.embedding_dim)
        close(
            tower.with_tokens(tower.lower(TOKENS), given, beta),
            all_rows(clip, TOKENS, given, beta),
        )


@CUSTOM
@pytest.mark.parametrize("cost", [0, 5])
def test_groups_of_similar_length_change_nothing(custom, cost):
    """By default so few prompts are one group: here a group costs less."""
    clip, tokens = tiny_clip(custom=custom), torch.cat([TOKENS, TOKENS.roll(1, 0)[:, :CONTEXT]])
    tower, given = CausalTextTower.of(clip, 2), rep_tokens(2)
    assert len(tower.lower(tokens).groups) == 1
    with patch.object(length_groups, "__defaults__", (cost,)):
        assert len(tower.lower(tokens).groups) > 1
        close(frozen(tower, tokens), clip.encode_text(tokens))
        for beta in (1.0, 0.5):
            found = tower.with_tokens(tower.lower(tokens), given, beta)
            close(found, all_rows(clip, tokens, given, beta))


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_chunks_change_nothing(size, beta):
    tower, given = CausalTextTower.of(tiny_clip(), 2), rep_tokens(2).requires_grad_()
    found = []
    for chunk_size in (None, size):
        row = tower.with_tokens(tower.lower(TOKENS), given, beta, chunk_size)
        (gradient,) = torch.autograd.grad(row.square().sum(), given)
        found.append((row, gradient))
        with torch.no_grad(), patch.object(text, "FROZEN_CHUNK", size):
            close(tower.with_tokens(tower.lower(TOKENS), given, beta), row)
            close(tower.without_tokens(tower.lower(TOKENS)), frozen_row(tower))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def frozen_row(tower):
    return tower.without_tokens(tower.lower(TOKENS))


@CUSTOM
def test_zero_prompts(custom):
    clip = tiny_clip(custom=custom)
    assert clip.encode_text(TOKENS[:0]).shape == (0, 10)
    model = tiny_mmrl(clip)
    for kind, width in (("class", 10), ("fused", 20), ("frozen", 10)):
        assert model.encode_text(TOKENS[:0], features=kind).shape == (0, width)


@CUSTOM
def test_cropped_prompts_equal_full_ones(custom):
    """Rows after the end are never read, cropped or not."""
    clip = tiny_clip(custom=custom)
    tower, short = CausalTextTower.of(clip, 2), tiny_prompts([4, 7, 6])
    given = rep_tokens(2)
    expected = clip.encode_text(short)
    full = tower.with_tokens(tower.lower(short), given, 0.7)
    for length in (7, 9, CONTEXT):
        cropped = short[:, :length]
        close(frozen(tower, cropped), expected)
        close(tower.with_tokens(tower.lower(cropped), given, 0.7), full)
    garbage = short.clone()
    for row, end in zip(garbage, [4, 7, 6], strict=True):
        row[end:] = torch.randint(1, START, (CONTEXT - end,))
    close(tower.with_tokens(tower.lower(garbage), given, 0.7), full)
    close(frozen(tower, garbage), expected)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_prompts_are_independent(beta):
    """However they are batched, ordered or repeated."""
    tower, given = CausalTextTower.of(tiny_clip(), 2), rep_tokens(2)
    whole = tower.with_tokens(tower.lower(TOKENS), given, beta)
    for index in ([0], [2], [3, 1], [4, 4, 0, 2, 1, 3]):
        close(tower.with_tokens(tower.lower(TOKENS[index]), given, beta), whole[index])
        close(frozen(tower, TOKENS[index]), frozen(tower, TOKENS)[index])


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_prompts_with_different_first_tokens(beta):
    clip = tiny_clip()
    tokens = torch.cat([tiny_prompts([5, 9], first=first, seed=first) for first in (3, START, 7)])
    tower, given = CausalTextTower.of(clip, 2), rep_tokens(2)
    close(frozen(tower, tokens), clip.encode_text(tokens))
    close(tower.with_tokens(tower.lower(tokens), given, beta), all_rows(clip, tokens, given, beta))


@CUSTOM
def test_a_prompt_without_an_end_is_read_at_its_first_token(custom):
    clip = tiny_clip(custom=custom)
    tokens = torch.cat([TOKENS[:2], torch.zeros(2, CONTEXT, dtype=torch.long)])
    for given in (tokens, tokens[2:]):
        for count in (1, 3):
            close(frozen(CausalTextTower.of(clip, count), given), clip.encode_text(given))


def bias_as_on_a_gpu(rows, prefix, device):
    return CAUSAL(rows, prefix, torch.device("cuda"))


@pytest.mark.parametrize(("rows", "prefix"), [(1, 0), (6, 0), (1, 4), (3, 1), (5, 6)])
def test_the_causal_bias_of_a_gpu_is_the_mask_of_the_cpu(rows, prefix):
    mask, bias = (CAUSAL(rows, prefix, torch.device(kind)) for kind in ("cpu", "cuda"))
    assert isinstance(bias, CausalBias)
    assert torch.equal(bias._materialize(), mask)


@CUSTOM
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_the_causal_bias_of_a_gpu_changes_nothing(custom, beta):
    """Passed to attention on the CPU, which turns it into a mask."""
    tower = CausalTextTower.of(
        tiny_clip(custom=custom, text={"qk_norm": True} if custom else None), 2
    )
    given, found = rep_tokens(2).requires_grad_(), []

    def run():
        row = tower.with_tokens(tower.lower(TOKENS), given, beta)
        (gradient,) = torch.autograd.grad(row.square().sum(), given)
        found.append((row, gradient))

    run()
    with patch.object(text, "causal_mask", side_effect=bias_as_on_a_gpu) as made:
        run()
    assert made.call_count >= 4
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_gradients_reach_the_tokens_of_every_layer():
    tower, given = CausalTextTower.of(tiny_clip(), 3), rep_tokens(3).requires_grad_()
    for beta in (1.0, 0.5):
        (gradient,) = torch.autograd.grad(
            tower.with_tokens(tower.lower(TOKENS), given, beta).square().sum(), given
        )
        assert (gradient.abs().amax(dim=(1, 2)) > 0).all()


@pytest.mark.parametrize("pool", ["argmax", "eos", "last"])
@CUSTOM
def test_row_that_is_read_is_open_clip_s(pool, custom):
    tower = CausalTextTower.of(tiny_clip(custom=custom, text={"pool_type": pool, "eos_id": 5}))
    tokens = torch.tensor([[1, 5, 9, 9], [9, 5, 1, 5], [1, 2, 3, 4], [0, 0, 0, 0]])
    positions = torch.arange(4.0).expand(4, 4)
    expected = text_global_pool(positions, tokens, pool, eos_token_id=5)
    assert tower.end_positions(tokens).tolist() == expected.int().tolist()


@CUSTOM
def test_the_tower_is_a_view(custom):
    model = tiny_mmrl(tiny_clip(custom=custom))
    tower, holder = model.text_tower, model.text if custom else model
    assert tower.token_layers == 2
    assert tower.token_embedding is holder.token_embedding
    assert tower.positional_embedding is holder.positional_embedding
    assert tower.transformer is holder.transformer
    assert tower.text_projection is holder.text_projection


def test_length_is_the_number_of_prompts():
    tower = CausalTextTower.of(tiny_clip(), 2)
    assert len(tower.lower(TOKENS)) == 5
    assert len(tower.lower(TOKENS[:1])) == 1


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_integer_ids_of_any_width(dtype):
    clip = tiny_clip()
    close(frozen(CausalTextTower.of(clip, 2), TOKENS.to(dtype)), clip.encode_text(TOKENS))


@pytest.mark.parametrize(
    ("tokens", "given"),
    [
        (torch.zeros(CONTEXT, dtype=torch.long), r"torch\.int64 of shape \(12,\)"),
        (torch.zeros(1, 2, 3, dtype=torch.long), r"torch\.int64 of shape \(1, 2, 3\)"),
        (torch.zeros(2, CONTEXT + 1, dtype=torch.long), r"torch\.int64 of shape \(2, 13\)"),
        (torch.zeros(2, 0, dtype=torch.long), r"torch\.int64 of shape \(2, 0\)"),
        (torch.zeros(2, CONTEXT), r"torch\.float32 of shape \(2, 12\)"),
    ],
)
def test_wrong_tokens_raise(tokens, given):
    words = rf"text is {given}; .*token ids \[prompts, up to 12\], as the model's tokenizer"
    for encode in (CausalTextTower.of(tiny_clip(), 2).lower, tiny_mmrl().encode_text):
        with pytest.raises(ValueError, match=words):
            encode(tokens)


@pytest.mark.parametrize("wrong", [-1, 10**6])
def test_token_ids_of_another_tokenizer_raise(wrong):
    with pytest.raises(ValueError, match=r"text has token ids up to .* another model's tokenizer"):
        tiny_mmrl().encode_text(torch.full((2, CONTEXT), wrong))
