import copy
import math
from dataclasses import replace

import pytest
import torch
from helpers.peers import frozen_batch, peer_task
from helpers.tiny import tiny_clip, tiny_family, tiny_images, tiny_mmrl, tiny_prompts
from torch import nn

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.peers.clip_lora import LowRank, merged, train_clip_lora, with_low_rank
from open_clip_mmrl.peers.methods import PEER_METHODS

TOKENS = tiny_prompts([3, 4, 6, 4])


def shaken(model) -> tuple:
    """A model with changes far from zero, without dropout, in float64."""
    changed, changes = with_low_rank(model, seed=1)
    for change in changes:
        change.double()
        change.dropout = 0.0
        nn.init.normal_(change.up)
    return changed, changes


def features(model) -> tuple:
    image = model.encode_image(tiny_images(), features="frozen")
    return image, model.encode_text(TOKENS, features="frozen")


def literal_model(clip, changes) -> nn.Module:
    """open_clip's own model; every map is W + B A / sqrt(2), as a function of A and B."""
    clip, places = copy.deepcopy(clip), iter(changes)
    for block in (*clip.visual.transformer.resblocks, *clip.transformer.resblocks):
        change, attention = next(places), block.attn
        maps = attention.in_proj_weight.detach().chunk(3)
        parts = [w + b @ a / 2**0.5 for w, b, a in zip(maps, change.up, change.down, strict=True)]
        del attention.in_proj_weight
        attention.in_proj_weight = torch.cat(parts)
    return clip


def test_features_and_gradients_are_those_of_changed_maps_in_open_clips_own_model():
    clip = tiny_clip()
    changed, changes = shaken(tiny_mmrl(clip))
    clip.requires_grad_(False)
    literal, found = literal_model(clip, changes), []
    wanted = literal.encode_image(tiny_images()), literal.encode_text(TOKENS)
    for image, text in (features(changed), wanted):
        loss = (image.sin().sum() + text.cos().sum()) * 10
        gradients = torch.autograd.grad(loss, [p for c in changes for p in c.parameters()])
        found.append((image, text, *gradients))
    assert len(found[0]) == 2 + 2 * 6
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    assert all(p.grad is None for p in clip.parameters())


def test_merged_weights_are_the_unmerged_ones_and_the_given_model_stays():
    model = tiny_mmrl()
    frozen = features(model)
    changed, changes = shaken(model)
    for one, unmerged, before, after in zip(
        features(merged(model, changes)), features(changed), frozen, features(model), strict=True
    ):
        torch.testing.assert_close(one, unmerged, rtol=0, atol=1e-9)
        assert torch.equal(before, after) and (one - before).abs().max() > 1e-3


def test_training_starts_at_frozen_clip_and_changes_the_low_rank_alone():
    task = peer_task("clip_lora", epochs=3)
    batch = frozen_batch(task)
    start = train_clip_lora(replace(task, train=task.train.replace(lr=0.0), max_steps=1))
    trained = train_clip_lora(replace(task, max_steps=2))
    for peer, close in ((start, 1e-4), (trained, None)):
        found = peer.scorer(task.loaded, task.subset)(batch)
        assert close is None or (found - batch.logits).abs().max() < close
    assert (found - batch.logits).abs().max() > 1e-4
    assert trained.images_seen == 2 * 8
    assert trained.num_parameters == 6 * 3 * 2 * 2 * (128 + 64)
    assert all(p.grad is None for p in task.loaded.model.parameters())
    assert [PEER_METHODS[name].max_steps(4) for name in ("clip_lora", "coop")] == [2000, math.inf]


def test_a_quarter_of_the_inputs_is_dropped_for_each_map():
    change = LowRank(4, torch.Generator().manual_seed(1))
    x = torch.ones(1, 5000, 4)
    first, second = change._dropped(x), change._dropped(x)
    assert not torch.equal(first, second)
    assert (first == 0).double().mean().item() == pytest.approx(0.25, abs=0.01)
    assert first.mean().item() == pytest.approx(1, abs=0.02)


def test_parameters_of_vit_b_16():
    generator = torch.Generator()
    per_layer = [sum(p.numel() for p in LowRank(w, generator).parameters()) for w in (768, 512)]
    assert 12 * sum(per_layer) == 184_320


def test_towers_of_others_are_refused():
    with pytest.raises(UsageError, match=r"clip_lora changes the blocks.*leave clip_lora out"):
        with_low_rank(tiny_mmrl(tiny_family("siglip")), seed=1)
