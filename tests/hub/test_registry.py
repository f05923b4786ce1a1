"""The seam into open_clip: which names are registered, and how that is undone."""

import ast
import copy
import functools
import importlib
import json
from pathlib import Path

import open_clip
import pytest
import timm
import torch
from helpers.tiny import BASE, tiny_images, tiny_model_config, tiny_prompts
from open_clip import factory
from open_clip.model import CLIP, CustomTextCLIP

import open_clip_mmrl
from open_clip_mmrl import MMRLCLIP, MMRLConfig, assets
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.hub import registered, registry
from open_clip_mmrl.hub.names import ModelName
from open_clip_mmrl.models import base_config
from open_clip_mmrl.models.mmrl_clip import MMRLCustomTextCLIP, MMRLPlainCLIP

MMRL, MMRLPP = f"mmrl-{BASE}", f"mmrlpp-{BASE}"
IMAGES, TOKENS = tiny_images(3).float(), tiny_prompts([4, 7, 12])


# Names and tags.


def shallow(config) -> dict:
    """The same kinds of towers, with one layer each where that is possible, and narrow text."""
    config = copy.deepcopy(config)
    vision, text = config["vision_cfg"], config["text_cfg"]
    name = vision.get("timm_model_name")
    if name and base_config.timm_module(name) not in base_config._TIMM_MODULES:
        vision["timm_model_name"] = "resnet10t"  # the others are refused by their kind
    if "hf_model_name" in text:  # transformers asks the hub for their configs
        text = config["text_cfg"] = tiny_model_config()["text_cfg"]
    text |= {"layers": 1, "width": 16, "heads": 2, "vocab_size": 40, "context_length": 8}
    if not isinstance(vision.get("layers", 1), list):
        vision["layers"] = 1
    if "multimodal_cfg" in config:
        config["multimodal_cfg"]["layers"] = 1
    return {**config, "embed_dim": 16, "init_logit_scale": 1.0}


@functools.cache
def supports_tokens(text: str) -> bool:
    """Build it without memory, and add tokens."""
    config = json.loads(text)
    custom = config.pop("custom_text", False)
    model_class = CustomTextCLIP if custom else CLIP
    if "multimodal_cfg" in config:
        model_class = open_clip.CoCa
    with torch.device("meta"):
        model = model_class(**config)
    try:
        MMRLCLIP.from_open_clip(model, MMRLConfig(start_layer=1, rep_dim=1))
    except ValueError:
        return False
    return True


def one_layer(name, *args, create=timm.create_model, **how):
    return create(name, *args, **how, **({} if name == "resnet10t" else {"depth": 1}))


def test_names_are_exactly_the_bases_that_support_tokens(monkeypatch):
    monkeypatch.setattr(timm, "create_model", one_layer)
    bases = {n: c for n, c in factory._MODEL_CONFIGS.items() if ModelName.parse(n).variant is None}
    fit = {n for n, c in bases.items() if supports_tokens(json.dumps(shallow(c), sort_keys=True))}
    assert len(fit) == 112  # of 144 of open_clip 3.3, and the one that is shipped
    assert {"ViT-B-32", "ViT-B-16-SigLIP2", "EVA02-B-16", "PE-Core-B-16", "mt5-base-ViT-B-32"} < fit
    ours = [name for name in open_clip.list_models() if name.startswith(("mmrl-", "mmrlpp-"))]
    assert sorted(ours) == sorted(prefix + name for prefix in ("mmrl-", "mmrlpp-") for name in fit)


