"""Agreement with the authors' code, in float64, to 1e-9."""

import pytest
import torch
from helpers.golden import golden_model, golden_section

from open_clip_mmrl import MMRLTask, load_official_state_dict
from open_clip_mmrl.hub.import_official import _official_names
from open_clip_mmrl.models.reference import ReferenceTask

OUTPUTS = {
    "loss": "loss",
    "logits": "logits",
    "logits_rep": "logits_rep",
    "logits_fused": "logits_fusion",
    "image_features": "image_features",
    "text_features": "text_features",
    "frozen_image_features": "image_features_clip",
    "frozen_text_features": "text_features_clip",
}


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


def official(learner_values, config, layers):
    """Our stacked tensors back under the authors' names."""
    result = {}
    for ours, names in _official_names(config.variant, layers).items():
        value = learner_values[ours]
        parts = value if len(names) > 1 else [value]
        result.update(zip(names, parts, strict=True))
    return result


@pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])
@pytest.mark.parametrize("task_class", [MMRLTask, ReferenceTask])
def test_outputs_gradients_and_trajectory(golden_case, custom, task_class):
    model = golden_model(golden_case, custom)
    data = golden_section(golden_case, "out")
    load_official_state_dict(model, golden_section(golden_case, "param"))
    task = task_class(model, golden_case.data["tokens"].long())
    images = golden_case.data["images"].double()
    labels = golden_case.data["labels"]

    result = task(images, labels)
    for ours, theirs in OUTPUTS.items():
        close(result[ours], data[theirs])

    result["loss"].backward()
    layers = len(golden_case.meta["rep_layers"])
    parameters = dict(model.learner.named_parameters())
    gradients = official({n: p.grad for n, p in parameters.items()}, model.config, layers)
    expected = golden_section(golden_case, "grad")
    assert gradients.keys() == expected.keys()
    for name, value in expected.items():
        close(gradients[name], value)

    settings = golden_case.meta["optimizer"]
    optimizer = torch.optim.AdamW(
        model.learner.parameters(),
        lr=settings["lr"],
        weight_decay=settings["weight_decay"],
        betas=settings["betas"],
    )
    steps = golden_section(golden_case, "train")
    for batch, target, loss in zip(steps["images"], steps["labels"], steps["losses"], strict=True):
        optimizer.zero_grad()
        result = task(batch, target)
        close(result["loss"], loss)
        result["loss"].backward()
        optimizer.step()
    after = golden_section(golden_case, "after")
    values = official({n: p.detach() for n, p in parameters.items()}, model.config, layers)
    for name, value in values.items():
        close(value, after[name])
    with torch.no_grad():
        result = task(images, labels)
    close(result["logits"], after["eval_logits"])
    close(result["logits_rep"], after["eval_logits_rep"])
    close(result["logits_fused"], after["eval_logits_fusion"])


def test_fused_features_give_the_released_logits(golden_case):
    model = golden_model(golden_case, custom=False)
    load_official_state_dict(model, golden_section(golden_case, "param"))
    image = model.encode_image(golden_case.data["images"].double(), features="fused")
    text = model.encode_text(golden_case.data["tokens"].long(), features="fused")
    close(100 * image @ text.T, golden_section(golden_case, "out")["logits_fusion"])
