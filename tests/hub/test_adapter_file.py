"""Adapter files: what they hold, what they fit, and the errors where they do not."""

import copy
import json
import os
from pathlib import Path

import open_clip
import pytest
import torch
from helpers.tiny import BASE, shake, tiny_clip, tiny_config, tiny_images, tiny_mmrl, tiny_prompts
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import open_clip_mmrl
from open_clip_mmrl import MMRLCLIP, load_adapter, read_adapter_info, save_adapter
from open_clip_mmrl.hub import adapter_reading
from open_clip_mmrl.hub import base_check as bases
from open_clip_mmrl.hub.adapter_info import AdapterInfo
from open_clip_mmrl.hub.adapter_reading import HEADER, is_adapter
from open_clip_mmrl.hub.load import build_from_adapter
from open_clip_mmrl.utils.digest import tensors_digest
from open_clip_mmrl.utils.files import write_atomically

NAMES = ["cat", "hot_dog", "Äpfel 🍎"]


def fresh(clip=None, **kwargs):
    """A model on the same base as `tiny_mmrl()`, with a learner at another start."""
    torch.manual_seed(99)
    return MMRLCLIP.from_open_clip(clip or tiny_clip(), tiny_config(**kwargs)).eval()


def snapshot(model):
    return copy.deepcopy(model.state_dict())


def assert_untouched(model, before):
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def assert_refused(model, path, words, error=ValueError):
    before = snapshot(model)
    with pytest.raises(error, match=words):
        load_adapter(model, path)
    assert_untouched(model, before)


@pytest.fixture
def saved(tmp_path):
    """A file, and the model that wrote it."""
    model = tiny_mmrl()
    return save_adapter(model, tmp_path / "a.safetensors", class_names=NAMES), model


def rewrite(path, change_tensors=lambda tensors: None, change_header=lambda header: None):
    """The same file with other tensors or another header."""
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[HEADER])
    change_tensors(tensors)
    change_header(header)
    save_file(tensors, path, metadata={HEADER: json.dumps(header)})


# There and back.


@pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])
@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_round_trip_is_bit_for_bit(tmp_path, variant, custom, dtype):
    original = tiny_mmrl(tiny_clip(custom=custom), variant=variant)
    original.learner.to(dtype)
    path = save_adapter(original, tmp_path / "sub" / "folder" / "a.safetensors")
    model = fresh(tiny_clip(custom=custom), variant=variant)
    model.learner.to(dtype)
    info = load_adapter(model, path)
    assert info == read_adapter_info(path)
    for name, value in original.learner.state_dict().items():
        loaded = model.learner.state_dict()[name]
        assert loaded.dtype == value.dtype and torch.equal(loaded, value), name
    assert all(p.requires_grad for p in model.learner.parameters())


def test_the_file_holds_the_learner_and_nothing_else(saved):
    path, model = saved
    assert load_file(path).keys() == model.learner.state_dict().keys()
    values = sum(p.numel() for p in model.learner.parameters())
    assert path.stat().st_size < 8 * values + 8000


def test_features_survive(saved):
    path, original = saved
    model = fresh()
    load_adapter(model, path)
    for kind in ("class", "representation", "fused"):
        ours, theirs = (m.encode_image(tiny_images(), features=kind) for m in (model, original))
        assert torch.equal(ours, theirs)
    prompts = tiny_prompts([4, 7])
    assert torch.equal(model.encode_text(prompts), original.encode_text(prompts))


def test_the_model_takes_over_what_it_was_trained_with(tmp_path):
    trained = tiny_mmrl(variant="mmrl++", alpha=0.2, beta=0.3, reg_weight=7.0, norm_weight=0.1)
    path = save_adapter(trained, tmp_path / "a.safetensors")
    config = tiny_config(variant="mmrl++", moment_weight=0.5)
    model = MMRLCLIP.from_open_clip(tiny_clip(), config)
    assert model.config.beta == 0.9
    load_adapter(model, path)
    assert model.config == trained.config
    found, expected = (m.encode_image(tiny_images(), features="fused") for m in (model, trained))
    assert torch.equal(found, expected)