@pytest.mark.parametrize(
    ("name", "parameters", "layers", "trained"),
    [
        ("ViT-H-14", 986_109_441, 13, 16_678_656),
        ("ViT-SO400M-16-SigLIP2-256", 1_135_670_962, 13, 16_695_040),
        ("PE-Core-L-14-336", 671_138_817, 12, 13_658_624),
    ],
)
def test_large_bases_have_the_right_size(name, parameters, layers, trained):
    """Built without memory."""
    config = open_clip.get_model_config(f"mmrl-{name}")
    method, custom = config.pop("mmrl_cfg"), config.pop("custom_text", False)
    with torch.device("meta"):
        model = (MMRLCustomTextCLIP if custom else MMRLPlainCLIP)(**config, mmrl_cfg=method)
    count = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("learner."))
    learned = sum(p.numel() for p in model.learner.parameters())
    assert (count, model.learner.layers, learned) == (parameters, layers, trained)


def test_every_base_brings_its_tags():
    for name in open_clip.list_models():
        named = ModelName.parse(name)
        if named.variant:
            tags = open_clip.list_pretrained_tags_by_model(name)
            assert tags == open_clip.list_pretrained_tags_by_model(named.base), name
    for name in ("mmrl-ViT-B-16", "mmrlpp-ViT-B-16", "mmrl-ViT-B-16-quickgelu"):
        assert "openai" in open_clip.list_pretrained_tags_by_model(name)
    assert "mmrl-ViT-B-16:openai" in open_clip.list_pretrained(as_str=True)
    assert (f"mmrlpp-{assets.MODEL_NAME}", assets.TAG) in open_clip.list_pretrained()


