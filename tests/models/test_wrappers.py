"""The model in other people's hands: DDP, FSDP2, accelerate, EMA, copies, the meta device."""

import copy
import inspect
import pickle

import pytest
import torch
from helpers.tiny import tiny_clip, tiny_images, tiny_mmrl, tiny_prompts
from torch import distributed
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from open_clip_mmrl import MMRLTask, save_adapter

IMAGES, TOKENS, LABELS = tiny_images(3), tiny_prompts([4, 7, 12]), torch.tensor([0, 1, 2])
CUSTOM = pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    file = tmp_path_factory.mktemp("process") / "group"
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=0, world_size=1)
    yield distributed.init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def step(task):
    loss = task(IMAGES, LABELS)["loss"]
    loss.backward()
    return loss.detach()


def gradients(model):
    found = [p.grad for p in model.learner.parameters()]
    return [g.full_tensor() if hasattr(g, "full_tensor") else g for g in found]


def blocks_of(model):
    text = getattr(model, "text", model).transformer.resblocks
    return [*model.visual.transformer.resblocks, *text]


def shard_learner(task, mesh):
    fully_shard(task.model.learner, mesh=mesh)
    return task


def shard_blocks(task, mesh):
    for block in blocks_of(task.model):
        fully_shard(block, mesh=mesh)
    return task


def shard_all(task, mesh):
    """A scalar cannot be sharded: FSDP2 asks to leave it out."""
    shard_blocks(task, mesh)
    return fully_shard(task, mesh=mesh, ignored_params={task.model.logit_scale})


def data_parallel(task, _mesh):
    return DistributedDataParallel(task)


def accelerated(task, _mesh):
    accelerate = pytest.importorskip("accelerate")
    return accelerate.Accelerator(cpu=True).prepare(task)


FSDP2 = pytest.mark.skipif(
    "ignored_params" not in inspect.signature(fully_shard).parameters, reason="needs torch 2.7"
)


@CUSTOM
@pytest.mark.parametrize(
    "wrap",
    [
        data_parallel,
        accelerated,
        *(pytest.param(f, marks=FSDP2) for f in (shard_learner, shard_blocks, shard_all)),
    ],
)
def test_a_wrapped_step_is_the_same(one_process, wrap, custom):
    model = tiny_mmrl(tiny_clip(custom=custom))
    expected = step(MMRLTask(model, TOKENS))
    wrapped = tiny_mmrl(tiny_clip(custom=custom))
    loss = step(wrap(MMRLTask(wrapped, TOKENS), one_process))
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    for ours, theirs in zip(gradients(wrapped), gradients(model), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@FSDP2
def test_a_sharded_model_encodes(one_process):
    expected, model = tiny_mmrl(), tiny_mmrl()
    for block in blocks_of(model):
        fully_shard(block, mesh=one_process)
    fully_shard(model, mesh=one_process, ignored_params={model.logit_scale})
    for method in ("encode_image", "encode_text"):
        register_fsdp_forward_method(model, method)
    torch.testing.assert_close(model.encode_image(IMAGES), expected.encode_image(IMAGES))
    torch.testing.assert_close(model.encode_text(TOKENS), expected.encode_text(TOKENS))


@FSDP2
def test_adapters_of_a_sharded_model(one_process, tmp_path):
    """Refused with the way out, which works."""
    expected, model, whole = tiny_mmrl(), tiny_mmrl(), tiny_mmrl()
    fully_shard(model.learner, mesh=one_process)
    with pytest.raises(ValueError, match=r"sharded \(FSDP\)\. Gather .*full_state_dict=True"):
        save_adapter(model, tmp_path / "a.safetensors")
    options = StateDictOptions(full_state_dict=True)
    whole.learner.reset_parameters()
    whole.load_state_dict(get_model_state_dict(model, options=options))
    saved = save_adapter(whole, tmp_path / "b.safetensors").read_bytes()
    assert saved == save_adapter(expected, tmp_path / "c.safetensors").read_bytes()


@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: AveragedModel(m).module],
    ids=["deepcopy", "pickle", "average"],
)
@CUSTOM
def test_copies(again, custom):
    model = tiny_mmrl(tiny_clip(custom=custom), variant="mmrl++")
    made = again(model)
    assert torch.equal(made.encode_image(IMAGES), model.encode_image(IMAGES))
    assert torch.equal(made.encode_text(TOKENS), model.encode_text(TOKENS))
    assert made.learner.space is not model.learner.space


@CUSTOM
def test_on_the_meta_device(custom):
    """Shapes alone."""
    model = tiny_mmrl(tiny_clip(custom=custom)).to("meta")
    images, tokens = IMAGES.to("meta"), TOKENS.to("meta")
    assert model.encode_image(images, features="fused").shape == (3, 20)
    assert model.encode_text(tokens).shape == (3, 10)
    result = MMRLTask(model, tokens)(images, LABELS.to("meta"))
    assert result["loss"].is_meta and result["logits"].shape == (3, 3)


@pytest.mark.parametrize("assign", [False, True], ids=["to_empty", "assign"])
@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
def test_weights_into_a_model_without_any(variant, assign):
    original = tiny_mmrl(variant=variant)
    model = tiny_mmrl(variant=variant).to("meta")
    if not assign:
        model.to_empty(device="cpu").learner.start_layer.fill_(77)  # as memory may hold
    model.load_state_dict(original.state_dict(), assign=assign)
    assert torch.equal(model.encode_text(TOKENS), original.encode_text(TOKENS))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {f"learner.{name}" for name, _ in model.learner.named_parameters()}


def test_a_learner_without_values_is_drawn_again():
    model = tiny_mmrl()
    model.learner.to("meta").to_empty(device="cpu").start_layer.fill_(77)
    model.learner.reset_parameters()
    assert model.learner.start_layer == model.config.start_layer
    assert all(p.isfinite().all() for p in model.learner.parameters())
