"""Base weights from the files that people have, and the position embeddings in them."""

import logging
import zipfile
from argparse import Namespace

import open_clip
import pytest
import torch
from helpers.tiny import BASE, shake, tiny_model_config
from open_clip import factory, pretrained
from safetensors.torch import save_file
from torch.nn import functional as F

import open_clip_mmrl
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.hub.load import RANDOM, build_for_training

MMRL = f"mmrl-{BASE}"


def assert_same_base(model, base_model):
    for name, value in base_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def prefixed(prefix):
    return lambda state: {prefix + name: value for name, value in state.items()}


OPENAI = {"input_resolution": torch.tensor(16), "context_length": torch.tensor(12)}
OPENAI["vocab_size"] = torch.tensor(40)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {**state, **OPENAI},
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        lambda state: {"model": state},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {"state_dict": prefixed("module.")(state)}, "optimizer": {}},
        lambda state: {**state, "logit_scale": state["logit_scale"].reshape(1)},
    ],
    ids=["OpenAI", "module", "_orig_mod", "both", "model", "state_dict", "nested", "scale of [1]"],
)
def test_state_dicts_in_the_wrapping_of_trainings(base, tmp_path, change):
    path = tmp_path / "weights.pt"
    torch.save(change(base.model.state_dict()), path)
    model = open_clip.create_model(MMRL, pretrained=str(path))
    assert_same_base(model, base.model)
    other = open_clip.create_model(MMRL)
    open_clip.load_checkpoint(other, str(path))
    assert_same_base(other, base.model)


def test_openai_s_weights_without_quick_gelu_are_a_warning(base, tmp_path, caplog):
    path = tmp_path / "weights.pt"
    torch.save({**base.model.state_dict(), **OPENAI}, path)
    open_clip.create_model(MMRL, pretrained=str(path), force_quick_gelu=True)
    assert "QuickGELU" not in caplog.text
    open_clip.create_model(MMRL, pretrained=str(path))
    assert "weights.pt holds OpenAI's weights" in caplog.text


@pytest.fixture
def archive(tmp_path):
    """The outside of a TorchScript archive."""
    path = tmp_path / "ViT.pt"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("ViT/data.pkl", "ViT/constants.pkl", "ViT/code/model.py", "ViT/version"):
            file.writestr(name, b"3")
    return path


def test_an_archive_with_code_is_opened_only_if_that_is_asked(base, archive, monkeypatch):
    with pytest.raises(ValueError, match=r"ViT\.pt is a TorchScript archive.*torch\.jit\.load"):
        open_clip.create_model(MMRL, pretrained=str(archive))
    script = type("Script", (), {"state_dict": lambda _: {**base.model.state_dict(), **OPENAI}})
    monkeypatch.setattr(torch.jit, "load", lambda path, map_location: script())
    model = open_clip.create_model(MMRL, pretrained=str(archive), weights_only=False)
    assert_same_base(model, base.model)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {**s, "visual.proj": s["visual.proj"][:, :7]}, "embedding width 7, .* wants 10"),
        (
            lambda s: {**s, "visual.conv1.weight": s["visual.conv1.weight"][:9]},
            "this file holds image width 9, the model wants 16",
        ),
        (
            lambda s: {k: v[..., :8] if k == "positional_embedding" else v for k, v in s.items()},
            r"its positional_embedding is \(12, 8\), the model wants \(12, 12\)",
        ),
        (
            lambda s: {k: v for k, v in s.items() if "ln_final" not in k},
            r"2 of \d+ tensors are missing \(ln_final.weight, ln_final.bias\), 0 are not known",
        ),
        (
            lambda s: {
                "visual.class_embedding": s["visual.class_embedding"],
                "x.y": s["ln_final.bias"],
            },
            r"tensors are missing \(.* and \d+ more\), 1 are not known \(x\.y\)",
        ),
        (
            lambda s: {**s, "visual.proj": torch.full_like(s["visual.proj"], float("nan"))},
            "holds numbers in visual.proj that are not finite",
        ),
        (lambda s: {**s, "visual.proj": s["visual.proj"].to_sparse()}, "it has to be dense"),
        (lambda s: {**s, "step": 3}, "holds more than tensors: step"),
        (lambda s: [1, 2], "holds no state dict but 'list'"),
        (lambda s: {}, "holds no state dict"),
    ],
    ids=range(10),
)
def test_weights_that_do_not_fit_are_named(base, tmp_path, change, words):
    path = tmp_path / "weights.pt"
    torch.save(change(base.model.state_dict()), path)
    with pytest.raises(ValueError, match=rf"weights\.pt .*{words}"):
        open_clip.create_model(MMRL, pretrained=str(path))
    with pytest.raises(ValueError, match=rf"weights\.pt .*{words}"):
        build_for_training(BASE, str(path), device=torch.device("cpu"), seed=1)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.npz"])
