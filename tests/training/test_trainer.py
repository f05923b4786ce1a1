"""The loop: schedule, bit-for-bit repeats, resume, log, checkpoints, bad input."""

import json

import pytest
import torch
from helpers.tiny import tiny_clip, tiny_config, tiny_images, tiny_prompts
from helpers.trainer import assert_same, examples, make, weights

from open_clip_mmrl import MMRLCLIP, MMRLTask, TrainConfig
from open_clip_mmrl.config import PRECISIONS
from open_clip_mmrl.data.loading.images import ImageSet, epoch_batches, train_transform
from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.training.checkpoint import CHECKPOINT
from open_clip_mmrl.training.optim import adamw
from open_clip_mmrl.training.record import LOG
from open_clip_mmrl.training.step import TrainingStep
from open_clip_mmrl.training.trainer import Trainer


def record_losses(trainer):
    """A list that fills with the loss of every step."""
    step, losses = trainer.run_step, []

    def run(images, labels):
        loss = step(images, labels)
        losses.append(loss.item())
        return loss

    trainer.run_step = run
    return losses


def test_the_steps_are_plain_adamw_over_the_learner():
    """Two epochs by hand: same images, same order, torch's AdamW, the schedule's rates."""
    trainer, by_hand = make(epochs=2), make(epochs=2)
    trainer.fit()
    task = MMRLTask(by_hand.model, tiny_prompts([4, 6, 8]))
    optimizer = torch.optim.AdamW(
        by_hand.model.learner.parameters(), lr=1, betas=(0.9, 0.999), weight_decay=5e-4
    )
    by_hand.model.train()
    for epoch, rate in enumerate((1e-5, 1e-3)):
        optimizer.param_groups[0]["lr"] = rate
        for batch in epoch_batches(7, 3, 2, epoch):
            pairs = [by_hand.images.load(i, epoch) for i in batch]
            loss = task(torch.stack([p[0] for p in pairs]), torch.tensor([p[1] for p in pairs]))
            optimizer.zero_grad()
            loss["loss"].backward()
            optimizer.step()
    assert_same(weights(trainer), weights(by_hand))


@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
@pytest.mark.parametrize("precision", ["fp32", "amp_bf16", "bf16"])
def test_same_seed_same_result_bit_for_bit(variant, precision):
    first, second = (make(variant=variant, precision=precision) for _ in range(2))
    before = weights(first)
    first.fit(), second.fit()
    assert_same(weights(first), weights(second))
    assert any(not torch.equal(before[n], w) for n, w in weights(first).items())


def test_another_seed_is_another_result():
    first = make(config=TrainConfig(epochs=2, batch_size=3, seed=2))
    second = make(config=TrainConfig(epochs=2, batch_size=3, seed=3))
    first.fit(), second.fit()
    assert not torch.equal(weights(first)["space"], weights(second)["space"])


def test_only_the_learner_changes():
    trainer = make()
    base = {n: p.clone() for n, p in trainer.model.named_parameters() if "learner" not in n}
    trainer.fit()
    now = dict(trainer.model.named_parameters())
    assert all(torch.equal(value, now[name]) for name, value in base.items())


def test_resume_after_a_break_equals_an_undisturbed_run(tmp_path, monkeypatch):
    whole = make(tmp_path / "whole", epochs=4)
    whole.fit()

    broken = make(tmp_path / "broken", epochs=4)
    end_of_epoch = Trainer._end_of_epoch

    def stop_in_epoch_2(self, epoch, *args):
        if epoch == 2:
            with (self.folder / LOG).open("a") as log:
                log.write('{"epoch": 2, "half": "written"}\n')
            raise KeyboardInterrupt
        end_of_epoch(self, epoch, *args)

    monkeypatch.setattr(Trainer, "_end_of_epoch", stop_in_epoch_2)
    with pytest.raises(KeyboardInterrupt):
        broken.fit()
    monkeypatch.undo()
    assert (tmp_path / "broken" / CHECKPOINT).is_file()

    resumed = make(tmp_path / "broken", epochs=4)
    summary = resumed.fit()
    assert_same(weights(whole), weights(resumed))
    assert summary.steps == 8 and summary.images == 24

    def rows(name):
        lines = (tmp_path / name / LOG).read_text().splitlines()
        timed = ("seconds", "images_per_second")
        return [{k: v for k, v in json.loads(x).items() if k not in timed} for x in lines]

    assert rows("whole") == rows("broken")
    assert [row["epoch"] for row in rows("broken")] == [0, 1, 2, 3]


