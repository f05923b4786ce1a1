"""Models created through open_clip: classes, weights, configs, adapters, messages."""

import copy
import json
import shutil
import warnings

import open_clip
import pytest
import torch
from helpers.tiny import (
    BASE,
    CONTEXT,
    VOCABULARY,
    shake,
    tiny_images,
    tiny_model_config,
    tiny_prompts,
)
from open_clip import factory, pretrained
from open_clip.model import CLIP
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file

import open_clip_mmrl
from open_clip_mmrl import MMRLCLIP, MMRLConfig, MMRLTask, assets, save_adapter
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.hub import registry
from open_clip_mmrl.hub.names import ModelName
from open_clip_mmrl.models.mmrl_clip import MMRLCustomTextCLIP, MMRLPlainCLIP

MMRL, MMRLPP = f"mmrl-{BASE}", f"mmrlpp-{BASE}"
IMAGES, TOKENS = tiny_images(3).float(), tiny_prompts([4, 7, 12])


def close(ours, theirs, tolerance=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def assert_runs_on(model, base_model):
    """The frozen features of `model` are those of a stock model."""
    with torch.no_grad():
        close(model.encode_image(IMAGES, features="frozen"), base_model.encode_image(IMAGES))
        close(model.encode_text(TOKENS, features="frozen"), base_model.encode_text(TOKENS))


def assert_same_features(model, other):
    with torch.no_grad():
        for kind in ("fused", "frozen"):
            a, b = (m.encode_image(IMAGES, features=kind) for m in (model, other))
            assert torch.equal(a, b), kind
            a, b = (m.encode_text(TOKENS, features=kind) for m in (model, other))
            assert torch.equal(a, b), kind


def trained(name=MMRL, source="tiny", **kwargs):
    """A model whose learner is not at its start."""
    model = open_clip.create_model(name, pretrained=source, **kwargs).eval()
    shake(model.learner, seed=5, std=0.3)
    return model


@pytest.fixture
def adapter(base, tmp_path):
    """An adapter file on the base's weight *file*, and the model that wrote it."""
    model = trained(source=str(base.path), mmrl_cfg={"rep_dim": 6, "num_rep_tokens": 2})
    return save_adapter(model, tmp_path / "run" / "adapter.safetensors"), model


def test_a_tag_added_to_the_base_later_is_there_too(base):
    pretrained._PRETRAINED[BASE]["later"] = {"file": str(base.path)}
    assert open_clip.list_pretrained_tags_by_model(MMRLPP) == ["tiny", "later"]
    assert_runs_on(open_clip.create_model(MMRLPP, pretrained="later").eval(), base.model)


# What is built.


@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize("name", [MMRL, MMRLPP])
def test_create_model_on_a_tag(base, name, custom):
    model = open_clip.create_model(name, pretrained="tiny", force_custom_text=custom).eval()
    assert type(model) is (MMRLCustomTextCLIP if custom else MMRLPlainCLIP)
    assert model.config.variant == ModelName.parse(name).variant
    assert model.base_origin == {"model": BASE, "pretrained": "tiny"}
    assert_runs_on(model, base.model)


def test_config_with_custom_text(registries):
    factory._MODEL_CONFIGS[BASE] = tiny_model_config(custom_text=True)
    assert type(open_clip.create_model(MMRL)) is MMRLCustomTextCLIP


def test_both_names_of_create_model_and_every_kind_of_call(base):
    for create in (open_clip.create_model, factory.create_model):
        for model in (
            create(MMRL, "tiny"),
            create(model_name=MMRL, pretrained="tiny"),
            create(MMRL, "tiny", True, "bf16"),
        ):
            assert isinstance(model, MMRLCLIP)
    assert model.visual.conv1.weight.dtype == torch.bfloat16


def test_a_slash_in_the_name_means_a_dash(registries):
    factory._MODEL_CONFIGS["Tiny-8"] = tiny_model_config()
    model = open_clip.create_model("mmrl-Tiny/8")
    assert isinstance(model, MMRLCLIP)
    assert model.base_origin["model"] == "Tiny-8"


def test_create_model_and_transforms(base):
    model, train, val = open_clip.create_model_and_transforms(
        MMRL, pretrained="tiny", mmrl_cfg={"rep_dim": 7}, image_mean=(0.1, 0.2, 0.3)
    )
    assert isinstance(model, MMRLCLIP) and model.config.rep_dim == 7
    from PIL import Image

    picture = Image.new("RGB", (40, 20))
    for transform in (train, val):
        assert transform(picture).shape == (3, 16, 16)
    assert model.visual.preprocess_cfg["mean"] == (0.1, 0.2, 0.3)


def test_create_model_from_pretrained(base, adapter):
    model, transform = open_clip.create_model_from_pretrained(MMRL, pretrained="tiny")
    assert_runs_on(model.eval(), base.model)
    assert callable(transform)
    path, original = adapter
    model = open_clip.create_model_from_pretrained(MMRL, str(path), return_transform=False)
    assert_same_features(model.eval(), original)
    with pytest.raises(RuntimeError, match="Required pretrained weights"):
        open_clip.create_model_from_pretrained(MMRL)


def test_preprocessing_follows_the_tag(base):
    pretrained._PRETRAINED[BASE]["gray"] = {
        "file": str(base.path),
        "mean": (0.5, 0.5, 0.5),
        "interpolation": "bilinear",
    }
    model = open_clip.create_model(MMRL, pretrained="gray")
    assert model.visual.preprocess_cfg["mean"] == (0.5, 0.5, 0.5)
    assert model.visual.preprocess_cfg["interpolation"] == "bilinear"


def test_get_tokenizer_is_the_base_s(base):
    words = ["a photo of a cat."]
    for name in (MMRL, MMRLPP):
        ours, theirs = open_clip.get_tokenizer(name), open_clip.get_tokenizer(BASE)
        assert ours(words).shape == (1, CONTEXT)
        assert torch.equal(ours(words), theirs(words))


@pytest.mark.parametrize(
    ("precision", "base_dtype", "learner_dtype"),
    [
        ("fp32", torch.float32, torch.float32),
        ("bf16", torch.bfloat16, torch.float32),
        ("fp16", torch.float16, torch.float32),
        ("pure_bf16", torch.bfloat16, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("name", [MMRL, MMRLPP])
def test_precision(base, name, precision, base_dtype, learner_dtype):
    model = open_clip.create_model(name, pretrained="tiny", precision=precision).eval()
    stock = open_clip.create_model(BASE, pretrained="tiny", precision=precision).eval()
    assert model.visual.conv1.weight.dtype == base_dtype
    assert {p.dtype for p in model.learner.parameters()} == {learner_dtype}
    images = IMAGES.to(base_dtype)
    exact = open_clip.create_model(name, pretrained="tiny").eval()
    exact.learner.load_state_dict(model.learner.state_dict())
    with torch.no_grad():
        frozen = model.encode_image(images, features="frozen")
        assert frozen.dtype == base_dtype
        close(frozen, stock.encode_image(images), 0.02 * frozen.abs().max())
        for kind in ("class", "representation", "fused"):
            image = model.encode_image(images, normalize=True, features=kind)
            text = model.encode_text(TOKENS, normalize=True, features=kind)
            close(image.float(), exact.encode_image(IMAGES, True, kind), 0.05)
            close(text.float(), exact.encode_text(TOKENS, True, kind), 0.05)
    result = MMRLTask(model, TOKENS)(images, torch.tensor([0, 1, 2]))
    result["loss"].backward()
    assert result["loss"].dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in model.learner.parameters())


def test_device(base):
    for device in ("cpu", torch.device("cpu")):
        model = open_clip.create_model(MMRL, pretrained="tiny", device=device)
        assert {p.device.type for p in model.parameters()} == {"cpu"}
    model = open_clip.create_model(MMRL, device="meta")
    assert {p.device.type for p in model.parameters()} == {"meta"}


@pytest.mark.parametrize("size", ["24", 31.5, (24,), (24, 24, 24), 10**6, True])
def test_image_sizes_that_are_none(base, size):
    with pytest.raises(UsageError, match=r"force_image_size is .* give a number of pixels up to"):
        open_clip.create_model(MMRL, pretrained="tiny", force_image_size=size)


@pytest.mark.parametrize("size", [0, -32])
def test_images_without_a_patch(base, size):
    with pytest.raises(UsageError, match="give a larger force_image_size"):
        open_clip.create_model(MMRL, pretrained="tiny", force_image_size=size)


def test_force_image_size(base):
    model = open_clip.create_model(MMRL, pretrained="tiny", force_image_size=24).eval()
    stock = open_clip.create_model(BASE, pretrained="tiny", force_image_size=24).eval()
    images = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        close(model.encode_image(images, features="frozen"), stock.encode_image(images))
        assert model.encode_image(images, features="fused").shape == (2, 20)
    assert model.visual.positional_embedding.shape[0] == 10


def test_output_dict(base):
    model = open_clip.create_model(MMRL, pretrained="tiny", output_dict=True).eval()
    with torch.no_grad():
        result = model(IMAGES, TOKENS)
        close(result["image_features"], model.encode_image(IMAGES, normalize=True))
    assert set(result) == {"image_features", "text_features", "logit_scale"}


def test_load_weights_can_be_left_out(base, adapter):
    path, original = adapter
    torch.manual_seed(3)
    model = open_clip.create_model(MMRL, pretrained=str(path), load_weights=False)
    assert model.config == original.config
    assert not torch.equal(model.visual.conv1.weight, original.visual.conv1.weight)
    assert not torch.equal(model.learner.space, original.learner.space)


# Settings.


@pytest.mark.parametrize("name", [MMRL, MMRLPP])
def test_mmrl_cfg_merges_over_the_registered_settings(base, name):
    registered = factory._MODEL_CONFIGS[name]["mmrl_cfg"]
    model = open_clip.create_model(name, mmrl_cfg={"rep_dim": 9, "alpha": 0.4})
    assert model.config.to_dict() == {**registered, "rep_dim": 9, "alpha": 0.4}
    assert registered["rep_dim"] == 512
    whole = MMRLConfig(variant=model.config.variant, rep_dim=5, start_layer=3)
    assert open_clip.create_model(name, mmrl_cfg=whole).config == whole


def test_mmrl_cfg_can_change_the_variant(base):
    model = open_clip.create_model(MMRL, mmrl_cfg={"variant": "mmrl++"})
    assert model.config.variant == "mmrl++" and model.config.beta == 0.9
    model = open_clip.create_model(MMRL, mmrl_cfg={"variant": "mmrl++", "beta": 0.2})
    assert model.config.beta == 0.2


def test_mmrl_cfg_on_a_stock_name_is_open_clip_s_own_override(base):
    model = open_clip.create_model(BASE, "tiny", mmrl_cfg={"start_layer": 2, "rep_dim": 6}).eval()
    assert isinstance(model, MMRLPlainCLIP) and model.config.start_layer == 2
    assert_runs_on(model, base.model)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"rep_dims": 3}, r"no field 'rep_dims'.*mean rep_dim"),
        ({"start_layer": 4}, r"start_layer is 4.*3 text and 3 image layers.*1 to 3"),
        ({"alpha": 2}, r"alpha is 2.*from 0 to 1"),
    ],
)
def test_wrong_settings(base, override, words):
    with pytest.raises(UsageError, match=words):
        open_clip.create_model(MMRL, mmrl_cfg=override)