@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"PK\x03\x04 no archive", b"\x80\x02cos\nx\n."]
)
def test_files_that_cannot_be_read_are_named_without_unsafe_advice(base, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name) as error:
        open_clip.create_model(MMRL, pretrained=str(path))
    assert not any(word in str(error.value) for word in ("weights_only", "allow_pickle"))


def test_objects_in_a_checkpoint_are_not_loaded(base, tmp_path):
    torch.save({"state_dict": base.model.state_dict(), "args": Namespace(lr=1)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt .*hold other objects.*plain state dict") as error:
        open_clip.create_model(MMRL, pretrained=str(tmp_path / "a.pt"))
    assert "weights_only" not in str(error.value)


# Position embeddings.


def resized(stored, old, new):
    grid = stored[1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, new, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([stored[:1], grid.permute(0, 2, 3, 1).reshape(new[0] * new[1], -1)])


@pytest.mark.parametrize(
    ("size", "grid"), [((32, 8), (4, 1)), ((8, 32), (1, 4)), ((24, 16), (3, 2))]
)
def test_another_aspect_ratio_resizes_also_where_the_number_is_the_same(base, size, grid):
    stored = base.model.visual.positional_embedding
    for source in ("tiny", str(base.path)):
        model = open_clip.create_model(MMRL, pretrained=source, force_image_size=size).eval()
        assert model.visual.grid_size == grid
        assert torch.equal(model.visual.positional_embedding, resized(stored, (2, 2), grid))


def test_an_adapter_of_another_aspect_ratio_loads_again(base, tmp_path):
    model = open_clip.create_model(MMRL, pretrained="tiny", force_image_size=(32, 8)).eval()
    path = open_clip_mmrl.save_adapter(model, tmp_path / "a.safetensors")
    again = open_clip.create_model(MMRL, pretrained=path).eval()
    images = torch.randn(2, 3, 32, 8)
    assert torch.equal(again.encode_image(images), model.encode_image(images))


@pytest.mark.parametrize("size", [None, (32, 16), (16, 16), (32, 32), 16])
def test_a_base_that_is_not_square(registries, tmp_path, size):
    config = tiny_model_config()
    config["vision_cfg"]["image_size"] = [32, 16]
    factory._MODEL_CONFIGS["Tall"] = config
    stock = shake(open_clip.create_model("Tall"))
    save_file(stock.state_dict(), tmp_path / "tall.safetensors")
    pretrained._PRETRAINED["Tall"] = {"tall": {"file": str(tmp_path / "tall.safetensors")}}
    open_clip_mmrl.register()
    model = open_clip.create_model("mmrl-Tall", pretrained="tall", force_image_size=size)
    stored = stock.visual.positional_embedding
    same = model.visual.grid_size == (4, 2)
    expected = stored if same else resized(stored, (4, 2), model.visual.grid_size)
    assert torch.equal(model.visual.positional_embedding, expected)


def test_positions_of_an_unknown_grid_are_refused(base, tmp_path):
    state = base.model.state_dict()
    state["visual.positional_embedding"] = torch.zeros(8, 16)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.safetensors has embeddings of 7 positions"):
        open_clip.create_model(MMRL, pretrained=str(tmp_path / "a.safetensors"))


# What cannot be created.


def test_scripting_is_refused(base):
    with pytest.raises(UsageError, match=r"jit=True: .*leave jit out"):
        open_clip.create_model(MMRL, pretrained="tiny", jit=True)


# Downloads.


def test_a_failed_download_is_one_short_message(base, monkeypatch, caplog):
    def download(cfg, cache_dir=None):
        for _ in range(20):
            logging.getLogger("huggingface_hub.utils._http").warning("retrying")
            logging.getLogger().error("failed")
        raise OSError("no network\n" + "and much more\n" * 50)

    logging.getLogger("huggingface_hub.utils._http")
    monkeypatch.setattr(factory, "download_pretrained", download)
    with pytest.raises(
        ValueError, match=r"the weights tiny could not be downl.*connection.*no netw"
    ) as error:
        build_for_training(BASE, "tiny", device=torch.device("cpu"), seed=1)
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)
    assert not caplog.messages
    assert not logging.getLogger().filters


def test_loading_leaves_the_loggers_as_they_were(base):
    root = logging.getLogger()
    before = (root.level, list(root.filters))
    build_for_training(BASE, RANDOM, device=torch.device("cpu"), seed=1)
    assert (root.level, list(root.filters)) == before
