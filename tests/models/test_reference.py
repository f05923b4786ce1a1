"""The model proper against the literal reference: features, loss and all gradients, to 1e-9."""

from unittest.mock import patch

import pytest
import torch
from helpers.tiny import (
    CONTEXT,
    START,
    tiny_clip,
    tiny_images,
    tiny_mmrl,
    tiny_prompts,
    with_hf_text,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from open_clip_mmrl import MMRLTask
from open_clip_mmrl.models import blocks
from open_clip_mmrl.models.reference import ReferenceTask
from open_clip_mmrl.models.text_towers.class_prompts import length_groups


def assert_agree(model, tokens, images, labels, chunk=None):
    results, gradients = [], []
    for task in (MMRLTask(model, tokens, chunk), ReferenceTask(model, tokens)):
        model.learner.zero_grad()
        result = task(images, labels)
        result["loss"].backward()
        results.append(result)
        gradients.append({n: p.grad.clone() for n, p in model.learner.named_parameters()})
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=0, atol=1e-9, msg=name)
    for name, value in gradients[0].items():
        torch.testing.assert_close(value, gradients[1][name], rtol=1e-9, atol=1e-9, msg=name)


# Each with the variants that allow it: the paper's ablation is of MMRL.
ABLATIONS = {
    "w/o L": {"token_sides": "image"},
    "w/o V": {"token_sides": "text"},
    "w/o RS": {"space": "independent"},
    "w/o RS and L": {"space": "independent", "token_sides": "image"},
    "w/o RS and V": {"space": "independent", "token_sides": "text"},
    "MMRL-dagger": {"space": "text_to_image"},
    "L1": {"regularizer": "l1"},
    "MSE": {"regularizer": "mse"},
    "norms": {"norm_weight": 0.3, "sequence_weight": 0.7},
    "calibration": {"margin_weight": 0.3, "margin_variance_weight": 0.02, "moment_weight": 5.0},
}
ALLOWED = [
    {"variant": variant, **settings}
    for variant in ("mmrl", "mmrl++")
    for settings in ({}, *ABLATIONS.values())
    if variant == "mmrl" or "space" not in settings
]


@st.composite
def cases(draw):
    image_layers, text_layers = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    lowest = max(1, text_layers - image_layers + 1)
    return {
        "custom": draw(st.booleans()),
        "image_layers": image_layers,
        "text_layers": text_layers,
        "method": draw(st.sampled_from(ALLOWED)),
        "regularizer": draw(st.sampled_from(["cosine", "l1", "mse"])),
        "start_layer": draw(st.integers(lowest, text_layers)),
        "num_rep_tokens": draw(st.integers(1, 8)),
        "moment_weight": draw(st.sampled_from([0.0, 3.0])),
        "margin_variance_weight": draw(st.sampled_from([0.0, 0.02])),
        "alpha": draw(st.sampled_from([0.0, 0.3, 0.7, 1.0])),
        "beta": draw(st.sampled_from([0.0, 0.4, 1.0])),
        "reg_weight": draw(st.sampled_from([0.0, 0.5, 7.0])),
        "lengths": draw(st.lists(st.integers(3, CONTEXT), min_size=1, max_size=40)),
        "causal": (causal := draw(st.booleans())),
        "pool": draw(st.sampled_from(["argmax", "eos", "last", *([] if causal else ["first"])])),
        "chunk": draw(st.sampled_from([None, 1, 3, 50])),
        "group_cost": draw(st.sampled_from([0, 4, 256])),
    }


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(cases())
def test_agrees_with_the_reference(case):
    text = {"pool_type": case["pool"], "eos_id": 39, "no_causal_mask": not case["causal"]}
    clip = tiny_clip(
        custom=case["custom"],
        image_layers=case["image_layers"],
        text_layers=case["text_layers"],
        text=text,
    )
    names = ("start_layer", "num_rep_tokens", "alpha", "beta", "reg_weight", "regularizer")
    names += ("moment_weight", "margin_variance_weight")
    model = tiny_mmrl(clip, **{**{name: case[name] for name in names}, **case["method"]})
    tokens, labels = tiny_prompts(case["lengths"]), torch.tensor([0, 1, 2]) % len(case["lengths"])
    with patch.object(length_groups, "__defaults__", (case["group_cost"],)):
        assert_agree(model, tokens, tiny_images(3), labels, case["chunk"])


@pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])
@pytest.mark.parametrize("beta", [None, 0.6])
@pytest.mark.parametrize("method", ALLOWED, ids=lambda m: " ".join(map(str, m.values())))
def test_agrees_on_the_variants_of_the_ablation(method, beta, custom):
    clip = tiny_clip(custom=custom, image_layers=4)
    model = tiny_mmrl(clip, beta=beta, reg_weight=3.0, **method)
    assert_agree(model, tiny_prompts([4, 7, 12]), tiny_images(), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize(
    "settings",
    [
        {"text": {"proj_bias": True}, "custom": True},
        {"text": {"proj_type": "none", "width": 10}, "custom": True},
        {"vision": {"ls_init_value": 0.3}, "text": {"ls_init_value": 0.2}},
        {"vision": {"no_ln_pre": True, "final_ln_after_pool": True}},
        {"vision": {"qk_norm": True, "scale_heads": True, "scale_attn": True}},
        {"text": {"scale_attn_inner": True, "scale_fc": True}},
        {"text": {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}, "custom": True},
        {"text": {"no_causal_mask": True, "qk_norm": True}, "init_logit_bias": -10.0},
        {"quick_gelu": True, "init_logit_bias": -2.0},
        {"vision": {"image_size": 16, "pos_embed_type": "sin_cos_2d", "mlp_ratio": 2.5}},
    ],
    ids=lambda s: "-".join(k for v in s.values() if isinstance(v, dict) for k in v) or "gelu-bias",
)
@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
def test_agrees_on_every_kind_of_tower(settings, variant):
    model = tiny_mmrl(tiny_clip(**settings), variant=variant)
    assert_agree(model, tiny_prompts([4, 7, 12]), tiny_images(), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("text", [None, {"no_causal_mask": True}], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
def test_agrees_with_gradient_checkpointing(text, variant):
    model = tiny_mmrl(tiny_clip(custom=variant == "mmrl", text=text), variant=variant)
    model.set_grad_checkpointing()
    with patch.object(blocks, "checkpoint", wraps=blocks.checkpoint) as used:
        task = MMRLTask(model, tiny_prompts([4, 7]))
        task(tiny_images(2), torch.tensor([0, 1]))["loss"].backward()
    assert used.call_count == 2  # the one layer with tokens below the last, of both towers
    assert_agree(model, tiny_prompts([4, 7, 12]), tiny_images(), torch.tensor([0, 1, 2]))


def test_agrees_when_prompts_begin_differently():
    """Without a BOS token (some multilingual tokenizers) the shared prefix is one per beginning."""
    tokens = torch.cat([tiny_prompts([5, 9], first=f, seed=f) for f in (3, START, 7)])
    assert_agree(tiny_mmrl(), tokens, tiny_images(), torch.tensor([0, 3, 5]))
    assert_agree(tiny_mmrl(beta=0.4), tokens, tiny_images(), torch.tensor([0, 3, 5]))


def test_agrees_when_a_prompt_has_no_end():
    """All-zero token ids, as open_clip's tracing uses: the first row is read, as open_clip does."""
    tokens = torch.cat([tiny_prompts([6]), torch.zeros(2, CONTEXT, dtype=torch.long)])
    assert_agree(tiny_mmrl(), tokens, tiny_images(), torch.tensor([0, 1, 2]))
    only = torch.zeros(2, CONTEXT, dtype=torch.long)
    assert_agree(tiny_mmrl(beta=0.4), only, tiny_images(2), torch.tensor([0, 1]))


@pytest.mark.parametrize("kind", ["xlm-roberta", "mt5", "bert"])
@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
def test_agrees_with_a_text_tower_from_hugging_face(kind, variant, tmp_path):
    model = tiny_mmrl(with_hf_text(tiny_clip(custom=True), kind, tmp_path), variant=variant)
    assert model.config.token_sides == "image" and model.learner.text_aligner is None
    assert_agree(model, tiny_prompts([4, 7, 12]), tiny_images(), torch.tensor([0, 1, 2]))
