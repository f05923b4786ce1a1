"""The training step: it updates the learner, and never makes a GPU wait."""

import pytest
import torch
from helpers.tiny import tiny_clip, tiny_images, tiny_mmrl, tiny_prompts
from torch.utils._python_dispatch import TorchDispatchMode

from open_clip_mmrl import MMRLTask, TrainConfig
from open_clip_mmrl.config import PRECISIONS
from open_clip_mmrl.models.precision import in_half
from open_clip_mmrl.training.optim import adamw
from open_clip_mmrl.training.step import TrainingStep

IMAGES, TOKENS = tiny_images(3), tiny_prompts([4, 7, 12, 5])
LABELS = torch.tensor([0, 3, 1])


class NoWaiting(TorchDispatchMode):
    """Fails where a step would make a GPU's CPU wait: for numbers, or for how many there are."""

    waits = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "_unique2",
        "unique_dim",
        "equal",
        "is_nonzero",
        "item",
    )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in self.waits, f"{func} waits for the device"
        if func is torch.ops.aten.index.Tensor:
            kinds = [index.dtype for index in args[1] if index is not None]
            assert torch.bool not in kinds, "an index of bools is counted first"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("sides", ["both", "image", "text"])
def test_a_step_never_waits_for_the_device(variant, chunk_size, precision, sides):
    """With the optimizer of a GPU, and prompts with different first tokens."""
    tokens = torch.cat([TOKENS, tiny_prompts([5, 9], first=3)])
    model = tiny_mmrl(tiny_clip().float(), variant=variant, token_sides=sides).float()
    task, images = MMRLTask(model, tokens, chunk_size), IMAGES.float()
    step = TrainingStep(task, TrainConfig(precision=precision), images.device)
    step.optimizer = adamw(model.learner, TrainConfig(), on_gpu=True)
    before = [p.clone() for p in model.learner.parameters()]
    task.model = in_half(model, precision)
    with NoWaiting():
        for _ in range(2):
            assert step(images, LABELS).shape == ()
    if "fp16" not in precision:  # whose first steps may be skipped
        pairs = zip(before, model.learner.parameters(), strict=True)
        assert not any(torch.equal(old, new) for old, new in pairs)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x[x > 0],
        lambda x: torch.nonzero(x),
        lambda x: x.unique(),
        lambda x: [0, 1, 2][x[0].long()],
    ],
)
def test_no_waiting_detects_waiting(wait):
    """On the CPU it only misses `tolist`."""
    with pytest.raises(AssertionError), NoWaiting():
        wait(torch.zeros(3))