def test_what_open_clip_built_is_checked(base, monkeypatch):
    """Its unreleased main builds other classes for some configs, and ignores our key."""
    original = registry._replaced["CLIP"][0]
    monkeypatch.setattr(
        factory, "CLIP", lambda *args, mmrl_cfg=None, **kwargs: original(*args, **kwargs)
    )
    with pytest.raises(ValueError, match=rf"a CLIP of '{MMRL}', which has no representation tok"):
        open_clip.create_model(MMRL, pretrained="tiny")


def test_a_wrong_tag_is_open_clip_s_own_error(base):
    with pytest.raises(RuntimeError, match="'nope' is not a known tag or valid file"):
        open_clip.create_model(MMRL, pretrained="nope")


# Weights of the base.


@pytest.mark.parametrize("kind", ["safetensors", "pt", "training checkpoint"])
@pytest.mark.parametrize("name", [MMRL, MMRLPP])
def test_pretrained_is_a_checkpoint_of_the_base(base, tmp_path, kind, name):
    path, state = base.path, base.model.state_dict()
    if kind != "safetensors":
        path = tmp_path / "base.pt"
        torch.save(state if kind == "pt" else {"state_dict": state, "epoch": 3}, path)
    model = open_clip.create_model(name, pretrained=str(path)).eval()
    assert_runs_on(model, base.model)
    assert model.base_origin == {"model": BASE, "pretrained": str(path)}
    assert model.learner.space.std() > 0


