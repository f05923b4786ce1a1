"""Precisions and devices by name; frozen weights kept in half, in copies."""

import copy

import pytest
import torch
from helpers.tiny import tiny_clip, tiny_config, tiny_images, tiny_mmrl, tiny_prompts
from open_clip.model import convert_weights_to_lp
from open_clip.transformer import LayerNormFp32
from torch.utils._python_dispatch import TorchDispatchMode

from open_clip_mmrl import MMRLCLIP, MMRLTask, save_adapter
from open_clip_mmrl.config import PRECISIONS
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.models.precision import (
    _try_kernels,
    autocast,
    check_precision,
    gradient_scaler,
    half_type,
    in_half,
    own_modules,
)
from open_clip_mmrl.utils.devices import pick_device

CPU = torch.device("cpu")
IMAGES, TOKENS, LABELS = tiny_images().float(), tiny_prompts([4, 7, 12]), torch.tensor([0, 2, 1])
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
CLIPS = {
    "plain": {},
    "custom": {"custom": True, "text": {"proj_bias": True}},
    "custom-blocks": {
        "text": {"qk_norm": True, "scale_heads": True, "scale_fc": True, "ls_init_value": 0.3}
    },
}
CLIP = pytest.mark.parametrize("clip", CLIPS)
VARIANT = pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])


def model_of(clip="plain", variant="mmrl"):
    return tiny_mmrl(tiny_clip(**CLIPS[clip]).float(), variant=variant).float()


def one_step(task, precision):
    """Everything a step returns, and the gradients."""
    task.model.zero_grad()
    with autocast(precision, CPU):
        result = task(IMAGES, LABELS)
    result["loss"].backward()
    named = task.model.learner.named_parameters()
    return {k: v.detach() for k, v in result.items()} | {n: p.grad.clone() for n, p in named}


class Conversions(TorchDispatchMode):
    """Counts conversions of frozen weights, or of parts of them, to another type."""

    def __init__(self, model):
        super().__init__()
        frozen = (p for n, p in model.named_parameters() if not n.startswith("learner."))
        self.frozen = {p.untyped_storage().data_ptr() for p in frozen}
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default:
            self.count += args[0].untyped_storage().data_ptr() in self.frozen
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("fp32", torch.float32),
        ("amp_bf16", torch.bfloat16),
        ("amp_fp16", torch.float16),
        ("bf16", torch.float32),
        ("fp16", torch.float32),
    ],
)
def test_autocast_is_only_on_in_mixed_precisions(precision, dtype):
    linear, x = torch.nn.Linear(3, 2), torch.zeros(1, 3)
    with autocast(precision, CPU):
        assert linear(x).dtype == dtype
    assert linear(x).dtype == torch.float32


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_turn_an_outer_autocast_off(precision):
    linear, x = torch.nn.Linear(3, 2), torch.zeros(1, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16), autocast(precision, CPU):
        assert linear(x).dtype == torch.float32


@pytest.mark.parametrize("precision", ["half", "pure_bf16", "", None, "AMP_BF16"])
def test_unknown_precisions(precision):
    for use in (
        lambda: autocast(precision, CPU),
        lambda: gradient_scaler(precision, CPU),
        lambda: in_half(model_of(), precision),
    ):
        with pytest.raises(UsageError) as error:
            use()
        assert f"precision is {precision!r}" in str(error.value)
        assert all(name in str(error.value) for name in PRECISIONS)


@pytest.mark.parametrize("precision", ["amp_bf16", "bf16"])
def test_a_gpu_without_bf16_is_refused(monkeypatch, precision):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old Card")
    for use in (autocast, check_precision):
        with pytest.raises(UsageError, match="Old Card has no bf16 arithmetic: use amp_fp16 or"):
            use(precision, torch.device("cuda"))
    check_precision("fp16", torch.device("cuda"))


