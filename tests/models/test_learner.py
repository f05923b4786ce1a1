"""What is trained: how much of it, where it starts, and the rules by which it is loaded."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from helpers.tiny import shake, tiny_clip, tiny_config, tiny_mmrl

from open_clip_mmrl import MMRLCLIP, MMRLConfig
from open_clip_mmrl.models.learner import (
    FullProjection,
    PerLayerAligner,
    RepresentationLearner,
    ResidualProjection,
    SharedResidualAligner,
)

VIT_B_16 = {"image_width": 768, "text_width": 512, "embed_dim": 512, "layers": 7}
VARIANTS = pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])


def learner(variant, seed=0, **kwargs):
    torch.manual_seed(seed)
    return RepresentationLearner(MMRLConfig(variant=variant, **kwargs), **VIT_B_16)


@pytest.fixture(scope="module", params=["mmrl", "mmrl++"])
def start(request):
    """A learner at its start, at the paper's size."""
    return learner(request.param)


# How much.


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"variant": "mmrl"}, 4_992_256),
        ({"variant": "mmrl", "rep_dim": 2048}, 18_762_496),
        ({"variant": "mmrl", "rep_dim": 32}, 689_056),
        ({"variant": "mmrl++"}, 813_312),
    ],
)
def test_parameter_counts_are_the_paper_s(settings, count):
    with torch.device("meta"):
        found = RepresentationLearner(MMRLConfig(**settings), **VIT_B_16)
    assert sum(p.numel() for p in found.parameters()) == count


def maps(s, width):
    """MMRL's: a weight and a bias per layer."""
    return s.n * (s.d_r * width + width)


def shared_maps(s, width):
    """MMRL++'s: one weight, and per layer a residual of two factors and a bias."""
    return s.d_r * width + s.n * (width * s.r + s.r * s.d_r + width)


COUNTS = {
    "mmrl": ({}, lambda s: s.K * s.d_r + maps(s, s.d_v) + maps(s, s.d_t) + s.d_v * s.E),
    "w/o L": ({"token_sides": "image"}, lambda s: s.K * s.d_r + maps(s, s.d_v) + s.d_v * s.E),
    "w/o V": ({"token_sides": "text"}, lambda s: s.K * s.d_r + maps(s, s.d_t)),
    "w/o RS": ({"space": "independent"}, lambda s: s.n * s.K * (s.d_v + s.d_t) + s.d_v * s.E),
    "w/o RS and L": (
        {"space": "independent", "token_sides": "image"},
        lambda s: s.n * s.K * s.d_v + s.d_v * s.E,
    ),
    "MMRL-dagger": (
        {"space": "text_to_image"},
        lambda s: s.n * s.K * s.d_t + s.n * (s.d_t * s.d_v + s.d_v) + s.d_v * s.E,
    ),
    "mmrl++": (
        {"variant": "mmrl++"},
        lambda s: s.K * s.d_r + shared_maps(s, s.d_v) + shared_maps(s, s.d_t) + s.p * (s.d_v + s.E),
    ),
    "mmrl++ w/o L": (
        {"variant": "mmrl++", "token_sides": "image"},
        lambda s: s.K * s.d_r + shared_maps(s, s.d_v) + s.p * (s.d_v + s.E),
    ),
    "mmrl++ w/o V": (
        {"variant": "mmrl++", "token_sides": "text"},
        lambda s: s.K * s.d_r + shared_maps(s, s.d_t),
    ),
}


@pytest.mark.parametrize(("settings", "formula"), COUNTS.values(), ids=COUNTS)
def test_variants_have_only_the_parameters_they_use(settings, formula):
    """Counts by formula: at the size of ViT-B/16, and of a tiny model, where what is trained is
    also what is saved."""
    sizes = SimpleNamespace(n=7, K=5, d_r=512, d_v=768, d_t=512, E=512, r=4, p=64)
    with torch.device("meta"):
        found = RepresentationLearner(MMRLConfig(**settings), **VIT_B_16)
    assert sum(p.numel() for p in found.parameters()) == formula(sizes)
    sizes = SimpleNamespace(n=2, K=2, d_r=6, d_v=16, d_t=12, E=10, r=2, p=3)
    model = tiny_mmrl(**settings)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == formula(sizes)
    saved = {f"learner.{name}" for name in model.learner.state_dict()}
    assert saved == {*trained, "learner.start_layer"}


def test_shapes(start):
    image, text = start()
    assert image.shape == (7, 5, 768) and text.shape == (7, 5, 512)
    assert start.projection(torch.zeros(768, 512)).shape == (768, 512)
    assert all(p.requires_grad for p in start.parameters())
    assert start.start_layer.item() == 6 and "start_layer" in start.state_dict()