def test_load_checkpoint_of_the_base_keeps_the_learner(base):
    model = trained(source=None)
    before = copy.deepcopy(model.learner.state_dict())
    keys = open_clip.load_checkpoint(model, str(base.path))
    assert not keys.missing_keys and not keys.unexpected_keys
    assert_runs_on(model, base.model)
    for name, value in model.learner.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("name", [MMRL, MMRLPP])
def test_full_checkpoints_of_ours(base, tmp_path, name):
    """Saved as any open_clip model is, and loaded in either of open_clip's ways."""
    original = trained(name)
    path = tmp_path / "full.safetensors"
    save_file(original.state_dict(), path)
    model = open_clip.create_model(name).eval()
    open_clip.load_checkpoint(model, str(path))
    assert_same_features(model, original)
    assert_same_features(open_clip.create_model(name, pretrained=str(path)).eval(), original)
    with pytest.raises(RuntimeError, match=r"begin at layer 1, .* at 2.*'start_layer': 1"):
        open_clip.create_model(name, pretrained=str(path), mmrl_cfg={"start_layer": 2})


def test_local_dir(base, tmp_path):
    original = trained(MMRLPP, mmrl_cfg={"rep_dim": 6, "num_rep_tokens": 3})
    folder = tmp_path / "shared"
    folder.mkdir()
    config = {**tiny_model_config(), "mmrl_cfg": original.config.to_dict()}
    preprocess = {"mean": [0.5, 0.4, 0.3]}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    save_file(original.state_dict(), folder / "open_clip_model.safetensors")
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    assert model.config == original.config
    assert_same_features(model, original)
    assert list(model.visual.preprocess_cfg["mean"]) == [0.5, 0.4, 0.3]
    assert open_clip.get_tokenizer(f"local-dir:{folder}")(["a cat"]).shape == (1, CONTEXT)
    again = open_clip.create_model(f"local-dir:{folder}", mmrl_cfg={"reg_weight": 3.0}).eval()
    assert again.config == original.config.replace(reg_weight=3.0)
    assert_same_features(again, model)
    with pytest.raises(UsageError, match=r"jit=True: .*leave jit out"):
        open_clip.create_model(f"local-dir:{folder}", jit=True)


