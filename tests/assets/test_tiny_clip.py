"""The embedded model: a plain open_clip CLIP that is small and reads printed characters."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import matplotlib
import open_clip
import pytest
import torch

from open_clip_mmrl import assets
from open_clip_mmrl.assets import (
    characters,
    families,
    glyphs,
    reading,
    train_tiny_clip,
    training,
)

UNSEEN_SEED = reading.HELD_OUT_SEED + 17  # training takes lower seeds only


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(assets.weights_path())


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    model = open_clip.CLIP(**assets.model_config())
    missing = open_clip.load_checkpoint(model, str(assets.weights_path()), strict=True)
    assert not missing.missing_keys and not missing.unexpected_keys
    return model.eval()


def test_config_builds_a_plain_clip(model):
    config = assets.model_config()
    assert set(config) == {"embed_dim", "vision_cfg", "text_cfg"}
    assert type(model) is open_clip.CLIP
    assert type(model.visual) is open_clip.transformer.VisionTransformer
    assert model.visual.pool_type == "tok" and model.visual.attn_pool is None
    assert model.text_pool_type == "argmax"
    size = config["vision_cfg"]["image_size"]
    assert model.encode_image(torch.zeros(2, 3, size, size)).shape == (2, config["embed_dim"])
    assert config == reading.MODEL


def test_configs_are_copies_and_fit_open_clip():
    assets.model_config()["vision_cfg"].clear()
    assert assets.model_config()["vision_cfg"]
    entry = assets.pretrained_config()
    assert open_clip.pretrained.download_pretrained(entry) == entry["file"]
    assert set(entry) == {"file", "mean", "std", "interpolation", "resize_mode"}
    assert str(assets.model_config()["vision_cfg"]["patch_size"]) in assets.MODEL_NAME


def test_weights_are_half_precision_and_finite(state):
    for name, tensor in state.items():
        full = name.endswith("positional_embedding")  # so that open_clip can resize it
        assert tensor.dtype == (torch.float32 if full else torch.float16), name
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_token_rows_never_trained_are_zero(state):
    captions = [t.format(name) for t in characters.TEMPLATES for name in characters.CLASSES]
    used = reading.tokenize(captions).unique()
    table = state["token_embedding.weight"]
    unused = torch.ones(len(table), dtype=torch.bool)
    unused[used] = False
    assert not table[unused].any()
    assert table[used].any(1).all()


def test_files_are_small_when_compressed():
    folder = assets.weights_path().parent
    files = [path for path in folder.iterdir() if path.is_file()]
    assert sum(len(zlib.compress(path.read_bytes(), 6)) for path in files) < 5_000_000


@pytest.mark.parametrize("fonts", [characters.TRAIN_FONTS, characters.HELD_OUT_FONTS])
def test_reads_unseen_printed_characters(model, fonts):
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    shipped = tuple(name for name in fonts if (folder / f"{name}.ttf").is_file())
    assert set(fonts) - set(shipped) <= {"cmti10"}  # matplotlib has it from 3.11 on
    generator = torch.Generator().manual_seed(UNSEEN_SEED)
    pictures, labels = glyphs.GlyphBank(shipped).sample(600, generator)
    entry = assets.pretrained_config()
    mean, std = (torch.tensor(entry[key])[:, None, None] for key in ("mean", "std"))
    config = assets.model_config()["text_cfg"]
    tokenizer = open_clip.SimpleTokenizer(context_length=config["context_length"])
    with torch.no_grad():
        text = model.encode_text(
            tokenizer([f"a photo of the {c}." for c in characters.CLASSES]), True
        )
        found = (model.encode_image((pictures - mean) / std, True) @ text.T).argmax(1)
    assert (found == labels).float().mean() >= 0.9


def test_digits_are_the_first_ten_classes():
    names = list(characters.CLASSES)
    assert names[:10] == [f"digit {name}" for name in characters.DIGIT_NAMES]
    assert [characters.CLASSES[name] for name in names[:10]] == list("0123456789")
    drawn = "".join(characters.CLASSES.values())
    assert len(set(drawn)) == len(drawn)
    assert not set(characters.TRAIN_FONTS) & set(characters.HELD_OUT_FONTS)


def test_renderings_follow_the_seed():
    bank = glyphs.GlyphBank(("DejaVuSans",))
    first, second, other = (
        bank.sample(8, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (8, 3, glyphs.IMAGE_SIZE, glyphs.IMAGE_SIZE)
    assert first[0].min() >= 0 and first[0].max() <= 1


def test_bad_input_is_named():
    with pytest.raises(
        ValueError, match=rf"matplotlib {matplotlib.__version__} has no font 'Comic'.*DejaVuSans"
    ):
        glyphs.GlyphBank(("Comic",))
    with pytest.raises(ValueError, match="no fonts"):
        glyphs.GlyphBank(())
    bank = glyphs.GlyphBank(("DejaVuSans",))
    with pytest.raises(ValueError, match=r"count is 0.*at least 1"):
        bank.sample(0, torch.Generator())


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--steps", "5", "--warmup", "9"], "must exceed --warmup"),
        (["--seed", "-1"], "got --seed -1"),
        (["--batch-size", "0"], "--batch-size 0"),
    ],
)
def test_command_line_refuses_bad_values(tmp_path, capsys, extra, message):
    with pytest.raises(SystemExit):
        train_tiny_clip.parse(["--output", str(tmp_path), *extra])
    assert message in capsys.readouterr().err


@pytest.fixture
def short_measuring(monkeypatch):
    monkeypatch.setattr(characters, "TRAIN_FONTS", ("DejaVuSans",))
    monkeypatch.setattr(characters, "HELD_OUT_FONTS", ("cmss10",))
    monkeypatch.setattr(reading, "HELD_OUT_COUNT", 47)


def test_training_writes_what_the_package_reads(tmp_path, short_measuring):
    command = ["--steps=2", "--warmup=1", "--batch-size=4", "--log-every=0", "--output"]
    weights = []
    for name in ("first", "second"):
        train_tiny_clip.main([*command, str(tmp_path / name)])
        weights.append((tmp_path / name / train_tiny_clip.WEIGHTS_FILE).read_bytes())
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == [
            train_tiny_clip.CONFIG_FILE,
            train_tiny_clip.WEIGHTS_FILE,
        ]
    assert weights[0] == weights[1]
    content = json.loads((tmp_path / "first" / train_tiny_clip.CONFIG_FILE).read_text())
    assert set(assets.model_config()) <= set(content)
    assert set(assets.training_record()) == set(content["record"])
    assert 0 <= content["record"]["accuracy"]["printed_seen_fonts"]["all_classes"] <= 1


def test_contrastive_loss_prefers_the_fitting_caption():
    labels = torch.tensor([0, 0, 2])
    right = 20 * torch.nn.functional.one_hot(labels, 4).float()
    flat = torch.zeros(3, 4)
    assert training.contrastive_loss(right, labels) < 0.5
    # Flat logits: log 4 for a picture's four captions, log 3 for a caption's three pictures.
    expected = (torch.tensor(4.0).log() + torch.tensor(3.0).log()) / 2
    assert torch.isclose(training.contrastive_loss(flat, labels), expected)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_other_families_train_and_load_as_open_clips_local_dir(family, tmp_path, short_measuring):
    options = ["--family", family, "--steps=2", "--warmup=1", "--batch-size=4", "--log-every=0"]
    train_tiny_clip.main(["--output", str(tmp_path), *options])
    model = open_clip.create_model(f"local-dir:{tmp_path}").eval()
    assert (model.logit_bias is not None) == (family == "siglip")
    assert type(model.visual) is open_clip.timm_model.TimmModel
    pictures = torch.rand(2, 3, glyphs.IMAGE_SIZE, glyphs.IMAGE_SIZE)
    text = model.encode_text(reading.tokenize(["a", "b"]))
    assert model.encode_image(reading.normalize(pictures)).shape == text.shape


def test_sigmoid_loss_is_the_mean_over_pictures_of_all_pairs():
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]], dtype=torch.float64)
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    expected = torch.log1p(torch.exp(-signs * logits)).sum() / 2
    assert training.sigmoid_loss(logits, torch.tensor([0, 1])) == pytest.approx(expected.item())
