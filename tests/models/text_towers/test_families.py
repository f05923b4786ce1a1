"""Which family a text tower is of, and why some are of none."""

import pytest
import torch
from helpers.tiny import tiny_clip, with_hf_text

from open_clip_mmrl.models.text_towers.bidirectional import BidirectionalTextTower
from open_clip_mmrl.models.text_towers.causal import CausalTextTower
from open_clip_mmrl.models.text_towers.families import text_reason, text_tower
from open_clip_mmrl.models.text_towers.hugging_face import HuggingFaceTextTower

CUSTOM = pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])


@CUSTOM
@pytest.mark.parametrize(
    ("text", "family"),
    [
        ({}, CausalTextTower),
        ({"pool_type": "eos"}, CausalTextTower),
        ({"no_causal_mask": True, "pool_type": "last"}, BidirectionalTextTower),
        ({"no_causal_mask": True, "pool_type": "first"}, BidirectionalTextTower),
        ({"no_causal_mask": True}, BidirectionalTextTower),
    ],
    ids=str,
)
def test_open_clip_towers_are_of_a_family(custom, text, family):
    clip = tiny_clip(custom=custom, text=text)
    assert text_reason(clip) is None
    tower = text_tower(clip)
    assert type(tower) is family
    assert (tower.width, tower.depth, tower.vocab_size, tower.has_tokens) == (12, 3, 40, True)


def test_an_end_token_without_a_number_has_a_reason():
    """As open_clip's unreleased main may build it."""
    clip = tiny_clip(custom=True, text={"pool_type": "eos"})
    clip.text.eos_id = None
    assert "without an eos_id" in text_reason(clip)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "mt5"])
def test_hugging_face_towers_take_no_tokens(kind, tmp_path):
    clip = with_hf_text(tiny_clip(custom=True), kind, tmp_path)
    assert text_reason(clip) is None
    tower = text_tower(clip)
    assert type(tower) is HuggingFaceTextTower
    assert (tower.width, tower.depth, tower.vocab_size, tower.has_tokens) == (8, 2, 40, False)


class _Foreign(torch.nn.Module):
    """A text tower of another family."""


def foreign():
    clip = tiny_clip(custom=True)
    clip.text = _Foreign()
    return clip


def split_attention():
    clip = tiny_clip()
    clip.transformer.resblocks[0].attn = torch.nn.MultiheadAttention(12, 2, kdim=8, vdim=8)
    return clip


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (foreign, "text tower is a _Foreign, not open_clip's TextTransformer"),
        (lambda: tiny_clip(custom=True, text={"embed_cls": True}), "appended class token (CoCa)"),
        (
            lambda: tiny_clip(text={"pool_type": "first"}),
            "pools by 'first', not one of ('argmax', 'eos', 'last')",
        ),
        (split_attention, "separate query, key and value weights"),
    ],
)
def test_unsupported_towers_have_a_reason(clip, reason):
    assert reason in text_reason(clip())
