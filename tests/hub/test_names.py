"""Names of models, read and written."""

import pytest

from open_clip_mmrl.hub.names import ModelName


@pytest.mark.parametrize(
    ("name", "variant", "base"),
    [
        ("mmrl-ViT-B-16", "mmrl", "ViT-B-16"),
        ("mmrlpp-ViT-B-16", "mmrl++", "ViT-B-16"),
        ("mmrl-ViT-B/16", "mmrl", "ViT-B-16"),
        ("ViT-B/16", None, "ViT-B-16"),
        ("local-dir:mmrl-ViT-B-16", None, "local-dir:mmrl-ViT-B-16"),
        ("mmrl", None, "mmrl"),
    ],
)
def test_name_is_split_into_variant_and_base(name, variant, base):
    assert ModelName.parse(name) == ModelName(base, variant)


@pytest.mark.parametrize("name", ["mmrl-ViT-B-16", "mmrlpp-ViT-L-14", "ViT-B-32"])
def test_str_is_the_inverse_of_parse(name):
    assert str(ModelName.parse(name)) == name
