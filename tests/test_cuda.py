"""What only a GPU can show: parity with the CPU, every precision, recorded steps, a whole run.

Written without a GPU: as it stands, none of it has been run.
"""

import math

import pytest
import torch
from helpers.runs import go
from helpers.tiny import tiny_clip, tiny_config, tiny_images, tiny_mmrl, tiny_prompts
from helpers.trainer import examples
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from open_clip_mmrl import (
    MMRLCLIP,
    FewShotClassifier,
    MMRLTask,
    TrainConfig,
    load_adapter,
    save_adapter,
)
from open_clip_mmrl.config import PRECISIONS
from open_clip_mmrl.data.loading.images import ImageSet, train_transform
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.execute import execute
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.models.blocks import causal_mask
from open_clip_mmrl.models.precision import autocast, in_half
from open_clip_mmrl.training.cuda_graph import GRAPH_PRECISIONS
from open_clip_mmrl.training.trainer import Trainer

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


def trainer(precision="fp32", variant="mmrl++", epochs=4, **kwargs):
    model = MMRLCLIP.from_open_clip(tiny_clip().float(), tiny_config(variant=variant))
    model.learner.reset_parameters(torch.Generator().manual_seed(5))
    model.to("cuda")
    config = TrainConfig(epochs=epochs, batch_size=3, precision=precision, seed=2)
    images = ImageSet(examples(), train_transform(model), seed=2)
    return Trainer(model, tiny_prompts([4, 6, 8]), images, config, quiet=True, **kwargs)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_training_in_every_precision(precision):
    losses = {}
    for kind in ("fp32", precision):
        run = trainer(kind)
        losses[kind] = run.fit()
        assert all(p.dtype == torch.float32 for p in run.model.learner.parameters())
        assert run.model.visual.conv1.weight.dtype == torch.float32
    assert math.isfinite(losses[precision].final_loss)
    assert losses[precision].final_loss == pytest.approx(losses["fp32"].final_loss, rel=0.1)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_step_never_waits_for_the_device(precision):
    run = trainer(precision)
    batch = torch.rand(3, 3, 16, 16, device="cuda"), LABELS.cuda()
    run.task.model = in_half(run.model, precision)
    run.step(*batch)  # libraries set themselves up
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            run.step(*batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["amp_bf16", "amp_fp16"])
def test_weights_kept_in_half_change_no_bit(precision):
    task = trainer(precision).task
    batch = torch.rand(3, 3, 16, 16, device="cuda"), LABELS.cuda()

    def run():
        with torch.no_grad(), autocast(precision, batch[0].device):
            return task(*batch)

    expected = run()
    task.model = in_half(task.model, precision)
    found = run()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_rows_after_the_prefix_run_a_fused_kernel(dtype):
    """Attention with the causal bias, with gradients, against the mask in float64."""
    q, k, v = (torch.randn(2, 2, n, 64, dtype=torch.float64, device="cuda") for n in (5, 9, 9))
    mask = torch.ones(5, 9, dtype=torch.bool, device="cuda").tril(4)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    half = [x.to(dtype).requires_grad_() for x in (q, k, v)]
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        found = F.scaled_dot_product_attention(*half, attn_mask=causal_mask(5, 4, q.device))
    names = {event.key for event in seen.key_averages()}
    kernel = "flash" if dtype == torch.bfloat16 else "efficient"
    assert any(kernel in name for name in names), names
    torch.testing.assert_close(found.double(), expected, rtol=0.02, atol=0.02)
    gradients = torch.autograd.grad(found.sum(), half)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
@pytest.mark.parametrize("precision", GRAPH_PRECISIONS)
def test_recorded_steps_train_the_same(precision, variant, caplog):
    plain, recorded = (
        trainer(precision, variant),
        trainer(precision, variant, cuda_graph=True),
    )
    assert recorded.fit().final_loss == pytest.approx(plain.fit().final_loss, rel=1e-3)
    for ours, theirs in zip(
        recorded.model.learner.parameters(), plain.model.learner.parameters(), strict=True
    ):
        # Not to the bit: attention's backward adds up in any order.
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-4)
    assert caplog.messages == []


@pytest.mark.parametrize("precision", ["amp_fp16", "fp16"])
def test_scaled_gradients_are_not_recorded(precision):
    with pytest.raises(UsageError, match=f"--cuda-graph .*precision {precision!r}"):
        trainer(precision, cuda_graph=True)


def test_too_little_memory_names_remedies():
    run = trainer()
    run.task.forward = lambda *batch: {"loss": torch.empty(2**50, device="cuda")}
    with pytest.raises(ValueError, match=r"out of GPU memory in training.*lower batch_size"):
        run.fit()


def test_an_adapter_trained_on_the_gpu_loads_on_the_cpu(tmp_path):
    model = tiny_mmrl().cuda()
    save_adapter(model, tmp_path / "a.safetensors")
    other = tiny_mmrl(num_rep_tokens=2)
    other.learner.reset_parameters()
    load_adapter(other, tmp_path / "a.safetensors")
    assert torch.equal(other.learner.space, model.learner.space.cpu())


def test_a_whole_run_on_the_gpu(tmp_path):
    from helpers.runs import make_run

    run = make_run(train=TrainConfig(epochs=3, batch_size=5, precision="amp_bf16"))
    results = execute(run, tmp_path / "gpu", Runtime(device="cuda", quiet=True))
    assert results.environment.device == "cuda"
    on_cpu = go(tmp_path / "cpu", train=run.train)
    assert results.zero_shot["base"] == pytest.approx(on_cpu.zero_shot["base"], abs=3)
    classifier = FewShotClassifier.from_adapter(tmp_path / "gpu" / "adapter.safetensors")
    assert classifier.model_.visual.proj.is_cuda
