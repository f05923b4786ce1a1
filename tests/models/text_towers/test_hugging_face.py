"""Text towers from Hugging Face: tokens on the image side only."""

from unittest.mock import patch

import pytest
import torch
from helpers.tiny import CONTEXT, tiny_clip, tiny_mmrl, tiny_prompts, with_hf_text

from open_clip_mmrl import MMRLCLIP, MMRLConfig, MMRLTask
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.models.text_towers import hugging_face

TOKENS = tiny_prompts([4, 7, 12, 4])
TOKENS[3] = TOKENS[0]


@pytest.fixture(params=["bert", "xlm-roberta", "mt5"])
def clip(request, tmp_path):
    return with_hf_text(tiny_clip(custom=True, image_layers=4), request.param, tmp_path)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_text_features_are_stock(clip):
    stock, model = clip.encode_text(TOKENS), tiny_mmrl(clip)
    for kind in ("class", "frozen"):
        close(model.encode_text(TOKENS, features=kind), stock)
    with patch.object(hugging_face, "FROZEN_CHUNK", 1):
        close(model.encode_text(TOKENS), stock)
    assert model.encode_text(TOKENS[:0]).shape == (0, 10)
    assert model.text_tower.first_alike(TOKENS).tolist() == [0, 1, 2, 0]


def test_token_sides_become_image_and_start_layer_counts_in_the_image_tower(clip):
    model = MMRLCLIP.from_open_clip(clip, MMRLConfig(start_layer=2, rep_dim=4))
    assert model.config.token_sides == "image"
    assert model.learner.text_aligner is None and model.learner.layers == 3
    for start_layer in (5, 9):
        with pytest.raises(UsageError, match=r"this model has 4 image layers: allowed are 1 to 4"):
            MMRLCLIP.from_open_clip(clip, MMRLConfig(start_layer=start_layer))


@pytest.mark.parametrize("wanted", [{"token_sides": "text"}, {"space": "text_to_image"}])
def test_text_tokens_are_refused(tmp_path, wanted):
    clip = with_hf_text(tiny_clip(custom=True), "bert", tmp_path)
    with pytest.raises(UsageError, match="from Hugging Face and takes no tokens: leave both out"):
        MMRLCLIP.from_open_clip(clip, MMRLConfig(start_layer=2, **wanted))


def test_a_step_trains_the_learner_and_runs_the_text_tower_once(clip):
    model = tiny_mmrl(clip)
    task = MMRLTask(model, TOKENS)
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    with patch.object(type(model.text), "forward", side_effect=AssertionError):
        task(images, torch.tensor([0, 1]))["loss"].backward()
    assert all(p.grad is not None for p in model.learner.parameters())
    assert all(p.grad is None for p in model.text.parameters())


def test_wrong_tokens_raise(tmp_path):
    model = tiny_mmrl(with_hf_text(tiny_clip(custom=True), "bert", tmp_path))
    for tokens in (TOKENS.double(), torch.zeros(1, 2 * CONTEXT, dtype=torch.long)):
        with pytest.raises(ValueError, match=r"token ids \[prompts, up to 20\]"):
            model.encode_text(tokens)