def test_some_of_it_may_be_chosen_again(saved):
    path, trained = saved
    model = fresh()
    load_adapter(model, path, {"beta": 0.3})
    assert (model.config.alpha, model.config.beta) == (trained.config.alpha, 0.3)
    with pytest.raises(ValueError, match=r"settings has 'rep_dim'.*'alpha', 'beta'"):
        load_adapter(model, path, {"rep_dim": 3})
    with pytest.raises(ValueError, match=r"beta is 2"):
        load_adapter(model, path, {"beta": 2})


# The header.


def test_header_content(tmp_path):
    model = tiny_mmrl(tiny_clip(image_layers=4, quick_gelu=True), variant="mmrl++")
    path = save_adapter(
        model,
        tmp_path / "a.safetensors",
        class_names=tuple(NAMES),
        template="a photo of a {}.",
        base_model="Some-Base",
        base_pretrained="some_tag",
        settings={"shots": 16},
        scores={"accuracy": 91.5},
    )
    info = read_adapter_info(path)
    fingerprint = info["base"].pop("fingerprint")
    assert len(info.pop("header_sha256")) == 64
    assert info == {
        "format_version": 2,
        "config": model.config.to_dict(),
        "base": {
            "model": "Some-Base",
            "pretrained": "some_tag",
            "quick_gelu": True,
            "shape": {
                "image_width": 16,
                "image_layers": 4,
                "patch_size": 8,
                "text_width": 12,
                "text_layers": 3,
                "embed_dim": 10,
                "vocab_size": 40,
            },
            "image_size": [16, 16],
            "context_length": 12,
            "preprocess": None,
        },
        "class_names": NAMES,
        "template": "a photo of a {}.",
        "settings": {"shots": 16},
        "scores": {"accuracy": 91.5},
        "tensors_sha256": tensors_digest(load_file(path)),
        "provenance": {"open_clip_mmrl": open_clip_mmrl.__version__},
    }
    assert fingerprint["dtype"] == "float64" and len(fingerprint["sha256"]) == 64
    json.dumps(info, allow_nan=False)


def test_header_of_a_model_without_a_name(saved):
    info = read_adapter_info(saved[0])
    assert info["base"]["model"] is None and info["base"]["pretrained"] is None
    assert info["template"] == "" and info["settings"] == {} == info["scores"]


def test_header_takes_the_names_that_create_model_was_given(base, tmp_path):
    model = open_clip.create_model(f"mmrlpp-{BASE}", pretrained=base.tag)
    info = read_adapter_info(save_adapter(model, tmp_path / "a.safetensors"))
    assert (info["base"]["model"], info["base"]["pretrained"]) == (BASE, "tiny")


def test_info_is_read_without_the_tensors(saved, monkeypatch):
    path, _ = saved
    expected = read_adapter_info(path)

    class HeaderOnly:
        def __init__(self, *args, **kwargs):
            self.file = safe_open(*args, **kwargs)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *args):
            return self.file.__exit__(*args)

        def metadata(self):
            return self.file.metadata()

        def keys(self):
            return self.file.keys()

        def get_slice(self, name):
            return self.file.get_slice(name)

    monkeypatch.setattr(adapter_reading, "safe_open", HeaderOnly)
    assert read_adapter_info(str(path)) == expected
    assert is_adapter(path) and is_adapter(str(path))


@pytest.mark.parametrize(
    ("names", "template", "words"),
    [
        (["cat", 3], "", "class_names has 3; .*text"),
        (["cat", " "], "", "class_names has ' '"),
        (["hot dog", "cat", "hot_dog"], "", "class_names has 'hot dog' 2 times"),
        (["cat", "x" * 2000], "", "whose class_names is no list of text of at most 1,000"),
        (["cat"], "a photo", "no place for the class name"),
    ],
)
def test_names_that_could_not_be_used_again_are_refused(tmp_path, names, template, words):
    with pytest.raises(ValueError, match=words):
        save_adapter(tiny_mmrl(), tmp_path / "a.safetensors", class_names=names, template=template)
    assert not list(tmp_path.iterdir())


