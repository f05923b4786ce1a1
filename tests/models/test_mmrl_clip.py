"""MMRLCLIP as a user of open_clip meets it: one more CLIP, with a learner and `features`."""

import copy
import io
from unittest.mock import patch

import pytest
import torch
from helpers.tiny import (
    shake,
    tiny_clip,
    tiny_config,
    tiny_images,
    tiny_mmrl,
    tiny_model_config,
    tiny_prompts,
)
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP, convert_weights_to_lp
from torch.nn import functional as F

from open_clip_mmrl import MMRLCLIP, MMRLConfig
from open_clip_mmrl.config import as_config
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.models.image_towers.open_clip_vit import ClassTokenTower
from open_clip_mmrl.models.mmrl_clip import (
    FEATURES,
    MMRLCustomTextCLIP,
    MMRLPlainCLIP,
)
from open_clip_mmrl.models.siblings import encode_image_each

IMAGES, TOKENS = tiny_images(3), tiny_prompts([4, 7, 12, 5])
BOTH = pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])
VARIANTS = pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])


def close(ours, theirs, tolerance=1e-12):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


# From a loaded model.


@BOTH
@VARIANTS
def test_from_open_clip_shares_the_weights(custom, variant):
    clip = tiny_clip(custom=custom)
    before = clip.encode_image(IMAGES).detach(), clip.encode_text(TOKENS).detach()
    model = MMRLCLIP.from_open_clip(clip, tiny_config(variant=variant))
    assert type(model) is (MMRLCustomTextCLIP if custom else MMRLPlainCLIP)
    assert isinstance(model, CustomTextCLIP if custom else CLIP)
    ours = dict(model.named_parameters())
    for name, parameter in clip.named_parameters():
        assert ours[name] is parameter, name
    # The model given is what it was, learner not included.
    assert not hasattr(clip, "learner") and not hasattr(clip, "config")
    close(clip.encode_image(IMAGES), before[0])
    close(clip.encode_text(TOKENS), before[1])


@BOTH
@VARIANTS
def test_the_learner_owns_what_is_trained_and_nothing_else(custom, variant):
    clip = tiny_clip(custom=custom)
    model = MMRLCLIP.from_open_clip(clip, tiny_config(variant=variant))
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {f"learner.{n}" for n, _ in model.learner.named_parameters()}
    assert not {n for n in model.state_dict() if not n.startswith("learner.")} ^ set(
        clip.state_dict()
    )


def test_from_open_clip_takes_dtype_and_device_of_the_base():
    model = MMRLCLIP.from_open_clip(tiny_clip(), tiny_config())
    assert model.learner.space.dtype == torch.float64
    model = MMRLCLIP.from_open_clip(tiny_clip().to("meta"), tiny_config())
    assert model.learner.space.device.type == "meta"
    for dtype in (torch.bfloat16, torch.float16):
        model = MMRLCLIP.from_open_clip(tiny_clip().to(dtype), tiny_config())
        assert model.learner.space.dtype == torch.float32
        assert model.visual.proj.dtype == dtype


def test_default_config_is_the_paper_s():
    with pytest.raises(UsageError, match="start_layer is 6"):
        MMRLCLIP.from_open_clip(tiny_clip())
    deep = tiny_clip(image_layers=12, text_layers=12)
    assert MMRLCLIP.from_open_clip(deep).config == MMRLConfig()


@pytest.mark.parametrize(
    "model_class", [MMRLPlainCLIP, MMRLCustomTextCLIP], ids=lambda c: c.__name__
)
@pytest.mark.parametrize("as_dict", [False, True])
def test_constructor_takes_a_config_or_its_dict(model_class, as_dict):
    config = tiny_config(alpha=0.3)
    torch.manual_seed(0)
    model = model_class(
        **tiny_model_config(), mmrl_cfg=config.to_dict() if as_dict else config, output_dict=True
    )
    assert model.config == config and model.output_dict
    assert model.features == "class"
    assert as_config(config) is config


def test_a_learner_s_start_follows_the_seed():
    clip, states = tiny_clip(), []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        states.append(MMRLCLIP.from_open_clip(clip, tiny_config()).learner.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])
        assert torch.equal(value, states[2][name]) == (name == "start_layer")


