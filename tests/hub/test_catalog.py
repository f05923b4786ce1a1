"""What is listed of the bases that take tokens, and of those that do not."""

import pytest

import open_clip_mmrl
from open_clip_mmrl.hub.catalog import Tower, catalog


def entry(name):
    return next(each for each in catalog(name) if each.name == name)


def test_a_base_with_tokens_in_both_towers():
    found = entry("ViT-B-16")
    assert found.image == Tower("open_clip ViT, class token", 12, 768)
    assert found.text == Tower("causal", 12, 512)
    assert (found.token_layers, found.token_sides) == (7, "both")
    assert found.parameters == {"mmrl": 4_992_256, "mmrl++": 813_312}
    assert found.reason is None and found.nearest is None


def test_numbers_are_those_of_the_built_model():
    import open_clip

    found = entry("ViT-Ti-8-glyphs")
    for prefix, variant in (("mmrl-", "mmrl"), ("mmrlpp-", "mmrl++")):
        model = open_clip.create_model(f"{prefix}ViT-Ti-8-glyphs")
        assert isinstance(model, open_clip_mmrl.MMRLCLIP)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert found.parameters[variant] == trained
        assert found.token_layers == model.learner.layers
        assert found.image == Tower(model.image_tower.family, 6, 128)


@pytest.mark.parametrize(
    ("name", "text", "layers", "sides"),
    [
        ("ViT-B-16-SigLIP", Tower("bidirectional", 12, 768), 7, "both"),
        ("roberta-ViT-B-32", Tower("Hugging Face", 0, 0), 7, "image"),
        ("nllb-clip-base-siglip", Tower("Hugging Face", 0, 0), 7, "image"),
    ],
)
def test_other_families(name, text, layers, sides):
    found = entry(name)
    assert (found.text, found.token_layers, found.token_sides) == (text, layers, sides)
    assert found.image.layers == 12 and found.image.width == 768


def test_bases_without_tokens_say_why_and_what_is_near():
    (found,) = [each for each in catalog("rn101") if each.name == "RN101"]
    assert "ResNet" in found.reason and found.nearest == "ViT-B-16"
    assert found.image is None and found.parameters is None