class Compiled(torch.nn.Module):
    """What `torch.compile` returns, by its only attribute; its own import takes seconds."""

    def __init__(self, model):
        super().__init__()
        self._orig_mod = model


@pytest.mark.parametrize(
    "wrap", [torch.nn.DataParallel, Compiled, lambda m: torch.nn.DataParallel(Compiled(m))]
)
def test_a_wrapped_model_is_saved_and_loaded_as_itself(tmp_path, wrap):
    model = tiny_mmrl()
    expected = save_adapter(model, tmp_path / "plain.safetensors").read_bytes()
    path = save_adapter(wrap(model), tmp_path / "a.safetensors")
    assert path.read_bytes() == expected
    other = fresh()
    load_adapter(wrap(other), path)
    assert torch.equal(other.learner.space, model.learner.space)
    with pytest.raises(ValueError, match=r"a Linear is no model with representation tokens"):
        save_adapter(torch.nn.Linear(1, 1), path)


def test_class_names_have_to_be_a_list(tmp_path):
    with pytest.raises(ValueError, match=r"class_names is the text 'cat'.*list"):
        save_adapter(tiny_mmrl(), tmp_path / "a.safetensors", class_names="cat")
    assert not list(tmp_path.iterdir())


# Files that are no adapters.


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.safetensors"
    assert_refused(fresh(), path, r"no adapter file .*none\.safetensors")
    assert not is_adapter(path) and not is_adapter(tmp_path) and not is_adapter(None)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_file_is_named(saved, kept):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:kept])
    assert_refused(fresh(), path, r"a\.safetensors cannot be read .*truncated.*Copy it again")


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save(tiny_mmrl().learner.state_dict(), path)
    assert_refused(fresh(), path, r"checkpoint\.pt cannot be read as a safetensors file")
    assert not is_adapter(path)


def test_other_safetensors_are_refused(tmp_path):
    path = tmp_path / "base.safetensors"
    save_file(tiny_mmrl().learner.state_dict(), path)
    assert_refused(fresh(), path, r"base\.safetensors is a safetensors file, but not an adapter")
    assert not is_adapter(path)


@pytest.mark.parametrize("text", ["no json", "[1]", '"text"'])
def test_a_header_that_is_not_ours_is_refused(saved, text):
    path, _ = saved
    save_file(load_file(path), path, metadata={HEADER: text})
    assert_refused(fresh(), path, r"a\.safetensors")