def test_log_rows_hold_loss_rate_and_speed(tmp_path):
    make(tmp_path, epochs=2).fit()
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["lr"] for row in rows] == [1e-5, 1e-3]
    assert [row["step"] for row in rows] == [2, 4]
    assert all(row["loss"] > 0 and row["images_per_second"] > 0 for row in rows)


@pytest.mark.parametrize("on_gpu", [False, True], ids=["cpu's", "gpu's"])
@pytest.mark.parametrize("precision", ["amp_fp16", "fp16"])
def test_steps_with_overflowing_gradients_are_skipped_and_counted(tmp_path, precision, on_gpu):
    """With either optimizer: that of a GPU runs on the CPU too."""

    def maker():
        trainer = make(tmp_path, precision=precision, epochs=3)
        trainer.step.optimizer = adamw(trainer.model.learner, trainer.config, on_gpu)
        trainer.step.scaler = torch.amp.GradScaler("cpu", init_scale=256)
        return trainer

    trainer = maker()
    step, changed = trainer.run_step, []

    def overflow_in_epoch_1(images, labels):
        epoch, before = trainer.state.epoch, weights(trainer)
        if epoch:
            trainer.step.scaler.update(1e38 if epoch == 1 else 256.0)
        loss = step(images, labels)
        changed.append(not torch.equal(before["space"], weights(trainer)["space"]))
        return loss

    trainer.run_step = overflow_in_epoch_1
    summary = trainer.fit()
    assert changed == [True, True, False, False, True, True]
    assert (summary.steps, summary.skipped_steps) == (6, 2)
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["skipped_steps"] for row in rows] == [0, 2, 2]
    assert maker().fit().skipped_steps == 2  # read from the checkpoint


@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("amp_bf16", 0.03), ("bf16", 0.03), ("amp_fp16", 0.005), ("fp16", 0.005)],
)
def test_losses_in_half_stay_near_those_in_float32(variant, precision, tolerance):
    """Every step of five epochs; a number of these types is good to 2^-9 and to 2^-12.

    With a scale at which nothing overflows: a skipped step would be a step behind.
    """
    losses = {}
    for kind in ("fp32", precision):
        config = TrainConfig(epochs=5, batch_size=3, precision=kind, seed=2, lr=5e-3)
        trainer = make(config=config, variant=variant)
        if trainer.step.scaler.is_enabled():
            trainer.step.scaler = torch.amp.GradScaler("cpu", init_scale=256)
        losses[kind] = record_losses(trainer)
        assert trainer.fit().skipped_steps == 0
        assert all(p.dtype == torch.float32 for p in trainer.model.learner.parameters())
        state = [v for values in trainer.step.optimizer.state.values() for v in values.values()]
        assert all(value.dtype == torch.float32 for value in state)
        assert trainer.model.visual.conv1.weight.dtype == torch.float32
    assert len(losses["fp32"]) == 10 and losses[precision] != losses["fp32"]
    assert losses[precision] == pytest.approx(losses["fp32"], rel=tolerance)


def test_a_gpu_checkpoint_resumes_on_a_cpu(tmp_path):
    """Its settings (learning rate as a tensor, one kernel) are not taken over."""
    first = make(tmp_path, epochs=2)
    first.step.optimizer = adamw(first.model.learner, first.config, on_gpu=True)
    first.fit()
    second = make(tmp_path, epochs=4)
    assert second.fit().steps == 8
    (group,) = second.step.optimizer.param_groups
    assert isinstance(group["lr"], float) and not group["fused"] and not group["capturable"]
    assert {int(s["step"]) for s in second.step.optimizer.state.values()} == {8}


class _NoMemory:
    """The last step of a run fails, as where another process takes the GPU's memory."""

    def __init__(self, step, at):
        self.step, self.left = step, at

    def __call__(self, *batch):
        self.left -= 1
        if self.left < 0:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ..."
            )
        return self.step(*batch)


def test_too_little_gpu_memory_names_remedies_and_keeps_the_last_epoch(tmp_path):
    trainer = make(tmp_path, epochs=3)
    trainer.task.forward = _NoMemory(trainer.task.forward, at=5)
    with pytest.raises(ValueError, match=r"\(CUDA out of memory\)") as error:
        trainer.fit()
    message = str(error.value)
    assert "batch_size 3, text_chunk_size None, precision fp32 and 3 classes" in message
    assert "lower batch_size" in message
    assert "text_chunk_size (classes at a time" in message and "amp_bf16" in message
    assert message.endswith("in another folder; this one keeps the last finished epoch.")
    assert make(tmp_path, epochs=2).fit().steps == 4
    trainer = make()
    trainer.task.forward = _NoMemory(trainer.task.forward, at=0)
    with pytest.raises(ValueError, match=r"or use precision amp_bf16\.$"):
        trainer.fit()