def is_quick(model):
    blocks = [*model.visual.transformer.resblocks, *model.transformer.resblocks]
    found = {isinstance(block.mlp.gelu, QuickGELU) for block in blocks}
    assert len(found) == 1
    return found.pop()


def test_quick_gelu_follows_the_tag(base, tmp_path):
    pretrained._PRETRAINED[BASE]["quick"] = {"file": str(base.path), "quick_gelu": True}
    with pytest.warns(UserWarning, match="QuickGELU mismatch"):
        stock = open_clip.create_model(BASE, pretrained="quick")
    assert not is_quick(stock)  # open_clip's own answer, and the reason for ours
    right = open_clip.create_model(BASE, pretrained="quick", force_quick_gelu=True).eval()
    for name in (MMRL, MMRLPP):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = open_clip.create_model(name, pretrained="quick").eval()
        assert is_quick(model) and model.quick_gelu
        assert_runs_on(model, right)
        plain = open_clip.create_model(name, pretrained="tiny")
        assert not is_quick(plain) and not plain.quick_gelu
    with torch.no_grad():
        assert not torch.allclose(
            right.encode_image(IMAGES), base.model.encode_image(IMAGES), atol=1e-3
        )
    # An adapter remembers it, by the tag and by the file.
    for source, extra in (("quick", {}), (str(base.path), {"force_quick_gelu": True})):
        original = trained(source=source, **extra)
        path = save_adapter(original, tmp_path / "quick.safetensors")
        model = open_clip.create_model(MMRL, pretrained=str(path)).eval()
        assert is_quick(model)
        assert_same_features(model, original)