def test_default_start_layer_is_six_of_twelve_and_fits_every_base():
    assert factory._MODEL_CONFIGS["mmrl-ViT-B-16"]["mmrl_cfg"]["start_layer"] == 6
    for name, config in factory._MODEL_CONFIGS.items():
        if ModelName.parse(name).variant:
            text, image = base_config.depths(config)
            start = config["mmrl_cfg"]["start_layer"]
            if text and image:
                assert max(1, text - image + 1) <= start <= text, name
            else:  # timm's, which have 12 layers at least, and half as many as their text towers
                assert (text is None and start == 6) or text - start < max(12, text // 2), name
    shallow = {"vision_cfg": {"layers": 2}, "text_cfg": {"layers": 12}}
    assert registered.default_config(shallow, "mmrl").start_layer == 11


def test_defaults_of_the_two_variants():
    ours, theirs = (
        factory._MODEL_CONFIGS[prefix + "ViT-B-16"]["mmrl_cfg"] for prefix in ("mmrl-", "mmrlpp-")
    )
    assert {k: (ours[k], theirs[k]) for k in ours if ours[k] != theirs[k]} == {
        "variant": ("mmrl", "mmrl++"),
        "beta": (1.0, 0.9),
    }
    json.dumps(ours)  # has to be writable as open_clip_config.json


# register() and unregister().


def hooks():
    names = ("CLIP", "CustomTextCLIP", "create_model")
    return [getattr(factory, name) for name in names] + [open_clip.create_model]


def test_register_twice_changes_nothing():
    before = hooks(), open_clip.list_models(), open_clip.list_pretrained()
    open_clip_mmrl.register()
    assert (hooks(), open_clip.list_models(), open_clip.list_pretrained()) == before
    assert not hasattr(factory.create_model.__wrapped__, "__wrapped__")


def test_unregister_leaves_open_clip_as_it_was(base):
    open_clip_mmrl.unregister()
    open_clip_mmrl.unregister()
    assert factory.CLIP is open_clip.model.CLIP
    assert factory.CustomTextCLIP is open_clip.model.CustomTextCLIP
    assert factory.create_model is open_clip.create_model
    assert not hasattr(factory.create_model, "__wrapped__")
    assert factory.create_model.__module__ == "open_clip.factory"
    names = open_clip.list_models() + [name for name, _ in open_clip.list_pretrained()]
    assert not [n for n in names if n.startswith("mmrl") or n == assets.MODEL_NAME]
    assert open_clip.list_pretrained_tags_by_model(BASE) == ["tiny"]
    with pytest.raises(RuntimeError, match=f"{MMRL}' not found"):
        open_clip.create_model(MMRL)
    assert type(open_clip.create_model(BASE, pretrained="tiny")) is CLIP

    open_clip_mmrl.register()
    assert factory.create_model is open_clip.create_model
    assert MMRL in open_clip.list_models()
    assert isinstance(open_clip.create_model(MMRL, pretrained="tiny"), MMRLPlainCLIP)


def test_unregister_keeps_what_others_wrapped_around_it(registries, monkeypatch):
    def wrapped_again(*args, **kwargs):
        raise AssertionError("not called here")

    monkeypatch.setattr(factory, "create_model", wrapped_again)
    open_clip_mmrl.unregister()
    assert factory.create_model is wrapped_again
    assert open_clip.create_model.__module__ == "open_clip.factory"
    assert not hasattr(open_clip.create_model, "__wrapped__")
    monkeypatch.undo()
    # What monkeypatch put back was ours; from here on the fixture registers again.
    factory.create_model = open_clip.create_model


@pytest.mark.parametrize("name", ["CLIP", "CustomTextCLIP", "create_model", "_MODEL_CONFIGS"])
def test_a_factory_without_the_seam_is_refused(monkeypatch, name):
    monkeypatch.delattr(factory, name)
    with pytest.raises(RuntimeError, match=rf"has no open_clip\.factory\.{name}.*install .*3\.3"):
        open_clip_mmrl.register()


def test_the_seam_names_all_that_is_taken_from_open_clip():
    taken = set()
    for package in ("open_clip_mmrl", "benchmark_adapters"):
        for path in (Path(__file__).parents[2] / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(text)) if "from open_clip." in text else ():
                if isinstance(node, ast.ImportFrom) and (node.module or "")[:10] == "open_clip.":
                    taken |= {(node.module[10:], alias.name) for alias in node.names}
    assert taken <= {(m, name) for m, names in registry._NEEDED.items() for name in names}


@pytest.mark.parametrize("way", ["add_model_config", "_MODEL_CONFIGS"])
@pytest.mark.parametrize("name", [MMRL, MMRLPP])
def test_a_base_added_later_is_usable(registries, tmp_path, way, name):
    config = tiny_model_config()
    if way == "add_model_config":
        (tmp_path / f"{BASE}.json").write_text(json.dumps(config))
        open_clip.add_model_config(tmp_path)
    else:
        factory._MODEL_CONFIGS[BASE] = config
    model = open_clip.create_model(name)
    assert isinstance(model, MMRLPlainCLIP)
    assert model.config.start_layer == 1  # half of three layers
    assert {MMRL, MMRLPP} <= set(open_clip.list_models())
    assert "mmrl-ViT-B-16" in open_clip.list_models()


def test_register_again_picks_up_new_bases(registries):
    factory._MODEL_CONFIGS[BASE] = tiny_model_config()
    assert MMRL not in open_clip.list_models()
    open_clip_mmrl.register()
    assert {MMRL, MMRLPP} <= set(open_clip.list_models())


@pytest.mark.parametrize("custom", [False, True])
def test_stock_models_stay_stock(base, custom):
    model = open_clip.create_model(BASE, pretrained="tiny", force_custom_text=custom).eval()
    assert type(model) is (CustomTextCLIP if custom else CLIP)
    with torch.no_grad():
        assert torch.equal(model.encode_image(IMAGES), base.model.encode_image(IMAGES))


# Names that are not offered.


@pytest.mark.parametrize("prefix", ["mmrl-", "mmrlpp-"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RN50", "ResNet"),
        ("convnext_base", "a ConvNeXt"),
        ("coca_ViT-B-32", "CoCa"),
        ("MobileCLIP-S1", "a FastViT"),
        ("vit_relpos_medium_patch16_cls_224", "relative positions"),
    ],
)
def test_unsupported_bases_name_the_reason(prefix, name, reason):
    with pytest.raises(UsageError) as error:
        open_clip.create_model(prefix + name)
    assert f"{name} does not support representation tokens" in str(error.value)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("RN50", "ViT-B-16"),  # tags
        ("MobileCLIP-S1", "MobileCLIP-B"),
        ("convnext_base_w", "ViT-B-16-plus-240"),
        ("coca_ViT-B-32", "ViT-B-32"),  # image tower
        ("coca_roberta-ViT-B-32", "roberta-ViT-B-32"),
    ],
)
def test_the_nearest_base_that_supports_tokens_is_named(name, nearest):
    with pytest.raises(UsageError, match=rf"The nearest that does is {nearest}; .*models lists"):
        open_clip.create_model(f"mmrl-{name}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ({"embed_cls": True}, "does not pool at the end of the prompt"),
        (
            {"layers": 10**9},
            "its number of text layers is 1000000000, not a number from 1 to 1,000",
        ),
        ({"width": 10**6}, "its text width is 1000000, not a number from 1 to 65,536"),
        ({"pool_type": "first"}, "does not pool at the end of the prompt"),
    ],
)
def test_unsupported_text_towers_name_the_reason(registries, text, reason):
    config = tiny_model_config()
    config["text_cfg"].update(text)
    factory._MODEL_CONFIGS[BASE] = config
    open_clip_mmrl.register()
    assert MMRL not in open_clip.list_models()
    with pytest.raises(UsageError, match=reason):
        open_clip.create_model(MMRL)