@pytest.mark.parametrize("version", [4, 0, None, "1", True, 2.0])
def test_another_format_version_is_refused(saved, version):
    path, _ = saved
    rewrite(path, change_header=lambda header: header.update(format_version=version))
    assert_refused(
        fresh(), path, rf"adapter format {version}, this version .* reads 1, 2, 3: install"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h.pop("class_names"), "header without class_names: train again"),
        (lambda h: h.update(base=[]), "header whose base is no JSON object"),
        (lambda h: h.update(class_names="cat"), "header whose class_names is no list"),
        (lambda h: h["base"].pop("shape"), "header without shape"),
        (lambda h: h["base"].update(quick_gelu="no"), "whose quick_gelu is no true or false"),
        (lambda h: h["base"]["fingerprint"].pop("means"), "header without means"),
        (lambda h: h["base"]["shape"].pop("embed_dim"), "header without embed_dim"),
        (lambda h: h["config"].update(width=3), "config that cannot be used: .*no field 'width'"),
        (lambda h: h["config"].update(variant="mmrl3"), "variant is 'mmrl3'.*newer version"),
        (lambda h: h["config"].update(variant=["mmrl"]), "whose config is no JSON object of"),
        (lambda h: h["config"].update(rep_dim=10**9), "rep_dim is 1000000000, .*to 65,536"),
        (lambda h: h["config"].update(start_layer=9), "whose start_layer is 9; .*1 to 3"),
        (lambda h: h.update(base=None), "whose base is no JSON object"),
        (lambda h: h.update(class_names=3), "whose class_names is no list"),
        (lambda h: h.update(class_names=["cat", 3]), "whose class_names is no list"),
        (lambda h: h.update(class_names=["cat", "cat"]), "no list .* each, all different"),
        (lambda h: h.update(class_names=["cat", " "]), "no list .* each, .* none blank"),
        (lambda h: h.update(scores={"a": 10**30}), "a whole number of more than 63 bits"),
        (lambda h: h.update(settings={"lr": float("nan")}), "with the number nan"),
        (lambda h: h.update(settings={"name": "\ud800"}), "text that is no Unicode"),
        (lambda h: h.update(template="x" * 2000), "whose template is no text of at most 1,000"),
        (lambda h: h["base"].update(image_size=[4096, 4096]), "262,144 patches"),
        (lambda h: h["base"].update(image_size=[4, 4]), "have 0 patches"),
        (lambda h: h["base"].update(context_length=10**9), "whose context_length is no whole"),
        (lambda h: h["base"].update(pretrained="a\0b"), "whose pretrained is no text or null"),
        (lambda h: h["base"].update(preprocess={"std": [0, 1, 1]}), "whose std is 0"),
        (lambda h: h["base"].update(preprocess={"mean": "x"}), "whose mean is no number or list"),
        (lambda h: h["base"]["fingerprint"].update(means=["x"]), "whose means is no list of num"),
        (lambda h: h.pop("tensors_sha256"), "header without tensors_sha256"),
    ],
)
def test_a_damaged_header_is_named(saved, change, words):
    path, _ = saved
    rewrite(path, change_header=change)
    assert_refused(fresh(), path, rf"a\.safetensors .*{words}")


def test_a_header_that_is_not_as_it_was_saved_is_a_warning(saved, caplog):
    path, _ = saved
    load_adapter(fresh(), path)
    assert "digest" not in caplog.text
    rewrite(path, change_header=lambda header: header["class_names"].__setitem__(0, "gat"))
    load_adapter(fresh(), path)
    assert "a.safetensors: by its digest, its header" in caplog.text


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_deeply_nested_header_is_refused(saved, opening):
    path, _ = saved
    for depth in (30, 500, 100_000):
        save_file(load_file(path), path, metadata={HEADER: opening * depth})
        assert_refused(fresh(), path, r"a\.safetensors has a header")
    nested = json.loads('{"a":' * 30 + "1" + "}" * 30)
    rewrite(save_adapter(tiny_mmrl(), path), change_header=lambda h: h.update(settings=nested))
    assert_refused(fresh(), path, r"a\.safetensors has a header nested deeper than 20")


def test_sizes_that_the_tensors_do_not_have_are_refused_before_anything_is_built(saved):
    path, _ = saved
    huge = {"rep_dim": 60_000, "num_rep_tokens": 1_000}
    rewrite(path, change_header=lambda header: header["config"].update(huge))
    for read in (read_adapter_info, lambda p: build_from_adapter(p, device=torch.device("cpu"))):
        with pytest.raises(ValueError, match=r"a\.safetensors does not fit: .*60000"):
            read(path)


def test_a_flipped_bit_in_any_tensor_is_noticed(saved):
    path, _ = saved
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    for place in range(start, len(content), 997):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert_refused(fresh(), path, r"a\.safetensors (is damaged|does not fit)")