@pytest.mark.parametrize("precision", ["amp_fp16", "fp16"])
def test_a_cpu_without_fp16_is_refused(monkeypatch, precision):
    def missing(*args):
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    _try_kernels.cache_clear()
    monkeypatch.setattr(torch.nn.functional, "linear", missing)
    other = precision.replace("fp16", "bf16")
    with pytest.raises(UsageError, match=rf"not implemented for 'Half'.*use {other} or fp32"):
        check_precision(precision, CPU)
    check_precision(other, CPU)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_only_fp16_scales_its_gradients(precision):
    assert gradient_scaler(precision, CPU).is_enabled() == precision.endswith("fp16")


@VARIANT
@CLIP
def test_mixed_precision_is_the_same_to_the_bit_with_weights_kept_in_half(clip, variant):
    task = MMRLTask(model_of(clip, variant), TOKENS)
    expected = one_step(task, "amp_bf16")
    model, task.model = task.model, in_half(task.model, "amp_bf16")
    found = one_step(task, "amp_bf16")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    task.model = model
    exact = one_step(task, "fp32")
    assert not torch.equal(exact["image_features"], expected["image_features"])


@VARIANT
def test_text_features_too_are_the_same_to_the_bit(variant):
    model = model_of(variant=variant)

    @torch.no_grad()
    def features(model):
        with autocast("amp_bf16", CPU):
            kinds = ("class", "fused", "frozen")
            text = [model.encode_text(TOKENS, features=kind) for kind in kinds]
            return text + [model.encode_image(IMAGES, features=kind) for kind in kinds]

    found = features(in_half(model, "amp_bf16"))
    assert all(map(torch.equal, found, features(model)))


@CLIP
def test_autocast_converts_only_four_weights_per_step(clip):
    """These are the image projection, twice, and the image tower's embeddings."""
    task = MMRLTask(model_of(clip), TOKENS)
    with Conversions(task.model) as before:
        one_step(task, "amp_bf16")
    task.model = in_half(task.model, "amp_bf16")
    with Conversions(task.model) as kept:
        one_step(task, "amp_bf16")
    assert before.count >= 90 and kept.count == 4


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_model_given_is_not_touched(precision, tmp_path):
    model = model_of().eval()
    before = {n: (p, p.data_ptr(), p.clone()) for n, p in model.named_parameters()}
    save_adapter(model, tmp_path / "before.safetensors")
    half = own_modules(in_half(model, precision)).train()
    assert half.learner is model.learner
    assert half.visual.conv1.weight.dtype == (half_type(precision) or torch.float32)
    assert not any(m.training for m in model.visual.modules())
    now = dict(model.named_parameters())
    for name, (parameter, address, value) in before.items():
        assert now[name] is parameter and parameter.data_ptr() == address, name
        assert torch.equal(parameter, value), name
    save_adapter(model, tmp_path / "after.safetensors")
    # The base's digest is in the header.
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("before", "after")]
    assert files[0] == files[1]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tensors_that_are_not_converted_are_shared(precision):
    model = model_of()
    half = in_half(model, precision)
    tensors = dict(half.named_parameters()) | dict(half.named_buffers())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        assert (tensors[name] is tensor) == (tensors[name].dtype == tensor.dtype), name
    assert list(half.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("precision", ["amp_bf16", "amp_fp16"])
def test_mixed_precision_keeps_what_autocast_would_convert(precision):
    model = model_of("custom")
    named = in_half(model, precision).named_parameters()
    half = {n for n, p in named if p.dtype == half_type(precision)}
    block = ("attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight")
    block += ("attn.out_proj.bias", "mlp.c_fc.weight", "mlp.c_proj.bias")
    for tower in ("visual", "text"):
        assert {f"{tower}.transformer.resblocks.1.{name}" for name in block} <= half
    assert {"visual.conv1.weight", "text.text_projection.weight"} <= half
    others = ("ln_", "embedding", "learner", "logit", "visual.proj")
    assert not [name for name in half for other in others if other in name]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_converts_all_of_the_base_but_scalars(precision):
    model = model_of()
    for name, parameter in in_half(model, precision).named_parameters():
        full = name.startswith("learner.") or name == "logit_scale"
        assert parameter.dtype == (torch.float32 if full else HALF[precision]), name


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_norms_that_compute_in_float32_are_not_converted(precision):
    clip = tiny_clip().float()
    for block in clip.visual.transformer.resblocks:
        norm = LayerNormFp32(16)
        norm.load_state_dict(block.ln_1.state_dict())
        block.ln_1 = norm
    task = MMRLTask(tiny_mmrl(clip).float(), TOKENS)
    expected = one_step(task, "fp32")
    task.model = in_half(task.model, precision)
    assert task.model.visual.transformer.resblocks[0].ln_1.weight.dtype == torch.float32
    found = one_step(task, precision)
    torch.testing.assert_close(found["loss"], expected["loss"], rtol=0.05, atol=0.05)


def test_mixed_precision_leaves_float64_alone_as_autocast_does():
    half = in_half(tiny_mmrl(), "amp_bf16")
    assert all(p.dtype == torch.float64 for p in half.parameters())


def test_a_tied_weight_stays_tied():
    model = model_of()
    blocks = model.visual.transformer.resblocks
    blocks[1].mlp.c_fc.weight = blocks[0].mlp.c_fc.weight
    blocks[2].ls_1 = blocks[0].ls_1
    half = in_half(model, "bf16").visual.transformer.resblocks
    assert half[1].mlp.c_fc.weight is half[0].mlp.c_fc.weight
    assert half[1].mlp.c_fc.weight.dtype == torch.bfloat16
    assert half[2].ls_1 is half[0].ls_1 and half[0].ls_1 is not blocks[0].ls_1


@VARIANT
@CLIP
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("amp_bf16", 0.03), ("bf16", 0.03), ("amp_fp16", 0.005), ("fp16", 0.005)],
)
def test_every_precision_is_near_float32(clip, variant, precision, tolerance):
    """Features within a few units of the type's last place (2^-8 and 2^-11), through 3 layers."""
    task = MMRLTask(model_of(clip, variant), TOKENS)
    expected = one_step(task, "fp32")
    task.model = in_half(task.model, precision)
    found = one_step(task, precision)
    for name, value in found.items():
        assert value.dtype == torch.float32 and value.isfinite().all(), name
        if "features" in name:
            torch.testing.assert_close(value, expected[name], rtol=0, atol=tolerance)
    assert not torch.equal(found["image_features"], expected["image_features"])
    # What only frozen CLIP and the prompts decide was computed before, in float32.
    assert torch.equal(found["frozen_text_features"], expected["frozen_text_features"])