@pytest.mark.parametrize(
    ("tower", "change"),
    [
        ("text_cfg", {"scaled_cosine_attn": True}),
        ("vision_cfg", {"scaled_cosine_attn": True}),
        ("text_cfg", {"qk_norm": True}),
        ("vision_cfg", {"scale_heads": True, "scale_attn": True, "scale_fc": True}),
        ("text_cfg", {"proj_type": "none"}),
        ("text_cfg", {"proj_bias": True}),
        ("text_cfg", {"pool_type": "last"}),
        ("text_cfg", {"pool_type": "eos", "eos_id": 39}),
        ("vision_cfg", {"no_ln_pre": True, "ls_init_value": 0.1}),
        ("vision_cfg", {"final_ln_after_pool": True}),
        ("vision_cfg", {"pos_embed_type": "sin_cos_2d"}),
        ("vision_cfg", {"output_tokens": True}),
    ],
    ids=str,
)
def test_a_base_is_offered_exactly_where_it_can_be_built(registries, tower, change):
    config = tiny_model_config(custom_text=True)
    config[tower].update(change)
    factory._MODEL_CONFIGS[BASE] = config
    open_clip_mmrl.register()
    base_model = open_clip.create_model(BASE)
    try:
        MMRLCLIP.from_open_clip(base_model, MMRLConfig(start_layer=1))
    except ValueError:
        assert MMRL not in open_clip.list_models()
    else:
        model = open_clip.create_model(MMRL).eval()
        assert model.encode_image(IMAGES, features="fused").isfinite().all()
        assert model.encode_text(TOKENS, features="fused").isfinite().all()


# Configs of others in open_clip's registry.


UNRELEASED = {
    # Built like those of open_clip's unreleased main (repository mlfoundations/open_clip).
    "naflexgenlip": {
        "embed_dim": 16,
        "genlip_cfg": {"width": 16, "depth": 2, "num_heads": 2, "mrope_section": [1, 1, 2]},
        "vision_cfg": {"image_size": 16, "patch_size": 8, "in_chans": 3},
        "text_cfg": {"vocab_size": 40, "context_length": 12, "pad_id": 38, "bos_id": 39},
    },
    "naflexgenlap": {"embed_dim": 16, "genlap_cfg": {}, "audio_naflex_cfg": {}, "text_cfg": {}},
    "clap": {"embed_dim": 16, "audio_cfg": {"model_type": "HTSAT"}, "text_cfg": {}},
    "mammut": {"embed_dim": 16, "vision_cfg": {"layers": 2}, "multimodal_cfg": {"layers": 2}},
    "moderntext": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "layers": 2, "width": 16, "patch_size": 8},
        "text_cfg": {"text_arch": "modern", "layers": 2, "pool_type": "eos", "mlp_type": "swiglu"},
    },
    "superclip": {**tiny_model_config(), "clstext_cfg": {"layers": 0}},
}