def test_a_tensor_of_another_type_is_refused(saved):
    path, _ = saved
    rewrite(path, lambda tensors: tensors.update(space=tensors["space"].to(torch.int64)))
    assert_refused(fresh(), path, r"a\.safetensors does not fit: space is of type I64")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_neither_saved_nor_loaded(saved, value):
    path, model = saved
    before = path.read_bytes()
    with torch.no_grad():
        model.learner.space[0, 0] = value
    with pytest.raises(ValueError, match=r"a\.safetensors was not written: .*space.*not finite"):
        save_adapter(model, path)
    assert path.read_bytes() == before

    def as_version_1(header):
        header.update(format_version=1)
        del header["tensors_sha256"]

    rewrite(path, lambda tensors: tensors["space"].fill_(value), as_version_1)
    assert_refused(fresh(), path, r"a\.safetensors holds numbers in space that are not finite")


NAMED = {"model": "ViT-Ti-8-glyphs", "pretrained": "printed"}


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"variant": "mmrl3"}},
        {"base": None},
        {"base": {}},
        {"class_names": 3},
        {"template": None},
        {"settings": []},
    ],
    ids=str,
)
def test_a_header_with_little_in_it_is_refused_by_every_way_in(tmp_path, changes):
    header = {"config": {}, "base": NAMED, "class_names": ["a", "b"], "template": "a {}."}
    path = tmp_path / "a.safetensors"
    text = json.dumps({"format_version": 1, **header, **changes})
    save_file({"space": torch.zeros(5, 8)}, path, metadata={HEADER: text})
    assert_refused(fresh(), path, r"a\.safetensors has a (header|config) ")
    for name in ("mmrl-ViT-Ti-8-glyphs", "ViT-Ti-8-glyphs"):
        with pytest.raises(ValueError, match=r"a\.safetensors has a (header|config) "):
            open_clip.create_model(name, pretrained=str(path))


# Files of earlier versions; each folder below `fixtures` was written by the version of its name.

FIXTURES = Path(__file__).parents[1] / "fixtures"
EARLIER = pytest.mark.parametrize("stem", ["adapter_mmrl", "adapter_mmrlpp"])


@EARLIER
def test_an_adapter_of_version_1_gives_the_same_features(stem):
    path = FIXTURES / "v1" / f"{stem}.safetensors"
    expected = json.loads((FIXTURES / "v1" / "adapter_features.json").read_text())[stem]
    loaded, info = build_from_adapter(path, device=torch.device("cpu"))
    for name, value in load_file(path).items():
        assert torch.equal(loaded.model.learner.state_dict()[name], value), name
    images = torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)
    tokens = loaded.class_tokens(["zero", "one"], "a photo of the {}.")
    with torch.no_grad():
        image = loaded.model.encode_image(images, True, "fused")
        text = loaded.model.encode_text(tokens, True, "fused")
    torch.testing.assert_close(image, torch.tensor(expected["image"]), rtol=0, atol=1e-5)
    torch.testing.assert_close(text, torch.tensor(expected["text"]), rtol=0, atol=1e-5)
    assert (info.config.alpha, info.class_names[2]) == (0.6, "Äpfel 🍎")


@EARLIER
def test_the_same_content_is_still_written(stem, tmp_path):
    """The same tensors; the header has digests, and a version, as well."""
    path = FIXTURES / "v1" / f"{stem}.safetensors"
    loaded, info = build_from_adapter(path, device=torch.device("cpu"))
    assert info.to_dict()["format_version"] == 1 and info.tensors_sha256 is None
    again = save_adapter(
        loaded.model,
        tmp_path / "a.safetensors",
        class_names=info.class_names,
        template=info.template,
        settings=info.settings,
        scores=info.scores,
    )
    digest = {"format_version": 2, "tensors_sha256": tensors_digest(load_file(path))}
    written = read_adapter_info(again)
    new = {name: written.pop(name) for name in ("provenance", "header_sha256")}
    assert written == {**info.to_dict(), **digest} and all(new.values())
    assert again.read_bytes().endswith(tensor_bytes(path))


