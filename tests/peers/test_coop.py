import copy
from dataclasses import replace

import pytest
import torch
from helpers.peers import frozen_batch, peer_task
from helpers.tiny import tiny_clip, tiny_mmrl, tiny_prompts
from torch.nn import functional as F

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.peers import coop
from open_clip_mmrl.peers.coop import ContextPrompts, CoOp, train_coop


def literal_features(clip, tokens, context):
    """Every row of every prompt through open_clip's own transformer."""
    rows = clip.token_embedding(tokens)
    end = tokens.argmax(dim=1) + len(context)
    shared = context.expand(len(tokens), -1, -1)
    rows = torch.cat([rows[:, :1], shared, rows[:, 1 : rows.shape[1] - len(context)]], dim=1)
    rows = clip.transformer(rows + clip.positional_embedding, attn_mask=clip.attn_mask)
    return F.normalize(clip.ln_final(rows)[range(len(tokens)), end] @ clip.text_projection, dim=-1)


def test_features_and_gradients_are_those_of_all_rows_in_every_layer():
    clip, tokens = tiny_clip(), tiny_prompts([3, 4, 6, 4])
    model, found = tiny_mmrl(clip), []
    start = 0.3 * torch.randn(
        5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    for features in (
        ContextPrompts(model, tokens, 5).features,
        lambda context: literal_features(clip, tokens, context),
    ):
        context = start.clone().requires_grad_()
        text = features(context)
        (text * torch.arange(10.0)).sum().backward()
        found.append((text, context.grad))
    for ours, literal in zip(*found, strict=True):
        torch.testing.assert_close(ours, literal, rtol=0, atol=1e-9)


def test_the_words_of_a_prompt_as_context_give_its_zero_shot_classifier():
    task = peer_task("coop")
    model = copy.deepcopy(task.loaded.model).double()
    loaded = task.loaded._replace(model=model)
    words = loaded.class_tokens(["one"], "a photo of a {}.")[0, 1:5]
    context = model.token_embedding(words).detach()
    given = {"num_parameters": 0, "images_seen": 1, "context": context, "precision": "fp32"}
    task = replace(task, loaded=loaded, subset=task.subset.with_template("a photo of a {}."))
    batch = frozen_batch(task)
    found = CoOp(**given).scorer(loaded, task.subset)(batch)
    torch.testing.assert_close(found, batch.logits, rtol=0, atol=1e-9)


def test_training_changes_the_context_alone():
    task = peer_task("coop", epochs=1)
    trained = train_coop(task)
    assert trained.context.shape == (16, 64) and trained.num_parameters == 16 * 64
    assert trained.images_seen == 8
    assert all(p.grad is None for p in task.loaded.model.parameters())
    other = train_coop(replace(task, train=task.train.replace(lr=0.0)))
    assert (trained.context - other.context).abs().max() > 0
    assert other.context.std().item() == pytest.approx(0.02, rel=0.1)


def test_what_cannot_take_a_context_is_refused():
    with pytest.raises(UsageError, match=r"9 context vectors, 1 of 2 prompts.*12 tokens: shorten"):
        ContextPrompts(tiny_mmrl(), tiny_prompts([3, 4]), 9)
    both = tiny_mmrl(tiny_clip(custom=True, text={"no_causal_mask": True}))
    with pytest.raises(UsageError, match=r"causal text tower.*leave coop out"):
        ContextPrompts(both, tiny_prompts([3]), 2)


def test_the_papers_epochs():
    found = [coop.recipe(shots, "dtd").epochs for shots in (1, 2, 4, 8, 16, "all")]
    assert found == [50, 100, 100, 200, 200, 200] and coop.recipe(16, "imagenet").epochs == 50
