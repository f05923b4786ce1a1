"""What only a GPU can show: parity with the CPU, both half precisions, a whole run."""

import math

import pytest
import torch
from conftest import tiny_clip, tiny_config, tiny_images, tiny_mmrl, tiny_prompts
from test_protocols import go
from test_trainer import examples

from open_clip_mmrl import (
    MMRLCLIP,
    FewShotClassifier,
    MMRLTask,
    TrainConfig,
    load_adapter,
    save_adapter,
)
from open_clip_mmrl.images import ImageSet, train_transform
from open_clip_mmrl.protocols import execute
from open_clip_mmrl.runs import Runtime
from open_clip_mmrl.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
LABELS = torch.tensor([0, 1, 2])


def step(model, device, dtype=torch.float64):
    """Loss and gradients of one step, on the CPU in float64."""
    task = MMRLTask(model.to(device, dtype), tiny_prompts([4, 7, 12])).to(device)
    model.learner.zero_grad()
    result = task(tiny_images().to(device, dtype), LABELS.to(device))
    result["loss"].backward()
    gradients = {n: p.grad.cpu().double() for n, p in model.learner.named_parameters()}
    return {k: v.detach().cpu().double() for k, v in result.items()}, gradients


@pytest.mark.parametrize("settings", [{}, {"variant": "mmrl++", "beta": 0.6}])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-3)])
def test_a_step_agrees_with_the_cpu(settings, dtype, tolerance):
    expected, expected_gradients = step(tiny_mmrl(**settings), "cpu")
    found, gradients = step(tiny_mmrl(**settings), "cuda", dtype)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=name)
    for name, value in expected_gradients.items():
        scale = value.abs().max().item()
        torch.testing.assert_close(
            gradients[name], value, rtol=tolerance, atol=tolerance * max(scale, 1), msg=name
        )


@pytest.mark.parametrize("precision", ["fp32", "amp_bf16", "amp_fp16"])
def test_training_in_every_precision(precision):
    losses = {}
    for kind in ("fp32", precision):
        model = MMRLCLIP.from_open_clip(tiny_clip().float(), tiny_config(variant="mmrl++"))
        model.learner.reset_parameters(torch.Generator().manual_seed(5))
        model.to("cuda")
        config = TrainConfig(epochs=4, batch_size=3, precision=kind, seed=2)
        images = ImageSet(examples(), train_transform(model), seed=2)
        losses[kind] = Trainer(model, tiny_prompts([4, 6, 8]), images, config, quiet=True).fit()
        assert all(p.dtype == torch.float32 for p in model.learner.parameters())
    assert math.isfinite(losses[precision].final_loss)
    assert losses[precision].final_loss == pytest.approx(losses["fp32"].final_loss, rel=0.1)


def test_an_adapter_trained_on_the_gpu_loads_on_the_cpu(tmp_path):
    model = tiny_mmrl().cuda()
    save_adapter(model, tmp_path / "a.safetensors")
    other = tiny_mmrl(num_rep_tokens=2)
    other.learner.reset_parameters()
    load_adapter(other, tmp_path / "a.safetensors")
    assert torch.equal(other.learner.space, model.learner.space.cpu())


def test_a_whole_run_on_the_gpu(tmp_path):
    from test_protocols import make_run

    run = make_run(train=TrainConfig(epochs=3, batch_size=5, precision="amp_bf16"))
    results = execute(run, tmp_path / "gpu", Runtime(device="cuda", quiet=True))
    assert results["environment"]["device"] == "cuda"
    on_cpu = go(tmp_path / "cpu", train=run.train)
    assert results["zero_shot"]["base"] == pytest.approx(on_cpu["zero_shot"]["base"], abs=3)
    classifier = FewShotClassifier.from_adapter(tmp_path / "gpu" / "adapter.safetensors")
    assert classifier.model_.visual.proj.is_cuda