@pytest.mark.parametrize(
    ("clip", "error", "words"),
    [
        (lambda: tiny_mmrl(), ValueError, "has representation tokens already.*base model"),
        (
            lambda: torch.nn.Linear(2, 2),
            ValueError,
            "a Linear .*only open_clip's CLIP and CustomTextCLIP.*unwrapped",
        ),
        (
            lambda: torch.nn.DataParallel(tiny_clip()),
            ValueError,
            "a DataParallel .*unwrapped",
        ),
        (
            lambda: CoCa(
                10,
                {**tiny_model_config()["text_cfg"], "layers": 1},
                tiny_model_config()["text_cfg"],
                tiny_model_config()["vision_cfg"],
            ),
            ValueError,
            "a CoCa does not support",
        ),
        (
            lambda: tiny_clip(vision={"layers": [1, 1, 1, 1], "image_size": 32, "width": 8}),
            ValueError,
            "image tower is a ModifiedResNet, not open_clip's or timm's VisionTransformer",
        ),
        (
            lambda: tiny_clip(vision={"pool_type": "none"}),
            ValueError,
            "image tower does not pool",
        ),
        (
            lambda: tiny_clip(custom=True, text={"embed_cls": True}),
            ValueError,
            r"appended class token \(CoCa\)",
        ),
        (
            lambda: tiny_clip(text={"pool_type": "first"}),
            ValueError,
            r"text tower pools by 'first', not one of \('argmax', 'eos', 'last'\)",
        ),
    ],
)
def test_unsupported_models_are_refused_with_the_reason(clip, error, words):
    with pytest.raises(error, match=words):
        MMRLCLIP.from_open_clip(clip(), tiny_config())


@pytest.mark.parametrize(
    ("image_layers", "text_layers", "start", "lowest"),
    [(3, 3, 4, 1), (3, 5, 2, 3), (3, 5, 6, 3), (5, 3, 4, 1)],
)
def test_start_layer_has_to_fit_both_towers(image_layers, text_layers, start, lowest):
    clip = tiny_clip(image_layers=image_layers, text_layers=text_layers)
    words = (
        rf"start_layer is {start}, .*{text_layers} text and {image_layers} image layers: "
        rf"allowed are {lowest} to {text_layers}"
    )
    with pytest.raises(UsageError, match=words):
        MMRLCLIP.from_open_clip(clip, tiny_config(start_layer=start))


def test_a_refused_model_is_not_changed():
    clip = tiny_clip()
    with pytest.raises(UsageError):
        MMRLCLIP.from_open_clip(clip, tiny_config(start_layer=9))
    assert all(p.requires_grad for p in clip.parameters())


# open_clip's contract.


@BOTH
@VARIANTS
@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_frozen_features_are_the_stock_model_s(custom, variant, beta):
    clip = tiny_clip(custom=custom)
    model = tiny_mmrl(copy.deepcopy(clip), variant=variant, beta=beta)
    for normalize in (False, True):
        close(
            model.encode_image(IMAGES, normalize, features="frozen"),
            clip.encode_image(IMAGES, normalize),
        )
        close(
            model.encode_text(TOKENS, normalize, features="frozen"),
            clip.encode_text(TOKENS, normalize),
        )
    # ... and the tokens do something.
    assert (model.encode_image(IMAGES) - clip.encode_image(IMAGES)).abs().min() > 1e-6
    assert (model.encode_text(TOKENS) - clip.encode_text(TOKENS)).abs().min() > 1e-6


@BOTH
@pytest.mark.parametrize("kind", FEATURES)
def test_features_by_argument_and_by_attribute(custom, kind):
    model = tiny_mmrl(tiny_clip(custom=custom))
    assert model.features == "class"
    width = 20 if kind == "fused" else 10
    image, text = (
        model.encode_image(IMAGES, features=kind),
        model.encode_text(TOKENS, features=kind),
    )
    assert image.shape == (3, width) and text.shape == (4, width)
    model.features = kind
    assert torch.equal(model.encode_image(IMAGES), image)
    assert torch.equal(model.encode_text(TOKENS), text)
    close(model.encode_image(IMAGES, normalize=True), F.normalize(image, dim=-1))
    close(model.encode_text(TOKENS, normalize=True), F.normalize(text, dim=-1))
    # The argument goes before the attribute.
    class_feature = model.encode_image(IMAGES, features="class")
    model.features = "class"
    assert torch.equal(model.encode_image(IMAGES), class_feature)