def tensor_bytes(path):
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_the_header_is_read_once(monkeypatch):
    read, original = [], AdapterInfo.parse
    monkeypatch.setattr(AdapterInfo, "parse", lambda *args: read.append(args) or original(*args))
    build_from_adapter(FIXTURES / "v1" / "adapter_mmrl.safetensors", device=torch.device("cpu"))
    assert len(read) == 1


# Adapters of something else.


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"vision": {"width": 24}}, "its image_width is 16, this model's 24"),
        ({"text": {"width": 16}}, "its text_width is 12, this model's 16"),
        ({"image_layers": 4}, "its image_layers is 3, this model's 4"),
        ({"text_layers": 2}, "its text_layers is 3, this model's 2"),
        ({"vision": {"patch_size": 4}}, "its patch_size is 8, this model's 4"),
        ({"text": {"vocab_size": 50}}, "its vocab_size is 40, this model's 50"),
    ],
)
def test_another_base_is_refused(saved, other, words):
    path, _ = saved
    assert_refused(fresh(tiny_clip(**other)), path, f"belongs to another base.*{words}")


def test_another_base_is_named(tmp_path):
    path = save_adapter(
        tiny_mmrl(), tmp_path / "a.safetensors", base_model="ViT-B-16", base_pretrained="openai"
    )
    assert_refused(fresh(tiny_clip(seed=3)), path, r"on ViT-B-16 \(openai\), whose weights differ")
    assert_refused(fresh(tiny_clip(image_layers=4)), path, r"another base, ViT-B-16 \(openai\)")


@pytest.mark.parametrize("half", [False, True])
def test_other_weights_are_refused(saved, half):
    path, _ = saved
    clip = tiny_clip(seed=3)
    if half:
        clip = clip.bfloat16()
    assert_refused(fresh(clip), path, r"weights differ from this model's: create .*tag or checkp")


@pytest.mark.parametrize(
    "change",
    [
        lambda clip: clip.ln_final.bias,
        lambda clip: clip.visual.transformer.resblocks[1].mlp.c_fc.weight,
        lambda clip: clip.token_embedding.weight,
        lambda clip: clip.visual.proj,
        lambda clip: clip.logit_scale,
    ],
    ids=["norm", "weight", "embedding", "projection", "scale"],
)
def test_a_single_other_tensor_is_refused(saved, change):
    path, _ = saved
    clip = tiny_clip()
    with torch.no_grad():
        change(clip).mul_(1.001)
    assert_refused(fresh(clip), path, "weights differ")


@pytest.mark.parametrize("quick", [True, False])
def test_another_activation_is_refused(tmp_path, quick):
    path = save_adapter(tiny_mmrl(tiny_clip(quick_gelu=quick)), tmp_path / "a.safetensors")
    names = ("QuickGELU", "GELU") if quick else ("GELU", "QuickGELU")
    words = rf"with {names[0]}, this model runs {names[1]}: .*force_quick_gelu={quick}"
    assert_refused(fresh(tiny_clip(quick_gelu=not quick)), path, words)


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        ({"num_rep_tokens": 3}, "trained with num_rep_tokens=2, this model has 3"),
        ({"rep_dim": 7}, "trained with rep_dim=6, this model has 7"),
        ({"start_layer": 3}, "trained with start_layer=2, this model has 3"),
        ({"variant": "mmrl++"}, r"trained with variant='mmrl', this model has 'mmrl\+\+'"),
        ({"residual_rank": 3}, "trained with residual_rank=2, this model has 3"),
    ],
)
def test_another_config_is_refused(saved, ours, words):
    path, _ = saved
    assert_refused(fresh(**ours), path, f"{words}.*pretrained=<the adapter file>")


# The variants of the ablation.

ABLATIONS = pytest.mark.parametrize(
    "settings",
    [
        {"token_sides": "image"},
        {"token_sides": "text"},
        {"token_sides": "text", "variant": "mmrl++"},
        {"space": "independent"},
        {"space": "text_to_image"},
        {"regularizer": "l1"},
    ],
    ids=lambda s: " ".join(s.values()),
)