# An adapter as `pretrained`.


@pytest.mark.parametrize("source", ["tag", "file"])
@pytest.mark.parametrize("name", [MMRL, MMRLPP])
def test_an_adapter_brings_its_base_and_settings(base, tmp_path, name, source):
    config = {"rep_dim": 6, "num_rep_tokens": 2, "start_layer": 2, "alpha": 0.6, "beta": 0.5}
    origin = base.tag if source == "tag" else str(base.path)
    original = trained(name, origin, mmrl_cfg=config)
    path = save_adapter(original, tmp_path / "adapter.safetensors")
    for given in (path, str(path)):
        model = open_clip.create_model(name, pretrained=given).eval()
        assert model.config == original.config
        assert model.base_origin == {"model": BASE, "pretrained": origin}
        assert_same_features(model, original)


def test_the_base_file_may_move_along_with_the_adapter(base, adapter):
    path, original = adapter
    shutil.move(base.path, path.parent / base.path.name)
    model = open_clip.create_model(MMRL, pretrained=str(path)).eval()
    assert_same_features(model, original)
    assert model.base_origin["pretrained"] == str(path.parent / base.path.name)


def test_base_pretrained_gives_the_place_of_the_base(base, adapter, tmp_path):
    path, original = adapter
    elsewhere = tmp_path / "elsewhere.safetensors"
    shutil.move(base.path, elsewhere)
    words = f"{path} .*{base.path}.*neither a tag nor a file.*base_pretrained="
    with pytest.raises(ValueError, match=words):
        open_clip.create_model(MMRL, pretrained=str(path))
    model = open_clip.create_model(MMRL, pretrained=str(path), base_pretrained=str(elsewhere))
    assert_same_features(model.eval(), original)


def test_base_pretrained_without_an_adapter_is_refused(base):
    with pytest.raises(ValueError, match="base_pretrained goes with an adapter"):
        open_clip.create_model(MMRL, pretrained="tiny", base_pretrained="tiny")


def test_an_adapter_on_nameless_weights_needs_base_pretrained(base, tmp_path):
    path = save_adapter(trained(source=None), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"does not name the base weights.*base_pretrained="):
        open_clip.create_model(MMRL, pretrained=str(path))


def test_another_base_than_the_adapter_s_is_refused(base, adapter, tmp_path):
    path, _ = adapter
    other = tmp_path / "other.safetensors"
    save_file(shake(copy.deepcopy(base.model), seed=9).state_dict(), other)
    with pytest.raises(ValueError, match=r"whose weights differ.*tag or checkpoint"):
        open_clip.create_model(MMRL, pretrained=str(path), base_pretrained=str(other))


