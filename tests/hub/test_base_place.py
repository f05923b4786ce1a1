"""Bases by the name of a place: `mmrl-hf-hub:org/name` and `mmrl-local-dir:PATH`."""

import json
import shutil

import open_clip
import pytest
import torch
from helpers.places import fill_cache, fill_folder
from helpers.tiny import tiny_images, tiny_prompts
from huggingface_hub import constants

import open_clip_mmrl
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.hub.base_place import base_config
from open_clip_mmrl.hub.load import build_for_training, build_from_adapter, resolve_pretrained
from open_clip_mmrl.hub.names import ModelName

REPOSITORY = "org/tiny-clip"
IMAGES, TOKENS = tiny_images(2).float(), tiny_prompts([4, 7])
CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of huggingface_hub with a tiny base, without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fill_cache(tmp_path / "cache", REPOSITORY)
    return tmp_path / "cache"


@pytest.fixture(params=["hf-hub", "local-dir"])
def place(request, cache, tmp_path):
    """The name of a base in the cache, and in a folder."""
    if request.param == "hf-hub":
        return f"hf-hub:{REPOSITORY}"
    return f"local-dir:{fill_folder(tmp_path / 'folder')}"


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("prefix", ["mmrl-", "mmrlpp-"])
def test_models_transforms_and_tokenizers(place, prefix):
    model, _, transform = open_clip.create_model_and_transforms(prefix + place)
    base, _, theirs = open_clip.create_model_and_transforms(place)
    assert isinstance(model, open_clip_mmrl.MMRLCLIP)
    assert not isinstance(base, open_clip_mmrl.MMRLCLIP)
    assert str(transform) == str(theirs)
    model.eval(), base.eval()
    with torch.no_grad():
        same(model.encode_image(IMAGES, features="frozen"), base.encode_image(IMAGES))
        same(model.encode_text(TOKENS, features="frozen"), base.encode_text(TOKENS))
    ours, stock = open_clip.get_tokenizer(prefix + place), open_clip.get_tokenizer(place)
    assert type(ours) is type(stock) and ours.context_length == stock.context_length == 12
    assert model.base_origin == {"model": place, "pretrained": place}


def test_adapters_remember_their_base_and_load_it_again(place, tmp_path):
    loaded = build_for_training(place, None, method="mmrl", device=CPU, seed=1)
    assert loaded.name == f"mmrl-{place}"
    path = open_clip_mmrl.save_adapter(loaded.model, tmp_path / "x.safetensors")
    assert open_clip_mmrl.read_adapter_info(path)["base"]["model"] == place
    again, _ = build_from_adapter(path, device=CPU)
    with torch.no_grad():
        assert torch.equal(
            again.model.encode_image(IMAGES), loaded.model.eval().encode_image(IMAGES)
        )
    by_hand = open_clip.create_model(f"mmrl-{place}", pretrained=str(path))
    assert by_hand.config == loaded.model.config


def test_a_folder_that_was_moved_is_given_as_base_weights(tmp_path):
    old = fill_folder(tmp_path / "old")
    loaded = build_for_training(f"local-dir:{old}", None, device=CPU, seed=1)
    path = open_clip_mmrl.save_adapter(loaded.model, tmp_path / "x.safetensors")
    shutil.move(old, tmp_path / "new")
    with pytest.raises(UsageError, match="there is no folder"):
        build_from_adapter(path, device=CPU)
    again, _ = build_from_adapter(path, base_pretrained=f"local-dir:{tmp_path / 'new'}", device=CPU)
    assert again.model.base_origin["model"] == f"local-dir:{tmp_path / 'new'}"


def test_another_base_at_the_same_place_is_refused(tmp_path):
    folder = fill_folder(tmp_path / "folder")
    loaded = build_for_training(f"local-dir:{folder}", None, device=CPU, seed=1)
    path = open_clip_mmrl.save_adapter(loaded.model, tmp_path / "x.safetensors")
    fill_folder(folder, seed=5)
    with pytest.raises(ValueError, match="whose weights differ from this model's"):
        build_from_adapter(path, device=CPU)


def test_relative_folders_become_absolute(tmp_path, monkeypatch):
    folder = fill_folder(tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    for given in ("local-dir:folder", "mmrl-local-dir:./folder"):
        assert ModelName.parse(given).base == f"local-dir:{folder}"


def test_places_bring_their_weights(place, tmp_path):
    name = ModelName.parse(f"mmrl-{place}")
    assert resolve_pretrained(name, None) == resolve_pretrained(name, place) == place
    with pytest.raises(UsageError, match=r"brings its own weights: leave pretrained out"):
        resolve_pretrained(name, "openai")
    with pytest.raises(UsageError, match=r"brings its own weights: leave pretrained out"):
        open_clip.create_model(f"mmrl-{place}", pretrained="openai")


def test_places_without_weights(tmp_path):
    name = f"mmrl-local-dir:{fill_folder(tmp_path / 'empty', weights=False)}"
    with pytest.raises(ValueError, match=r"config but no weights .*load_weights=False"):
        open_clip.create_model(name)
    assert open_clip.create_model(name, load_weights=False).base_origin is not None


def write(folder, content):
    folder.mkdir(exist_ok=True)
    (folder / "open_clip_config.json").write_text(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no model of open_clip; .*open_clip_config.json"),
        ("{", "open_clip_config.json"),
        ('{"model_cfg": 3}', "has no model_cfg"),
        ('{"model_cfg": {"mmrl_cfg": {}}}', "tokens twice: create 'local-dir:"),
        (
            json.dumps({"model_cfg": {"vision_cfg": {"layers": [3, 4]}, "text_cfg": {}}}),
            r"does not support .*a ResNet, which has no tokens\. The nearest that does is \w+",
        ),
    ],
)
def test_folders_that_hold_no_base(tmp_path, content, words):
    folder = tmp_path / "folder"
    folder.mkdir()
    if content is not None:
        write(folder, content)
    for create in (
        lambda: open_clip.create_model(f"mmrl-local-dir:{folder}"),
        lambda: build_for_training(f"local-dir:{folder}", None, device=CPU, seed=1),
    ):
        with pytest.raises(ValueError, match=words):
            create()


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("hf-hub:org/other", "org/other is not in the cache, and .*HF_HUB_OFFLINE"),
        ("hf-hub:other", "no name of a repository"),
        (f"hf-hub:{REPOSITORY}@main", "takes no revision of a base; leave @main out"),
        ("local-dir:", "there is no folder"),
        ("local-dir:/a/folder", "there is no folder /a/folder"),
    ],
)
def test_places_that_do_not_exist(cache, base, words):
    with pytest.raises(ValueError, match=words):
        base_config(ModelName.parse(base))
    with pytest.raises(ValueError, match=words):
        open_clip.create_model(f"mmrl-{base}")


def test_images_smaller_than_a_patch(place):
    with pytest.raises(UsageError, match=r"4 x 4 pixels hold no patch of 8 x 8"):
        open_clip.create_model(f"mmrl-{place}", force_image_size=4)