# Where it starts.


def assert_normal(tensor, std):
    assert abs(tensor.mean().item()) < 5 * std / math.sqrt(tensor.numel())
    assert tensor.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * tensor.numel()))
    assert tensor.abs().max() > 2 * std  # a uniform of this width would end before


def assert_uniform(tensor, fan_in):
    bound = 1 / math.sqrt(fan_in)
    assert tensor.abs().max() <= bound
    assert tensor.abs().max() > bound * (1 - 20 / tensor.numel())
    assert abs(tensor.mean().item()) < 5 * bound / math.sqrt(3 * tensor.numel())
    assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_space_is_drawn_with_std_of_002(start):
    assert start.space.shape == (5, 512)
    assert_normal(start.space, 0.02)


def test_free_tokens_are_drawn_like_the_space():
    found = learner("mmrl", space="independent")
    assert found.space is None
    image, text = found()
    assert image.shape == (7, 5, 768) and text.shape == (7, 5, 512)
    for tokens in (image, text):
        assert_normal(tokens, 0.02)
        assert not torch.equal(tokens[0], tokens[1])


def test_image_tokens_are_mapped_from_text_tokens_in_mmrl_dagger():
    found = learner("mmrl", space="text_to_image")
    assert found.space is None
    assert_normal(found.text_aligner.tokens, 0.02)
    aligner = found.image_aligner
    assert_uniform(aligner.weight[0], 512)
    assert torch.equal(aligner.weight, aligner.weight[:1].expand_as(aligner.weight))
    shake(found.double())
    image, text = found()
    for i, tokens in enumerate(image):
        close(tokens, torch.nn.functional.linear(text[i], aligner.weight[i], aligner.bias[i]))


@pytest.mark.parametrize(
    ("sides", "missing"),
    [("image", ["text_aligner"]), ("text", ["image_aligner", "projection"])],
)
@VARIANTS
def test_a_side_without_tokens(variant, sides, missing):
    found = learner(variant, token_sides=sides)
    names = ("image_aligner", "text_aligner", "projection")
    assert [name for name in names if getattr(found, name) is None] == missing
    image, text = found()
    assert (image is None, text is None) == (sides == "text", sides == "image")


def test_aligners_are_drawn_as_linear_layers(start):
    for aligner in (start.image_aligner, start.text_aligner):
        weight = aligner.weight[0] if aligner.weight.ndim == 3 else aligner.weight
        assert_uniform(weight, 512)
        assert_uniform(aligner.bias[0], 512)


def test_all_layers_start_equal(start):
    for aligner, tokens in zip((start.image_aligner, start.text_aligner), start(), strict=True):
        assert torch.equal(tokens, tokens[:1].expand_as(tokens))
        assert torch.equal(aligner.bias, aligner.bias[:1].expand_as(aligner.bias))
        assert tokens.std() > 0
    # The towers are drawn apart, though.
    image, text = start()
    assert not torch.allclose(image[..., :512], text)


def test_layers_have_separate_parameters(start):
    """Equal at the start, but each with parameters of its own."""
    start = copy.deepcopy(start)
    image, _ = start()
    (weights := torch.zeros_like(image))[2] = 1.0
    (image * weights).sum().backward()
    assert start.image_aligner.bias.grad.abs().sum(1).nonzero().flatten().tolist() == [2]


def test_residuals_start_at_zero():
    start = learner("mmrl++")
    for aligner in (start.image_aligner, start.text_aligner):
        assert not aligner.residual_v.any()
        assert_uniform(aligner.residual_u, 4)
        assert not torch.equal(aligner.residual_u[0], aligner.residual_u[1])
    assert not start.projection.residual_u.any()
    assert_uniform(start.projection.residual_d, 64)
    projection = torch.randn(768, 512)
    assert torch.equal(start.projection(projection), projection)


def test_the_full_projection_is_drawn_by_width():
    projection = learner("mmrl").projection
    assert_normal(projection.weight, 768**-0.5)
    assert projection(torch.zeros(768, 512)) is projection.weight


@pytest.mark.parametrize(
    "settings",
    [
        {"variant": "mmrl"},
        {"variant": "mmrl++"},
        {"variant": "mmrl", "space": "independent"},
        {"variant": "mmrl", "space": "text_to_image"},
        {"variant": "mmrl", "token_sides": "text"},
    ],
    ids=lambda s: " ".join(s.values()),
)
def test_generator_decides_the_start(settings):
    """The seed of a run may come as a generator, without touching torch's own."""
    ours, other = learner(**settings, seed=1), learner(**settings, seed=2)
    assert not torch.equal(ours()[1], other()[1])
    before = torch.get_rng_state()
    for found in (ours, other):
        found.reset_parameters(torch.Generator().manual_seed(9))
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in ours.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@VARIANTS
def test_reset_draws_all_parameters_again(variant):
    found, again = learner(variant, seed=1), learner(variant, seed=2)
    shake(found)
    torch.manual_seed(2)
    found.reset_parameters()
    for name, value in found.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