def test_the_frozen_weights_come_back_when_a_step_fails():
    trainer = make(precision="bf16")
    trainer.task.forward = _NoMemory(trainer.task.forward, at=1)
    with pytest.raises(ValueError, match="out of GPU memory"):
        trainer.fit()
    assert trainer.model.visual.conv1.weight.dtype == torch.float32


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_cuda_graph_needs_cuda(precision):
    model = MMRLCLIP.from_open_clip(tiny_clip().float(), tiny_config())
    images = ImageSet(examples(), train_transform(model), seed=1)
    config = TrainConfig(precision=precision)
    with pytest.raises(UsageError, match="--cuda-graph needs CUDA, and this run is on the cpu"):
        Trainer(model, tiny_prompts([4]), images, config, cuda_graph=True)


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_epoch(tmp_path):
    trainer = make(tmp_path, epochs=3)
    trainer.fit()
    kept = (tmp_path / CHECKPOINT).read_bytes()
    worse = make(tmp_path, config=TrainConfig(epochs=5, batch_size=3, seed=2))
    with torch.no_grad():
        worse.model.logit_scale.fill_(float("nan"))
    with pytest.raises(
        ValueError, match=r"loss became nan in epoch 3.*learning rate.*last good epoch, 2"
    ):
        worse.fit()
    assert (tmp_path / CHECKPOINT).read_bytes() == kept


def diverging(folder=None, epochs=3, precision="fp32"):
    """The first step of epoch 1 at this rate leaves parameters whose products overflow."""
    config = TrainConfig(epochs=epochs, batch_size=7, seed=2, lr=1e30, precision=precision)
    return make(folder, config=config)


@pytest.mark.parametrize("epochs", [2, 3])
def test_parameters_that_the_last_step_broke_are_noticed(tmp_path, epochs):
    """One step per epoch: its own loss is still good."""
    with pytest.raises(ValueError, match=r"diverged.*in epoch 1 .*no adapter.*learning rate"):
        diverging(tmp_path, epochs).fit()
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0]
    content = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert content["state"]["epoch"] == 1
    assert all(value.isfinite().all() for value in content["learner"].values())
    with pytest.raises(ValueError, match=r"in epoch 1 .*last good epoch, 0"):  # resumed
        diverging(tmp_path, epochs).fit()


def test_a_parameter_that_is_not_finite_is_noticed_as_well(monkeypatch):
    trainer, step = make(epochs=1), TrainingStep.loss

    def lose(self, *batch):
        loss = step(self, *batch)
        next(iter(self.optimizer.state.values()))["exp_avg_sq"].fill_(torch.inf)
        return loss

    monkeypatch.setattr(TrainingStep, "loss", lose)
    with pytest.raises(ValueError, match="parameters became infinite"):
        trainer.fit()


def test_no_images_is_an_error():
    with pytest.raises(ValueError, match="no training images"):
        Trainer(
            MMRLCLIP.from_open_clip(tiny_clip(), tiny_config()),
            tiny_prompts([4]),
            ImageSet([], None, seed=1),
            TrainConfig(),
        )


def test_one_batch_smaller_than_the_batch_size_is_used():
    trainer = make(config=TrainConfig(epochs=2, batch_size=32))
    assert trainer.fit().images == 14
    assert tiny_images(1).shape[0] == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_others_on_the_base_notice_nothing_of_a_training(monkeypatch, precision):
    """While it runs, and where it fails."""
    trainer = make(precision=precision)
    other = trainer.model.sibling().eval()

    class StoppedError(Exception):
        pass

    def stop(*args):
        assert trainer.task.model.learner.training
        assert not any(module.training for module in other.modules())
        assert other.visual.conv1.weight.dtype == torch.float32
        raise StoppedError

    monkeypatch.setattr(trainer, "run_step", stop)
    with pytest.raises(StoppedError):
        trainer.fit()
    assert trainer.task.model is trainer.model


def test_training_leaves_the_modes_of_other_models_on_the_base():
    trainer = make(epochs=1)
    modes = [trainer.model.eval(), trainer.model.sibling().train()]
    before = [[m.training for m in model.modules()] for model in modes]
    trainer.fit()
    assert [[m.training for m in model.modules()] for model in modes] == before