def test_unknown_features():
    model = tiny_mmrl()
    for encode, given in ((model.encode_image, IMAGES), (model.encode_text, TOKENS)):
        with pytest.raises(ValueError, match=r"features is 'both'.*'class'.*'fused'.*'frozen'"):
            encode(given, features="both")


def test_text_has_only_one_feature():
    model = tiny_mmrl()
    assert torch.equal(
        model.encode_text(TOKENS, features="representation"), model.encode_text(TOKENS)
    )
    assert not torch.allclose(
        model.encode_image(IMAGES, features="representation"), model.encode_image(IMAGES)
    )


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
@VARIANTS
def test_the_fused_pair_gives_the_mix_of_logits(alpha, variant):
    model = tiny_mmrl(alpha=alpha, variant=variant)
    image, text = (
        model.encode_image(IMAGES, features="fused"),
        model.encode_text(TOKENS, features="fused"),
    )
    close(image.norm(dim=-1), torch.ones(3, dtype=torch.float64))
    close(text.norm(dim=-1), torch.ones(4, dtype=torch.float64))
    w = model.encode_text(TOKENS, normalize=True)
    by_class, by_rep = (
        model.encode_image(IMAGES, normalize=True, features=kind) @ w.T
        for kind in ("class", "representation")
    )
    close(image @ text.T, alpha * by_class + (1 - alpha) * by_rep)


@BOTH
@pytest.mark.parametrize("bias", [None, -3.0])
@pytest.mark.parametrize("kind", FEATURES)
def test_forward_and_get_logits(custom, bias, kind):
    model = tiny_mmrl(tiny_clip(custom=custom, init_logit_bias=bias))
    model.features = kind
    image, text = model.encode_image(IMAGES, True), model.encode_text(TOKENS, True)
    scale = model.logit_scale.exp()

    result = model(IMAGES, TOKENS)
    assert len(result) == (3 if bias is None else 4)
    for ours, theirs in zip(result, (image, text, scale, model.logit_bias), strict=False):
        assert torch.equal(ours, theirs)
    image_logits, text_logits = model.get_logits(IMAGES, TOKENS)
    close(image_logits, scale * image @ text.T + (bias or 0.0))
    assert torch.equal(text_logits, image_logits.T)

    model.output_dict = True
    result = model(image=IMAGES, text=TOKENS)
    expected = {"image_features": image, "text_features": text, "logit_scale": scale}
    if bias is not None:
        expected["logit_bias"] = model.logit_bias
    assert result.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(result[name], value), name


@BOTH
def test_forward_with_one_side_only(custom):
    model = tiny_mmrl(tiny_clip(custom=custom))
    image, text, _ = model(image=IMAGES)
    assert text is None and torch.equal(image, model.encode_image(IMAGES, True))
    image, text, _ = model(text=TOKENS)
    assert image is None and torch.equal(text, model.encode_text(TOKENS, True))


@BOTH
def test_later_versions_of_open_clip_find_the_same_methods(custom):
    """4.x calls _encode_image and _encode_text from forward() and get_logits()."""
    model = tiny_mmrl(tiny_clip(custom=custom))
    assert torch.equal(model._encode_image(IMAGES, True), model.encode_image(IMAGES, True))
    assert torch.equal(model._encode_text(TOKENS, True), model.encode_text(TOKENS, True))
    for ours in (MMRLPlainCLIP, MMRLCustomTextCLIP):
        assert ours._encode_image is ours.encode_image is MMRLCLIP.encode_image
        assert ours._encode_text is ours.encode_text is MMRLCLIP.encode_text


@BOTH
def test_forward_intermediates_is_refused(custom):
    model = tiny_mmrl(tiny_clip(custom=custom))
    with pytest.raises(ValueError, match=r"bypass the representation tokens\. Use encode_image"):
        model.forward_intermediates(image=IMAGES)
    assert "image_intermediates" in model.visual.forward_intermediates(IMAGES)


