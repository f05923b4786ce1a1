"""What `verify` notices, and what it leaves alone."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers.adapters import write_adapter
from helpers.places import fill_cache, fill_folder
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from open_clip_mmrl import assets, save_adapter
from open_clip_mmrl.hub.adapter_reading import HEADER, read_adapter
from open_clip_mmrl.hub.load import build_for_training
from open_clip_mmrl.hub.verify import local_base, verify

FIXTURES = Path(__file__).parents[1] / "fixtures" / "v1"


@pytest.fixture
def saved(tmp_path):
    return write_adapter(tmp_path / "a.safetensors", ["one", "two"])


def rewrite(path, change):
    """The same file after `change(header, tensors)`."""
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[HEADER])
    change(header, tensors)
    save_file(tensors, path, metadata={HEADER: json.dumps(header)})


def outcome(path, **how):
    return {check.name: check.holds for check in verify(path, **how)}


def test_a_file_as_saved_passes(saved):
    assert outcome(saved) == {"tensors": True, "header": True, "base": True}
    assert outcome(read_adapter(saved)) == outcome(saved)


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (lambda header, _: header["class_names"].reverse(), "header"),
        (lambda header, _: header["scores"].update(metrics={"accuracy": 99}), "header"),
        (lambda header, _: header.update(later=1), "header"),
        (lambda header, _: header.update(header_sha256="0"), "header"),
        (lambda _, tensors: tensors["space"].neg_(), "tensors"),
    ],
)
def test_what_was_changed_is_named_and_nothing_else(saved, change, failed):
    rewrite(saved, change)
    assert [name for name, holds in outcome(saved).items() if not holds] == [failed]


def test_the_order_and_the_spelling_of_a_header_do_not_matter(saved):
    def reorder(header, _):
        kept = dict(reversed(header.items()))
        header.clear()
        header.update(kept)

    rewrite(saved, reorder)
    assert all(outcome(saved).values())


def test_files_of_earlier_versions_have_less_to_compare():
    found = outcome(FIXTURES / "adapter_mmrl.safetensors")
    assert found == {"tensors": None, "header": None, "base": True}


def test_other_base_weights_are_named(saved, tmp_path):
    weights = load_file(assets.pretrained_config()["file"])
    other = tmp_path / "other.pt"
    torch.save({name: value.float().neg() for name, value in weights.items()}, other)
    base = verify(saved, pretrained=str(other))[-1]
    assert not base.holds and "weights differ" in base.text


def test_nothing_is_downloaded_unless_asked(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", pytest.fail)
    rewrite(saved, lambda header, _: header["base"].update(model="ViT-B-32", pretrained="openai"))
    base = verify(saved)[-1]
    assert base.holds is False and "--download" in base.text and "ViT-B-32 (openai)" in base.text


@pytest.mark.parametrize("kind", ["hf-hub", "local-dir"])
def test_the_base_of_a_place_is_compared_without_a_network(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    fill_cache(tmp_path / "cache", "org/tiny-clip")
    place = f"local-dir:{fill_folder(tmp_path / 'folder')}"
    if kind == "hf-hub":
        place = "hf-hub:org/tiny-clip"
    cpu = torch.device("cpu")
    loaded = build_for_training(place, None, method="mmrl", device=cpu, seed=1)
    path = save_adapter(loaded.model, tmp_path / "x.safetensors")
    monkeypatch.setattr("socket.socket.connect", pytest.fail)
    assert outcome(path) == {"tensors": True, "header": True, "base": True}
    for there in ("folder", "cache"):
        shutil.rmtree(tmp_path / there)
    base = verify(path)[-1]
    assert base.holds is False and ("--download" in base.text or "no folder" in base.text)


def test_cached_weights_are_found_where_their_tools_keep_them(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    repository = tmp_path / "models--timm--vit_base_patch32_clip_224.openai"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    assert local_base("ViT-B-32", "openai") is None
    (snapshot / "open_clip_model.safetensors").touch()
    file = str(snapshot / "open_clip_model.safetensors")
    assert local_base("ViT-B-32", "openai") == ("ViT-B-32", file)
    place = "hf-hub:timm/vit_base_patch32_clip_224.openai"
    assert local_base(place, place) == (f"local-dir:{snapshot}", None)
    for weights in (str(tmp_path / "no.pt"), "no-tag", "hf-hub:no/where"):
        assert local_base("ViT-B-32", weights) is None