@ABLATIONS
def test_a_variant_there_and_back(tmp_path, settings):
    original, model = tiny_mmrl(**settings), fresh(**settings)
    path = save_adapter(original, tmp_path / "a.safetensors")
    assert load_file(path).keys() == original.learner.state_dict().keys()
    load_adapter(model, path)
    for name, value in original.learner.state_dict().items():
        assert torch.equal(model.learner.state_dict()[name], value), name
    kind = {"features": "fused"}
    assert torch.equal(
        model.encode_image(tiny_images(), **kind), original.encode_image(tiny_images(), **kind)
    )


@ABLATIONS
def test_a_variant_is_part_of_the_shape(tmp_path, settings):
    name, value = next(iter(settings.items()))
    variant = {"variant": settings.get("variant", "mmrl")}
    path = save_adapter(tiny_mmrl(**settings), tmp_path / "a.safetensors")
    assert_refused(fresh(**variant), path, f"trained with {name}='{value}', this model has '")
    save_adapter(tiny_mmrl(**variant), path)
    assert_refused(fresh(**settings), path, f"trained with {name}='.*', this model has '{value}'")


def test_an_adapter_older_than_the_ablation_is_of_the_full_method(saved):
    path, original = saved

    def forget(header):
        for name in ("token_sides", "space", "regularizer"):
            del header["config"][name]

    rewrite(path, change_header=forget)
    assert read_adapter_info(path)["config"] == original.config.to_dict()
    model = fresh()
    load_adapter(model, path)
    assert torch.equal(model.learner.space, original.learner.space)
    assert_refused(fresh(token_sides="text"), path, "trained with token_sides='both', this model")


def test_a_config_that_is_no_object_is_refused(saved):
    path, _ = saved
    rewrite(path, change_header=lambda header: header.update(config="mmrl"))
    assert_refused(fresh(), path, r"a\.safetensors has a header whose config is no JSON object")


def drop(tensors):
    del tensors["space"]


def add(tensors):
    tensors["more"] = torch.zeros(1)


def widen(tensors):
    tensors["image_aligner.bias"] = torch.zeros(2, 17)


def move(tensors):
    tensors["start_layer"] = torch.tensor(3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop, r"does not fit: missing \['space'\]"),
        (add, r"does not fit: .*not known \['more'\]"),
        (widen, r"does not fit: image_aligner\.bias is \(2, 17\), this model has \(2, 16\)"),
        (move, r"tokens begin at layer 3, this model's at 2"),
    ],
)
def test_loading_is_strict(saved, change, words):
    path, _ = saved
    rewrite(path, change_tensors=change)
    assert_refused(fresh(), path, words)


# The same base in another guise.


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_base_in_another_precision(saved, dtype):
    path, original = saved
    model = fresh(tiny_clip().to(dtype))
    load_adapter(model, path)
    assert torch.equal(model.learner.space, original.learner.space.float())
    assert model.learner.space.dtype == torch.float32


@pytest.mark.parametrize("loaded", ["fp32", "bf16", "pure_bf16", "fp16", "pure_fp16"])
@pytest.mark.parametrize("written", ["fp32", "bf16", "pure_bf16"])
def test_every_pair_of_open_clip_s_precisions(base, tmp_path, written, loaded):
    name = f"mmrl-{BASE}"
    original = open_clip.create_model(name, pretrained=base.tag, precision=written)
    path = save_adapter(original, tmp_path / "a.safetensors")
    model = open_clip.create_model(name, pretrained=base.tag, precision=loaded)
    load_adapter(model, path)
    ours, theirs = model.learner.space.detach(), original.learner.space.detach()
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"force_image_size": 32}, r"with image_size=\[16, 16\], this model has \[32, 32\]"),
        ({"force_image_size": (32, 8)}, r"with image_size=\[16, 16\], this model has \[32, 8\]"),
        ({"force_context_length": 9}, r"with context_length=12, this model has 9"),
        ({"force_preprocess_cfg": {"mean": [0.1, 0.2, 0.3]}}, r"with mean=.*has \[0.1, 0.2, 0.3\]"),
        ({"force_preprocess_cfg": {"interpolation": "bilinear"}}, "with interpolation=bicubic"),
        ({"force_preprocess_cfg": {"resize_mode": "squash"}}, "with resize_mode=shortest"),
    ],
)
def test_other_input_than_in_training_is_refused_unless_it_is_chosen(base, tmp_path, other, words):
    name = f"mmrl-{BASE}"
    original = open_clip.create_model(name, pretrained=base.tag)
    shake(original.learner)
    path = save_adapter(original, tmp_path / "a.safetensors")
    model = open_clip.create_model(name, pretrained=base.tag, **other)
    assert_refused(model, path, rf"a\.safetensors was trained {words}.*pretrained=<the adapter")
    chosen = open_clip.create_model(name, pretrained=path, **other)
    assert torch.equal(chosen.learner.space, original.learner.space)