@pytest.mark.parametrize("precision", ["fp32", "amp_bf16", "bf16"])
def test_a_base_that_open_clip_keeps_in_half(precision):
    """create_model(precision="bf16"): products in half, norms and embeddings in float32."""
    clip = tiny_clip().float()
    exact = MMRLTask(MMRLCLIP.from_open_clip(copy.deepcopy(clip), tiny_config()), TOKENS)
    convert_weights_to_lp(clip, torch.bfloat16)
    task = MMRLTask(MMRLCLIP.from_open_clip(clip, tiny_config()), TOKENS)
    task.model.learner.load_state_dict(exact.model.learner.state_dict())
    task.model = in_half(task.model, precision)
    found = one_step(task, precision)
    expected = one_step(exact, "fp32")["loss"]
    torch.testing.assert_close(found["loss"], expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("given", ["cpu", CPU])
def test_a_device_by_name(given):
    assert pick_device(given) == CPU


@pytest.mark.parametrize("given", [None, "auto"])
@pytest.mark.parametrize("has_cuda", [True, False])
def test_default_device(monkeypatch, given, has_cuda):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert pick_device(given).type == ("cuda" if has_cuda else "cpu")


@pytest.mark.parametrize("given", ["gpu", "cuda:x", "", "meta"])
def test_unknown_devices(given):
    with pytest.raises(UsageError, match=rf"device is '{given}'; give cpu, cuda or cuda:N"):
        pick_device(given)


@pytest.mark.parametrize("given", ["cuda", "cuda:1", torch.device("cuda:0")])
def test_cuda_where_there_is_none(monkeypatch, given):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"device is 'cuda.*finds no CUDA device here; use cpu"):
        pick_device(given)
