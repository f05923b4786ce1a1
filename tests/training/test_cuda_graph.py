"""The recorded step: everything but the recording itself, which a plain call replaces."""

import re

import pytest
import torch
from helpers.cuda_graph import Recorder
from helpers.trainer import assert_same, make, weights

from open_clip_mmrl import TrainConfig
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.training.cuda_graph import GRAPH_PRECISIONS, WARM_UP, GraphedStep, check_graph
from open_clip_mmrl.training.optim import adamw

CUDA = torch.device("cuda")


def graphed(trainer, recorder):
    """A trainer as on a GPU, with `recorder` instead of CUDA."""
    trainer.step.optimizer = adamw(trainer.model.learner, trainer.config, on_gpu=True)
    trainer.run_step = GraphedStep(
        trainer.step,
        lambda: trainer.task.classes,
        torch.device("cpu"),
        warm_up=recorder.warm_up,
        record=recorder.record,
    )
    return trainer


def plain(trainer):
    trainer.step.optimizer = adamw(trainer.model.learner, trainer.config, on_gpu=True)
    return trainer


def trainer(precision="fp32", variant="mmrl", epochs=4):
    return make(
        config=TrainConfig(epochs=epochs, batch_size=3, precision=precision, seed=2),
        variant=variant,
    )


@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
@pytest.mark.parametrize("precision", GRAPH_PRECISIONS)
def test_training_through_buffers_is_bit_identical(precision, variant, caplog):
    expected, recorder = plain(trainer(precision, variant)), Recorder()
    found = graphed(trainer(precision, variant), recorder)
    assert found.fit().final_loss == expected.fit().final_loss
    assert_same(weights(found), weights(expected))
    assert recorder.calls == ["warm up"] * WARM_UP + ["record"] + ["replay"] * (8 - WARM_UP)
    assert not caplog.messages


def test_a_loss_is_not_overwritten_by_later_steps():
    """A replay writes its loss to the same memory every time."""
    place = torch.zeros(())

    def step(images, labels):
        return place.copy_(images.sum())

    recorder = Recorder()
    run = GraphedStep(
        step, lambda: None, place.device, warm_up=lambda r: r().clone(),
        record=recorder.record,
    )  # fmt: skip
    losses = [run(torch.full((2,), float(i)), torch.zeros(2)) for i in range(6)]
    assert [loss.item() for loss in losses] == [2.0 * i for i in range(6)]


def test_batches_are_copied_into_the_same_buffers():
    seen = set()

    def step(images, labels):
        seen.add((images.data_ptr(), labels.data_ptr()))
        return images.sum()

    recorder = Recorder()
    run = GraphedStep(
        step, lambda: None, torch.device("cpu"), warm_up=recorder.warm_up,
        record=recorder.record,
    )  # fmt: skip
    for _ in range(WARM_UP + 3):
        run(torch.rand(2, 3), torch.zeros(2, dtype=torch.long))
    assert len(seen) == 1


def test_a_step_that_cannot_be_recorded_is_run_without_recording(caplog):
    error = RuntimeError("operation not permitted when stream is capturing")
    recorder, expected = Recorder(error), plain(trainer())
    found = graphed(trainer(), recorder)
    found.fit(), expected.fit()
    assert_same(weights(found), weights(expected))
    assert recorder.calls == ["warm up"] * WARM_UP + ["record"]
    (message,) = caplog.messages
    assert re.search(r"--cuda-graph: .*cannot be recorded \(operation not permitted", message)
    assert found.run_step.notes == [message]


def other_shape(trainer, images, labels):
    return images[:2], labels[:2]


def other_type(trainer, images, labels):
    return images.double(), labels


def other_prompts(trainer, images, labels):
    trainer.task.prepare()
    return images, labels


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            other_shape,
            r"another kind \(\(2, 3, 16, 16\) instead of \(3, 3, 16, 16\), torch.float32",
        ),
        (other_type, r"another kind \(.*, torch.float64\)"),
        (other_prompts, "other prompts than at its recording"),
    ],
)
def test_other_batches_and_prompts_are_run_without_the_recording(change, words, caplog):
    recorder = Recorder()
    found = graphed(trainer(epochs=1), recorder)
    images, labels = torch.rand(3, 3, 16, 16), torch.tensor([0, 1, 2])
    for _ in range(WARM_UP + 1):
        found.run_step(images, labels)
    calls, before = list(recorder.calls), weights(found)
    batch = change(found, images, labels)
    for _ in range(2):
        assert found.run_step(*batch).isfinite()
    assert recorder.calls == calls
    assert not torch.equal(weights(found)["space"], before["space"])
    (message,) = caplog.messages
    assert re.search(words, message)


def test_recording_needs_cuda_and_unscaled_gradients():
    with pytest.raises(UsageError, match="--cuda-graph needs CUDA, and this run is on the cpu"):
        check_graph("fp32", torch.device("cpu"))
    for precision in ("amp_fp16", "fp16"):
        with pytest.raises(UsageError, match=rf"precision '{precision}', .*amp_bf16"):
            check_graph(precision, CUDA)
    for precision in GRAPH_PRECISIONS:
        check_graph(precision, CUDA)