def test_an_adapter_keeps_what_may_be_chosen_again(base, adapter):
    path, original = adapter
    model = open_clip.create_model(MMRL, pretrained=str(path), mmrl_cfg={"alpha": 0.2})
    assert model.config.to_dict() == {**original.config.to_dict(), "alpha": 0.2}
    with pytest.raises(ValueError, match=r"trained with rep_dim=6; .*make it 7.*alpha, beta"):
        open_clip.create_model(MMRL, pretrained=str(path), mmrl_cfg={"rep_dim": 7})


def test_an_adapter_of_the_other_variant_names_the_right_model(base, adapter):
    path, _ = adapter
    with pytest.raises(ValueError, match=rf"holds mmrl, not mmrl\+\+: create '{MMRL}'"):
        open_clip.create_model(MMRLPP, pretrained=str(path))


def test_an_adapter_of_another_base_names_the_right_model(base, adapter):
    path, _ = adapter
    with pytest.raises(ValueError, match=rf"base {BASE}, not ViT-B-16: create '{MMRL}'"):
        open_clip.create_model("mmrl-ViT-B-16", pretrained=str(path))


def test_a_stock_model_cannot_hold_an_adapter(base, adapter, tmp_path):
    path, _ = adapter
    with pytest.raises(ValueError, match=rf"is an adapter, which '{BASE}' cannot.*'{MMRL}'"):
        open_clip.create_model(BASE, pretrained=str(path))
    nameless = tiny_mmrl_file(tmp_path)
    with pytest.raises(ValueError, match="is an adapter") as error:
        open_clip.create_model(BASE, pretrained=str(nameless))
    assert "None" not in str(error.value)


def tiny_mmrl_file(folder):
    """An adapter whose model never had a name."""
    torch.manual_seed(0)
    model = MMRLCLIP.from_open_clip(CLIP(**tiny_model_config()), MMRLConfig(start_layer=2))
    return save_adapter(model, folder / "nameless.safetensors")


def test_a_nameless_adapter_fits_any_base_with_its_weights(base, tmp_path):
    model = MMRLCLIP.from_open_clip(copy.deepcopy(base.model), MMRLConfig(start_layer=2)).eval()
    shake(model.learner)
    path = save_adapter(model, tmp_path / "nameless.safetensors")
    loaded = open_clip.create_model(MMRL, pretrained=str(path), base_pretrained="tiny").eval()
    assert_same_features(loaded, model)


@pytest.mark.parametrize("precision", ["bf16", "pure_bf16"])
def test_an_adapter_on_a_base_in_half_precision(base, adapter, precision):
    path, original = adapter
    model = open_clip.create_model(MMRL, pretrained=str(path), precision=precision).eval()
    with torch.no_grad():
        ours = model.encode_image(IMAGES.bfloat16(), True, "fused").float()
        close(ours, original.encode_image(IMAGES, True, "fused"), 0.05)


def test_an_adapter_on_a_base_with_a_text_tower_of_its_own(base, adapter):
    """The same weights in open_clip's other layout are the same base."""
    path, original = adapter
    model = open_clip.create_model(MMRL, pretrained=str(path), force_custom_text=True).eval()
    assert isinstance(model, MMRLCustomTextCLIP)
    assert_same_features(model, original)


@pytest.mark.parametrize("kept", [4, 200, -8])
def test_a_damaged_adapter_is_named(base, adapter, kept):
    path, _ = adapter
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"adapter\.safetensors .*truncated"):
        open_clip.create_model(MMRL, pretrained=str(path))


def test_the_shipped_model(registries):
    for prefix in ("mmrl-", "mmrlpp-"):
        name = prefix + assets.MODEL_NAME
        model = open_clip.create_model(name, pretrained=assets.TAG).eval()
        stock = open_clip.create_model(assets.MODEL_NAME, pretrained=assets.TAG).eval()
        tokens = open_clip.get_tokenizer(name)(["a photo of the digit one."])
        size = model.visual.image_size[0]
        images = torch.zeros(1, 3, size, size)
        with torch.no_grad():
            close(model.encode_text(tokens, features="frozen"), stock.encode_text(tokens))
            close(model.encode_image(images, features="frozen"), stock.encode_image(images))
            assert model.encode_text(tokens).isfinite().all()
    assert tokens.shape[1] == model.context_length and tokens.max() > VOCABULARY


