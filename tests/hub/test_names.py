"""Names of models, read and written."""

import numpy as np
import pytest
import torch

from open_clip_mmrl import FewShotClassifier
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.hub.load import build_for_training, resolve_name
from open_clip_mmrl.hub.names import ModelName


@pytest.mark.parametrize(
    ("name", "variant", "base"),
    [
        ("mmrl-ViT-B-16", "mmrl", "ViT-B-16"),
        ("mmrlpp-ViT-B-16", "mmrl++", "ViT-B-16"),
        ("mmrl-ViT-B/16", "mmrl", "ViT-B-16"),
        ("ViT-B/16", None, "ViT-B-16"),
        ("local-dir:/mmrl-ViT-B-16", None, "local-dir:/mmrl-ViT-B-16"),
        ("mmrlpp-hf-hub:org/mmrl-ViT", "mmrl++", "hf-hub:org/mmrl-ViT"),
        ("mmrl", None, "mmrl"),
    ],
)
def test_name_is_split_into_variant_and_base(name, variant, base):
    assert ModelName.parse(name) == ModelName(base, variant)


@pytest.mark.parametrize("name", ["mmrl-ViT-B-16", "mmrlpp-ViT-L-14", "ViT-B-32"])
def test_str_is_the_inverse_of_parse(name):
    assert str(ModelName.parse(name)) == name


@pytest.mark.parametrize(
    ("model", "method", "resolved"),
    [
        ("ViT-B-16", None, "mmrl-ViT-B-16"),
        ("ViT-B-16", "mmrl++", "mmrlpp-ViT-B-16"),
        ("mmrlpp-ViT-B-16", None, "mmrlpp-ViT-B-16"),
        ("mmrlpp-ViT-B-16", "mmrl++", "mmrlpp-ViT-B-16"),
    ],
)
def test_a_model_and_a_method_give_one_name(model, method, resolved):
    assert str(resolve_name(model, method)) == resolved


def test_what_is_no_name_is_refused():
    with pytest.raises(UsageError, match="model is 3; give a name"):
        resolve_name(3)


@pytest.mark.parametrize("method", ["mmrl", "mmrl++"])
def test_another_method_than_the_name_s_is_refused_by_every_way_in(method):
    model = {"mmrl": "mmrlpp", "mmrl++": "mmrl"}[method] + "-ViT-Ti-8-glyphs"
    words = (
        r"'mmrl.*' is mmrl.*, but the method is mmrl.*'ViT-Ti-8-glyphs', or leave out the method"
    )
    with pytest.raises(UsageError, match=words):
        build_for_training(model, None, method=method, device=torch.device("cpu"), seed=1)
    for given in ({"method": method}, {"config": {"variant": method}}):
        with pytest.raises(UsageError, match=words):
            FewShotClassifier(model, class_names=["a", "b"], **given).fit(
                np.zeros((2, 8, 8), "uint8"), [0, 1]
            )