@BOTH
@VARIANTS
def test_gradients_reach_the_learner_alone(custom, variant):
    model = tiny_mmrl(tiny_clip(custom=custom), variant=variant)
    image, text, _ = model(IMAGES, TOKENS)
    (image @ text.T).square().sum().backward()
    grads = {name for name, p in model.named_parameters() if p.grad is not None}
    assert grads == {
        f"learner.{name}"
        for name, _ in model.learner.named_parameters()
        if not name.startswith("projection")  # only the representation feature needs it
    }
    assert all(p.grad.abs().max() > 0 for p in model.learner.parameters() if p.grad is not None)


# Without the tokens of one tower.


@BOTH
@VARIANTS
def test_without_text_tokens(custom, variant):
    clip = tiny_clip(custom=custom)
    model = tiny_mmrl(copy.deepcopy(clip), variant=variant, token_sides="image")
    for kind in ("class", "representation", "frozen"):
        close(model.encode_text(TOKENS, features=kind), clip.encode_text(TOKENS))
    assert not torch.allclose(model.encode_image(IMAGES), clip.encode_image(IMAGES), atol=1e-3)
    assert model.encode_image(IMAGES, features="fused").shape == (3, 20)


@BOTH
@VARIANTS
def test_without_image_tokens(custom, variant):
    clip = tiny_clip(custom=custom)
    model = tiny_mmrl(copy.deepcopy(clip), variant=variant, token_sides="text")
    for kind in ("class", "frozen"):
        close(model.encode_image(IMAGES, features=kind), clip.encode_image(IMAGES))
    text = model.encode_text(TOKENS, normalize=True)
    assert not torch.allclose(text, clip.encode_text(TOKENS, normalize=True), atol=1e-3)
    # "fused" keeps its shape, and gives the class feature's logits.
    fused = model.encode_image(IMAGES, features="fused")
    assert fused.shape == (3, 20)
    logits = fused @ model.encode_text(TOKENS, features="fused").T
    close(logits, model.encode_image(IMAGES, normalize=True) @ text.T)


def test_there_is_no_representation_feature_without_image_tokens():
    model = tiny_mmrl(token_sides="text")
    for encode, given in ((model.encode_image, IMAGES), (model.encode_text, TOKENS)):
        with pytest.raises(ValueError, match=r"no image tokens \(token_sides='text'\).*'class'"):
            encode(given, features="representation")
    model.features = "representation"
    with pytest.raises(ValueError, match="no representation feature"):
        model(IMAGES, TOKENS)


def test_siblings_with_other_tokens_share_the_layers_below():
    model = tiny_mmrl()
    others = [tiny_config(token_sides="text"), tiny_config(space="independent")]
    models = [model, *(model.sibling(config) for config in others)]
    for found, each in zip(encode_image_each(models, IMAGES), models, strict=True):
        assert torch.equal(found, each.encode_image(IMAGES))


# Towers of different depth.


@VARIANTS
@pytest.mark.parametrize(
    ("image_layers", "text_layers", "start"), [(5, 3, 2), (3, 5, 3), (5, 3, 3), (1, 4, 4)]
)
def test_towers_of_different_depth(variant, image_layers, text_layers, start):
    clip = tiny_clip(image_layers=image_layers, text_layers=text_layers)
    model = tiny_mmrl(copy.deepcopy(clip), variant=variant, start_layer=start)
    count = text_layers - start + 1
    image_tokens, text_tokens = model.learner()
    assert image_tokens.shape == (count, 2, 16) and text_tokens.shape == (count, 2, 12)
    close(model.encode_image(IMAGES, features="frozen"), clip.encode_image(IMAGES))
    close(model.encode_text(TOKENS, features="frozen"), clip.encode_text(TOKENS))
    # Layers below the first one with tokens do not change by them, those above do.
    hidden = model.image_tower.lower(IMAGES)
    x = clip.visual._embeds(IMAGES)
    for block in clip.visual.transformer.resblocks[: image_layers - count]:
        x = block(x)
    close(hidden, x)