def test_mmrl_cfg_of_another_type_is_refused():
    with pytest.raises(UsageError, match=r"mmrl_cfg is 3; give an MMRLConfig or a dict"):
        open_clip.create_model("mmrl-ViT-B-16", mmrl_cfg=3)


def test_an_adapter_keeps_its_input_sizes_and_normalization(base, tmp_path):
    """Image size, normalization and context length of the training, unless the caller chooses."""
    model, _, _ = open_clip.create_model_and_transforms(
        MMRL, pretrained=str(base.path), force_image_size=24, force_context_length=9,
        image_mean=(0.1, 0.2, 0.3), image_std=(0.9, 0.9, 0.9),
    )  # fmt: skip
    path = save_adapter(shake(model.learner) and model, tmp_path / "a.safetensors")
    again, _, preprocess = open_clip.create_model_and_transforms(MMRL, pretrained=str(path))
    assert again.visual.image_size == (24, 24) and again.context_length == 9
    normalize = preprocess.transforms[-1]
    assert list(normalize.mean) == [0.1, 0.2, 0.3] and list(normalize.std) == [0.9, 0.9, 0.9]
    images = torch.randn(2, 3, 24, 24)
    for kind in ("fused", "frozen"):
        found, expected = (m.eval().encode_image(images, features=kind) for m in (again, model))
        assert torch.equal(found, expected)
    other = open_clip.create_model(MMRL, pretrained=str(path), force_image_size=32)
    assert other.visual.image_size == (32, 32)


def test_other_position_embeddings_are_another_base(base, adapter):
    path, original = adapter
    other = copy.deepcopy(original)
    with torch.no_grad():
        other.visual.positional_embedding.zero_()
    with pytest.raises(ValueError, match="weights differ"):
        open_clip_mmrl.load_adapter(other, path)


def test_the_adapter_decides_the_activation_against_the_tag(base, tmp_path):
    """Trained with GELU on weights whose tag asks for QuickGELU."""
    pretrained._PRETRAINED[base.name]["quick"] = {"file": str(base.path), "quick_gelu": True}
    model = MMRLCLIP.from_open_clip(copy.deepcopy(base.model), MMRLConfig(start_layer=1))
    path = save_adapter(
        model, tmp_path / "a.safetensors", base_model=base.name, base_pretrained="quick"
    )
    with pytest.warns(UserWarning, match="QuickGELU mismatch"):  # open_clip's own
        model = open_clip.create_model(MMRL, pretrained=str(path))
    assert model.quick_gelu is False


def test_a_whole_config_has_to_fit_the_name(base):
    with pytest.raises(UsageError, match=r"MMRLConfig of 'mmrl', but .* is mmrl\+\+"):
        open_clip.create_model(f"mmrlpp-{BASE}", mmrl_cfg=MMRLConfig(rep_dim=4, start_layer=2))


def test_base_weights_may_be_a_path_object(base):
    model = open_clip.create_model(MMRL, pretrained=base.path)
    assert torch.equal(model.visual.proj, base.model.visual.proj)


def test_the_shipped_weights_can_be_resized():
    model = open_clip.create_model(
        f"mmrl-{assets.MODEL_NAME}", pretrained=assets.TAG, force_image_size=64
    )
    assert model.encode_image(torch.randn(1, 3, 64, 64)).isfinite().all()


def test_an_adapter_of_other_widths_is_refused_before_anything_is_built(base, adapter, monkeypatch):
    path, _ = adapter
    factory._MODEL_CONFIGS[MMRL]["text_cfg"]["width"] = 24
    monkeypatch.setattr(factory, "CLIP", None)
    with pytest.raises(ValueError, match=r"another base.*its text_width is 12, this model's 24"):
        open_clip.create_model(MMRL, pretrained=path)
