"""The model card: what it says, and that no name in it is markup."""

from dataclasses import replace

import pytest
import yaml

from open_clip_mmrl.assets import MODEL_NAME
from open_clip_mmrl.config import MMRLConfig
from open_clip_mmrl.hub.adapter_info import AdapterInfo, BaseInfo, Calibration, Fingerprint
from open_clip_mmrl.hub.card_scores import ScoredRun
from open_clip_mmrl.hub.model_card import model_card

MarkdownIt = pytest.importorskip("markdown_it").MarkdownIt  # comes with newer versions of rich

NAMES = [
    "# head", "<b>bold</b>", "[a](http://b)", "![i](http://b/x.png)", "a|b", "`code`", "*x*", "_y_",
    "~~z~~", "two\nlines", "&lt;", "http://b", "---", "- item", "$$x$$", "\\*", "<!-- c",
    "</details>", "key: {yaml: [", "snake_case", "'quote\"",
]  # fmt: skip


def info(**changes):
    base = BaseInfo(
        model=MODEL_NAME,
        pretrained="printed",
        quick_gelu=False,
        shape={},
        fingerprint=Fingerprint("", "float32", [], {}),
        image_size=[32, 32],
        context_length=32,
        preprocess=None,
    )
    values = {"config": MMRLConfig(start_layer=3), "base": base, "class_names": ["one", "two"]}
    values |= {"path": "x", "template": "a photo of a {}."}
    return AdapterInfo(**{**values, **changes})


def run(seed, hm=70.0, **changes):
    scores = {"base": 80.0 + seed, "novel": 60.0, "hm": hm}
    frozen = {"base": 70.0, "novel": 65.0, "hm": 67.4}
    values = {"dataset": "dtd", "seed": seed, "metrics": scores, "zero_shot": frozen}
    return ScoredRun(**{**values, **changes})


def metadata(card):
    return yaml.safe_load(card.split("---\n")[1])


def rendered(card):
    body = card.split("\n---\n", 1)[1]
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)


def words(tokens):
    """What a reader sees of the inline parts, and the kinds of markup there are."""
    inline = [child for token in tokens for child in token.children or ()]
    text = "".join(child.content for child in inline)
    return text, {child.type for child in inline if child.type != "text"}


@pytest.mark.parametrize("folded", [False, True])
def test_no_name_is_markup(folded):
    names = NAMES + [f"class {i}" for i in range(60 * folded)]
    settings = {"data": "folder:/home/alice/" + NAMES[1], "settings_source": "custom"}
    card = model_card(info(class_names=names, template="a <b> {} *x*", settings=settings))
    tokens = rendered(card)
    text, kinds = words(tokens)
    assert kinds <= {"code_inline", "strong_open", "strong_close", "em_open", "em_close"}
    shown = ", ".join(names).replace("two\nlines", "two lines")
    assert f"Names: {shown}." in text and 'Prompt: "a <b> {} *x*"' in text
    blocks = [token.content for token in tokens if token.type == "html_block"]
    assert len(blocks) == 2 * folded and not any("<!--" in block for block in blocks)
    assert "alice" not in card


def test_metadata_is_yaml_whatever_the_data_is_called():
    card = model_card(info(), [run(1, dataset=name) for name in NAMES[-3:]], license="mit")
    found = metadata(card)
    assert found["license"] == "mit" and "base_model" not in found
    (model,) = found["model-index"]
    (result,) = model["results"]
    assert result["dataset"]["name"] == NAMES[-3]
    assert "license" not in metadata(model_card(info()))


def test_base_model_is_the_repository_of_the_tag():
    base = replace(info().base, model="ViT-B-16", pretrained="openai")
    found = metadata(model_card(info(base=base)))
    assert found["base_model"] == "timm/vit_base_patch16_clip_224.openai"
    assert found["base_model_relation"] == "adapter"
    place = "hf-hub:org/base"
    card = model_card(info(base=replace(info().base, model=place, pretrained=place)))
    assert metadata(card)["base_model"] == "org/base"
    assert "hf-hub:org/base (weights hf-hub:org/base)" in card and "from the file" not in card


def test_scores_of_all_seeds_with_frozen_clip():
    card = model_card(info(), [run(1, is_this=False), run(2), run(3, is_this=False)])
    assert "| 2 (this file) | 82.00 | 60.00 | 70.00 | 70.00 | 65.00 | 67.40 |" in card
    assert "| **mean** | **82.00 ±1.00** | **60.00** | **70.00** |" in card
    (result,) = metadata(card)["model-index"][0]["results"]
    values = {m["name"]: m["value"] for m in result["metrics"]}
    assert values["base classes in %, mean of 3 seeds"] == 82.0
    assert "no better than frozen" not in card and "of one seed" not in card


def test_limits_follow_from_the_scores():
    assert "no better than frozen CLIP" in model_card(info(), [run(1, hm=60.0)])
    assert "of one seed" in model_card(info(), [run(1)])
    assert "not recorded" in model_card(info())
    assert "*validation* images" in model_card(info(), [run(1, test_split="val")])
    paper = info(settings={"settings_source": "paper"})
    assert "chosen on test images" in model_card(paper, [run(1)])


def test_a_file_of_base_weights_is_named_without_its_folder():
    base = replace(info().base, pretrained="/home/alice/w.pt")
    card = model_card(info(base=base))
    assert "weights from the file w.pt, which is not in this repository" in card
    assert "alice" not in card


def test_a_local_base_is_named_without_the_way_to_it():
    place = "local-dir:/home/alice/base"
    card = model_card(info(base=replace(info().base, model=place, pretrained=place)))
    assert "# mmrl-local-dir:base" in card and "alice" not in card
    assert "only where that folder lies at the same path" in card


def test_calibration():
    held_back = [0.4, 0.8]
    found = Calibration(
        held_back="shots",
        temperature={"logits": 1.5, "probabilities": 1.25},
        true_probability={"logits": held_back, "probabilities": held_back},
        max_softmax=held_back,
    )
    scores = {"ece": 2.5, "coverage": 91.0, "confidence_level": 90.0, "set_size": 1.25}
    card = model_card(info(calibration=found), [run(1, calibrated=scores)])
    assert "Calibrated on 2 images, training images held back: temperature 1.50 (logits)" in card
    assert "calibration error is 2.50 %" in card and "91.0 % hold the true class" in card


def test_anything_may_stand_in_the_header():
    """`save_adapter` takes whatever JSON can hold."""
    odd = {"data": 3, "train": [1], "shots": {}, "settings": "x", "settings_source": None}
    card = model_card(info(settings=odd, scores={"metrics": {"accuracy": "high", "f1": 0.5}}))
    assert "| - | 0.50 |" in card


def test_the_header_alone_has_scores():
    scores = {"metrics": {"accuracy": 91.5}, "zero_shot": {"accuracy": 70.25}}
    settings = {"data": "folder:/data/birds", "train": {"seed": 4, "epochs": 30}, "shots": 16}
    card = model_card(info(scores=scores, settings=settings))
    assert "| 4 | 91.50 | 70.25 |" in card and "test images of birds" in card
    assert "| epochs | 30 |" in card and "| images per class | 16 |" in card