# Copies.


@BOTH
@VARIANTS
def test_deepcopy(custom, variant):
    model = tiny_mmrl(tiny_clip(custom=custom), variant=variant)
    twin = copy.deepcopy(model)
    before = model.encode_image(IMAGES, features="fused")
    assert torch.equal(twin.encode_image(IMAGES, features="fused"), before)
    shake(twin)
    assert torch.equal(model.encode_image(IMAGES, features="fused"), before)
    assert not torch.allclose(twin.encode_image(IMAGES, features="fused"), before)
    assert twin.config == model.config


@BOTH
@VARIANTS
def test_state_dict_round_trip(custom, variant):
    model = tiny_mmrl(tiny_clip(custom=custom), variant=variant)
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    stream.seek(0)
    state = torch.load(stream, weights_only=True)
    other = MMRLCLIP.from_open_clip(
        tiny_clip(custom=custom, seed=8), tiny_config(variant=variant)
    ).eval()
    assert not torch.allclose(other.encode_text(TOKENS), model.encode_text(TOKENS))
    other.load_state_dict(state)
    for kind in FEATURES:
        assert torch.equal(
            other.encode_image(IMAGES, True, kind), model.encode_image(IMAGES, True, kind)
        )
        assert torch.equal(
            other.encode_text(TOKENS, True, kind), model.encode_text(TOKENS, True, kind)
        )


@BOTH
def test_a_whole_model_can_be_pickled(custom):
    model = tiny_mmrl(tiny_clip(custom=custom))
    model.features = "fused"
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    twin = torch.load(stream, weights_only=False)
    assert type(twin) is type(model) and twin.config == model.config
    assert torch.equal(twin.encode_image(IMAGES), model.encode_image(IMAGES))


@VARIANTS
def test_open_clip_s_cast_to_half_skips_the_learner(variant):
    model = tiny_mmrl(tiny_clip().float(), variant=variant).float()
    exact = model.encode_image(IMAGES.float(), True, "fused")
    convert_weights_to_lp(model, torch.bfloat16)
    assert model.learner.space.dtype == torch.float32
    found = model.encode_image(IMAGES.bfloat16(), True, "fused")
    close(found.float(), exact, 0.1)


@pytest.mark.parametrize("quick", [True, False])
def test_quick_gelu_is_read_from_the_towers(quick):
    assert tiny_mmrl(tiny_clip(quick_gelu=quick)).quick_gelu is quick


@pytest.mark.parametrize("custom", [False, True])
def test_siblings_share_the_base_and_its_frozen_layers(custom):
    first = tiny_mmrl(tiny_clip(custom=custom))
    second = first.sibling(tiny_config(variant="mmrl++", num_rep_tokens=3))
    third = first.sibling(tiny_config(start_layer=3))
    assert type(second) is type(first)
    assert second.visual.conv1.weight is first.visual.conv1.weight
    assert second.learner is not first.learner and second.config.num_rep_tokens == 3
    images, models = tiny_images(), [first, second, third]
    with patch.object(
        ClassTokenTower, "lower", autospec=True, side_effect=ClassTokenTower.lower
    ) as lower:
        found = encode_image_each(models, images, normalize=True, features="fused")
    assert lower.call_count == 2  # one for both that begin at layer 2, one for layer 3
    for model, feature in zip(models, found, strict=True):
        assert torch.equal(feature, model.encode_image(images, True, features="fused"))
    trained = {id(p) for p in first.parameters() if p.requires_grad}
    assert trained == {id(p) for p in first.learner.parameters()}


def test_models_on_different_bases_are_refused():
    with pytest.raises(ValueError, match=r"different base weights.*sibling"):
        encode_image_each([tiny_mmrl(), tiny_mmrl()], tiny_images())


def test_features_that_do_not_exist_are_refused_at_once():
    model = tiny_mmrl()
    with pytest.raises(ValueError, match=r"features is 'fuzed'; it has to be one of \('class'"):
        model.features = "fuzed"
    assert model.features == "class"
    model.features = "fused"
    assert model.sibling().features == "class" and copy.deepcopy(model).features == "fused"
