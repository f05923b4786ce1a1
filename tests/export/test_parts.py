"""The files that every export has: preparation of images, tokenizer, class matrix."""

import json
from dataclasses import replace

import numpy as np
import open_clip
import pytest
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image, ImageOps
from safetensors import safe_open

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.export.check import check_inputs
from open_clip_mmrl.export.readme import cropping, write_readme
from open_clip_mmrl.export.source import load_source
from open_clip_mmrl.export.tokenizer import read_otherwise, tokenizer_json


def test_images_that_cannot_be_read_are_named(adapters, tmp_path):
    (tmp_path / "page.png").write_bytes(b"%!PS")
    with pytest.raises(UsageError, match=r"none of 1 image.*page\.png \(PostScript"):
        check_inputs(load_source(adapters.mmrl), [tmp_path])


@pytest.mark.parametrize("size", [(100, 60), (31, 47), (16, 16), (5, 90)])
@pytest.mark.parametrize(
    ("mode", "target", "interpolation"),
    [
        ("shortest", 16, "bicubic"),
        ("shortest", (24, 16), "bilinear"),
        ("longest", 16, "bilinear"),
        ("longest", (16, 24), "bicubic"),
        ("squash", (24, 16), "bilinear"),
        ("squash", 16, "random"),
    ],
)
def test_images_are_cropped_as_open_clip_does(mode, target, interpolation, size):
    config = PreprocessCfg(
        size=target, resize_mode=mode, interpolation=interpolation, fill_color=7,
        mean=(0.0,) * 3, std=(1.0,) * 3,
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    values = {"image": Image.fromarray(pixels), "Image": Image, "ImageOps": ImageOps}
    exec("\n".join(cropping(config)), values)
    wanted = image_transform_v2(config, is_train=False)(Image.fromarray(pixels))
    ours = np.asarray(values["image"], np.float32).transpose(2, 0, 1) / 255
    assert np.array_equal(ours, wanted.numpy())


TEXTS = [
    "a photo of a cat.", "A  Photo\tof İstanbul, don't! I'LL 123", "naïve café e\u0301", "日本語",
    "🎉 party!!", "", "\u201cMother\u2019s\u201d day", " ".join(["long"] * 60), "x" * 300,
]  # fmt: skip


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
def test_tokenizer_reads_as_open_clip_does(clean):
    pytest.importorskip("tokenizers")
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=20, clean=clean)
    content = tokenizer_json(tokenizer, 20)
    texts = [*TEXTS, "rock &amp; roll"]
    assert read_otherwise(content, tokenizer, texts, 20) == ["rock &amp; roll"]


def test_tokenizers_of_hugging_face_are_kept_where_a_file_can_hold_them(tmp_path):
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: i for i, word in enumerate(["<pad>", "<unk>", "a", "cat", "photo", "of"])}
    own = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=own, pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(tmp_path)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(tmp_path), context_length=6)
    content = tokenizer_json(tokenizer, 6)
    assert not read_otherwise(content, tokenizer, ["a  photo of a cat", "a " * 9, "dog"], 6)
    tokenizer.strip_sep_token = True
    assert tokenizer_json(tokenizer, 6) is None
    assert tokenizer_json(lambda texts: texts, 6) is None


def test_classes_carry_all_numbers(adapters, tmp_path):
    source = load_source(adapters.mmrlpp)
    path = tmp_path / "classes.safetensors"
    path.write_bytes(source.classes.to_safetensors())
    with safe_open(path, framework="np") as file:
        about, text = file.metadata(), file.get_tensor("text")
    assert json.loads(about["class_names"]) == ["cat", "dog", "traffic_light"]
    assert text.shape == (3, 16) and np.allclose(np.linalg.norm(text, axis=1), 1)
    assert (about["alpha"], about["bias"], about["temperature"]) == ("0.6", "-3.0", "1.0")
    assert load_source(adapters.mmrlpp, "class").classes.alpha == 1


def test_readme_tells_of_sigmoid_models_and_calibration(adapters, tmp_path):
    source = load_source(adapters.mmrlpp)
    source = replace(source, classes=replace(source.classes, temperature=1.5))
    done = write_readme("pt2.md.jinja", tmp_path, "given/name", source, ["checked so and so"])
    text = (tmp_path / "README.md").read_text()
    for part in ("# name", "sigmoid model", 'about["temperature"]', "- checked so and so"):
        assert part in text
    assert done.files == {"README.md": len(text.encode())}
    assert str(adapters.mmrlpp.parent) not in text