# The maps, by hand.


def drawn(module):
    module.reset_parameters()
    return shake(module).double()


SPACE = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_per_layer_aligner():
    aligner = drawn(PerLayerAligner(6, 4, 2))
    for i, tokens in enumerate(aligner(SPACE)):
        close(tokens, torch.nn.functional.linear(SPACE, aligner.weight[i], aligner.bias[i]))


def test_shared_residual_aligner():
    aligner = drawn(SharedResidualAligner(6, 4, 2, rank=3))
    for i, tokens in enumerate(aligner(SPACE)):
        weight = aligner.weight + aligner.residual_u[i] @ aligner.residual_v[i]
        close(tokens, torch.nn.functional.linear(SPACE, weight, aligner.bias[i]))


def test_projections():
    clip = torch.randn(4, 5, dtype=torch.float64)
    full, residual = drawn(FullProjection(4, 5)), drawn(ResidualProjection(4, 5, 2))
    close(full(clip), full.weight)
    close(residual(clip), clip + residual.residual_d @ residual.residual_u)
    assert residual(clip.bfloat16()).dtype == torch.float64


@VARIANTS
def test_tokens_are_not_rounded_under_autocast(variant):
    found = learner(variant)
    exact = found()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for tokens, expected in zip(found(), exact, strict=True):
            assert tokens.dtype == torch.float32 and torch.equal(tokens, expected)


# Loading.


@pytest.fixture(params=["mmrl", "mmrl++"])
def model(request):
    return tiny_mmrl(variant=request.param)


def values(model):
    return copy.deepcopy(model.learner.state_dict())


def assert_learner(model, expected):
    for name, value in model.learner.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("assign", [True, False])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_checkpoint_of_the_base_keeps_our_values(model, strict, assign, wrapped):
    before = values(model)
    state = tiny_clip(seed=4).state_dict()
    expected = state["visual.proj"].clone()
    target = torch.nn.ModuleDict({"inner": model}) if wrapped else model
    if wrapped:
        state = {f"inner.{name}": value for name, value in state.items()}
    keys = list(state)
    result = target.load_state_dict(state, strict=strict, assign=assign)
    assert not result.missing_keys and not result.unexpected_keys
    assert_learner(model, before)
    assert torch.equal(model.visual.proj, expected)
    assert list(state) == keys  # the caller's dict is left alone
    assert all(p.requires_grad for p in model.learner.parameters())


def test_an_incomplete_adapter_is_an_error(model):
    names = [f"learner.{name}" for name, _ in model.learner.named_parameters()]
    for name in names:
        state = model.state_dict()
        del state[name]
        with pytest.raises(RuntimeError, match=rf"Missing key.*{name}"):
            model.load_state_dict(state)
        only = {**tiny_clip().state_dict(), name: model.state_dict()[name]}
        with pytest.raises(RuntimeError, match=r"Missing key.*learner\."):
            model.load_state_dict(only)


def test_a_key_of_the_other_variant_is_an_error(model):
    state = {**model.state_dict(), "learner.other": torch.zeros(1)}
    with pytest.raises(RuntimeError, match=r"Unexpected key.*learner\.other"):
        model.load_state_dict(state)


def test_an_incomplete_base_is_an_error(model):
    state = tiny_clip().state_dict()
    del state["visual.proj"]
    with pytest.raises(RuntimeError, match=r"Missing key\(s\).*: \"visual\.proj\"\."):
        model.load_state_dict(state)


def test_a_full_checkpoint_is_loaded(model):
    config = tiny_config(variant=model.config.variant)
    other = MMRLCLIP.from_open_clip(tiny_clip(seed=4), config)
    other.load_state_dict(model.state_dict())
    assert_learner(other, values(model))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("prefix", ["", "learner."])
def test_another_start_layer_is_refused(model, prefix, strict):
    """The shapes are the same, although the tokens belong to other layers."""
    target = model if prefix else model.learner
    state = {**target.state_dict(), f"{prefix}start_layer": torch.tensor(3)}
    words = r"tokens begin at layer 3, this model's at 2; .*mmrl_cfg=\{'start_layer': 3\}"
    with pytest.raises(RuntimeError, match=words):
        target.load_state_dict(state, strict=strict)


def test_the_learner_alone_needs_all_its_keys(model):
    with pytest.raises(RuntimeError, match="Missing key"):
        model.learner.load_state_dict({})