def test_input_that_is_not_known_or_written_in_another_way_is_accepted(base, tmp_path):
    name = f"mmrl-{BASE}"
    original = open_clip.create_model(name, pretrained=base.tag)
    path = save_adapter(original, tmp_path / "a.safetensors")
    cfg = dict(original.visual.preprocess_cfg)
    for changed in (None, {**cfg, "mean": list(cfg["mean"])}, {**cfg, "fill_color": 3}):
        model = open_clip.create_model(name, pretrained=base.tag)
        model.visual.preprocess_cfg = changed
        load_adapter(model, path)
    rewrite(path, change_header=lambda header: header["base"].update(preprocess=None))
    load_adapter(open_clip.create_model(name, base.tag), path)


def test_the_base_in_open_clip_s_other_layout(base, tmp_path):
    name = f"mmrl-{BASE}"
    path = save_adapter(open_clip.create_model(name, base.tag), tmp_path / "a.safetensors")
    model = open_clip.create_model(name, pretrained=base.tag, force_custom_text=True)
    load_adapter(model, path)


def test_the_fingerprint_sees_every_frozen_tensor_but_positions():
    clip = tiny_clip()
    model = fresh(clip)
    reference = bases.base_fingerprint(model)
    for name, parameter in clip.named_parameters():
        with torch.no_grad():
            parameter.mul_(1.5).add_(0.5)
            found = bases.base_fingerprint(model)
            parameter.sub_(0.5).div_(1.5)
        is_same = found.sha256 == reference.sha256
        is_position = name.endswith("positional_embedding")
        assert is_same == is_position, name
        assert (found.positions == reference.positions) != is_position, name


# Writing.


def test_writing_is_atomic(saved, monkeypatch):
    path, _ = saved
    before = path.read_bytes()

    def full_disk(handle):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_adapter(tiny_mmrl(alpha=0.1), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_an_interrupt_leaves_no_litter(tmp_path, monkeypatch):
    def interrupted(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"data")
    assert not list(tmp_path.iterdir())


def test_written_files_have_the_user_s_usual_permissions(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(str(tmp_path / "ours"), b"data")
    assert (tmp_path / "ours").read_bytes() == b"data"
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_saving_over_an_older_file(saved):
    path, _ = saved
    other = tiny_mmrl(alpha=0.2)
    shake(other.learner)
    assert save_adapter(other, str(path)) == path
    model = fresh()
    load_adapter(model, path)
    assert torch.equal(model.learner.space, other.learner.space)
    assert read_adapter_info(path)["config"]["alpha"] == 0.2


@pytest.mark.parametrize("scores", [{"base": float("nan")}, {"path": tuple}])
def test_what_json_cannot_hold_is_refused_and_nothing_written(tmp_path, scores):
    with pytest.raises(ValueError, match=r"settings, scores or .* hold what JSON cannot"):
        save_adapter(tiny_mmrl(), tmp_path / "a.safetensors", scores=scores)
    assert not list(tmp_path.iterdir())