DAMAGED = [
    None,
    [],
    ["embed_dim", "vision_cfg", "text_cfg"],
    "ViT",
    3,
    {},
    {"embed_dim": 8, "vision_cfg": None, "text_cfg": None},
    {"embed_dim": 8, "vision_cfg": [12], "text_cfg": "layers"},
    tiny_model_config(embed_dim=None),
    tiny_model_config(vision_cfg={"layers": "twelve"}),
    tiny_model_config(text_cfg={"layers": None}),
    tiny_model_config(text_cfg={"layers": 0}),
    tiny_model_config(text_cfg={"pool_type": ["argmax"]}),
    tiny_model_config(vision_cfg={3: 4}),
    tiny_model_config(mmrl_cfg="whatever"),
]


@pytest.mark.parametrize("config", [*UNRELEASED.values(), *DAMAGED], ids=str)
def test_no_config_of_others_breaks_anything(registries, config):
    before = copy.deepcopy(config)
    for name in (BASE, "mmrl-other", None, 7):
        factory._MODEL_CONFIGS[name] = config
    open_clip_mmrl.register()
    importlib.reload(open_clip_mmrl)
    assert {MMRL, MMRLPP}.isdisjoint(open_clip.list_models())
    assert "mmrl-ViT-B-16" in open_clip.list_models()
    for name in (MMRL, MMRLPP, "mmrl-other"):
        with pytest.raises(UsageError, match=r"does not support|mmrl_cfg"):
            open_clip.create_model(name)
    open_clip_mmrl.unregister()
    assert factory._MODEL_CONFIGS[BASE] == before == config


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mmrl-ViT-B16", "mmrl-ViT-B-16"),
        ("mmrlpp-ViT-L14", "mmrlpp-ViT-L-14"),
        ("mmrl-vit-b-32", "mmrl-ViT-B-32"),
    ],
)
def test_near_matches(name, near):
    with pytest.raises(UsageError) as error:
        open_clip.create_model(name)
    message = str(error.value)
    assert repr(name) in message and "list_models()" in message
    assert near in message.split("Did you mean ")[1]


@pytest.mark.parametrize("base_name", ["mmrl-ViT-B-16", "mmrlpp-ViT-B-16"])
@pytest.mark.parametrize("prefix", ["mmrl-", "mmrlpp-"])
def test_tokens_are_not_added_twice(registries, prefix, base_name):
    with pytest.raises(UsageError, match=f"tokens twice: create '{base_name}'"):
        open_clip.create_model(prefix + base_name)
    assert prefix + base_name not in open_clip.list_models()


def test_a_name_without_near_matches_gets_no_hint():
    with pytest.raises(UsageError, match=r"has no model 'qqqqqqqqqqqqqqqqqqqq'") as error:
        open_clip.create_model("mmrl-qqqqqqqqqqqqqqqqqqqq")
    assert "Did you mean" not in str(error.value)


def test_a_users_config_with_our_prefix_is_named_and_kept(registries):
    factory._MODEL_CONFIGS["mmrl-own"] = tiny_model_config()
    factory._MODEL_CONFIGS["own"] = tiny_model_config()
    with pytest.raises(UsageError, match=r"'mmrl-own' has no 'mmrl_cfg'"):
        open_clip.create_model("mmrl-own")
    open_clip_mmrl.unregister()
    assert "mmrl-own" in factory._MODEL_CONFIGS
