"""The model as a graph: torch.export, ONNX, torch.compile, torch.jit.trace."""

from unittest.mock import patch

import pytest
import torch
from helpers.tiny import CONTEXT, tiny_clip, tiny_images, tiny_mmrl, tiny_prompts
from torch import nn

from open_clip_mmrl.models.text_towers.class_prompts import ClassPrompts, FullPrompts

TOKENS = torch.cat([tiny_prompts([4, 7, 12, 3]), torch.zeros(1, CONTEXT, dtype=torch.long)])
MORE = tiny_prompts([9, 2, 3, 5, 12, 8, 4], seed=3)
DYNAMIC = {0: torch.export.Dim.DYNAMIC}


class Encoder(nn.Module):
    """`encode_text` or `encode_image` as a forward."""

    def __init__(self, model, side, features):
        super().__init__()
        self.model, self.side, self.features = model, side, features

    def forward(self, given):
        encode = getattr(self.model, f"encode_{self.side}")
        return encode(given, normalize=True, features=self.features)


def text(**kwargs):
    return Encoder(tiny_mmrl(tiny_clip(**kwargs), beta=0.6), "text", "class"), TOKENS, MORE


def image():
    return Encoder(tiny_mmrl(beta=0.6), "image", "fused"), tiny_images(3), tiny_images(5, seed=2)


def without_mask():
    return text(text={"no_causal_mask": True, "pool_type": "last"})


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])
@pytest.mark.parametrize("config", [{}, {"variant": "mmrl++", "beta": 0.6}, {"beta": 0.0}])
@pytest.mark.parametrize("features", ["class", "fused", "frozen"])
def test_prompts_of_a_graph_equal_grouped_ones(custom, config, features):
    model = tiny_mmrl(tiny_clip(custom=custom), **config)

    def run(kind):
        assert isinstance(model.text_tower.lower(TOKENS), kind)
        model.zero_grad()
        feature = model.encode_text(TOKENS, features=features)
        if feature.requires_grad:
            feature.square().sum().backward()
        return [feature, *(p.grad for p in model.learner.parameters() if p.grad is not None)]

    grouped = run(ClassPrompts)
    with patch("torch.compiler.is_compiling", return_value=True):
        full = run(FullPrompts)
    assert len(grouped) == len(full) > (features == "class")
    for ours, theirs in zip(full, grouped, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", [text, without_mask], ids=lambda case: case.__name__)
def test_export_takes_any_number_of_prompts(case):
    encoder, given, more = case()
    encoder.requires_grad_(False)
    graph = torch.export.export(encoder, (given,), dynamic_shapes=(DYNAMIC,)).module()
    for rows in (given, more, more[:1]):
        close(graph(rows), encoder(rows))


@pytest.mark.filterwarnings("ignore")  # of the older exporter
def test_the_older_onnx_exporter_takes_the_image_side(tmp_path):
    """With `dynamo=True` both sides are exported: see the tests of `export`."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    encoder, given, more = image()
    encoder, file = encoder.float(), tmp_path / "graph.onnx"
    axes = {"given": {0: "n"}}
    names = ["given"]
    torch.onnx.export(
        encoder, (given.float(),), file, dynamo=False, input_names=names, dynamic_axes=axes
    )
    session = runtime.InferenceSession(file)
    for rows in (given.float(), more.float(), more[:1].float()):
        (found,) = session.run(None, {"given": rows.numpy()})
        torch.testing.assert_close(torch.tensor(found), encoder(rows), rtol=0, atol=2e-6)


def test_text_compiles_without_graph_breaks():
    encoder, given, more = text()
    compiled = torch.compile(encoder, fullgraph=True, backend="eager")
    for rows in (given, more):
        close(compiled(rows), encoder(rows))
