"""The loop: schedule, bit-for-bit repeats, resume, log, checkpoints, bad input."""

import json
import math

import pytest
import torch
from conftest import tiny_clip, tiny_config, tiny_images, tiny_prompts

from open_clip_mmrl import MMRLCLIP, MMRLTask, TrainConfig
from open_clip_mmrl.data import Example
from open_clip_mmrl.images import ImageSet, epoch_batches, train_transform
from open_clip_mmrl.trainer import CHECKPOINT, LOG, Trainer, learning_rate


def examples(count=7, classes=3, size=20):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)
    return [Example(image=p.numpy(), label=i % classes) for i, p in enumerate(pixels)]


def make(folder=None, *, epochs=3, precision="fp32", variant="mmrl", config=None, items=None):
    model = MMRLCLIP.from_open_clip(tiny_clip().float(), tiny_config(variant=variant))
    model.learner.reset_parameters(torch.Generator().manual_seed(5))
    config = config or TrainConfig(epochs=epochs, batch_size=3, precision=precision, seed=2)
    images = ImageSet(items or examples(), train_transform(model), seed=config.seed)
    return Trainer(model, tiny_prompts([4, 6, 8]), images, config, folder=folder, quiet=True)


def weights(trainer):
    return {n: p.detach().clone() for n, p in trainer.model.learner.named_parameters()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_learning_rate_follows_the_released_schedule():
    config = TrainConfig(epochs=10, lr=1e-3)
    assert learning_rate(config, 0) == 1e-5
    assert learning_rate(config, 1) == pytest.approx(1e-3)
    for epoch in range(1, 10):
        expected = 1e-3 * (1 + math.cos(math.pi * (epoch - 1) / 10)) / 2
        assert learning_rate(config, epoch) == pytest.approx(expected, rel=1e-12)


def test_a_single_epoch_has_no_warm_up():
    assert learning_rate(TrainConfig(epochs=1, lr=2e-3), 0) == 2e-3


def test_the_steps_are_plain_adamw_over_the_learner():
    """Two epochs by hand: same images, same order, torch's AdamW, the schedule's rates."""
    trainer, by_hand = make(epochs=2), make(epochs=2)
    trainer.fit()
    task, images = MMRLTask(by_hand.model, tiny_prompts([4, 6, 8])), by_hand.images
    optimizer = torch.optim.AdamW(
        by_hand.model.learner.parameters(), lr=1, betas=(0.9, 0.999), weight_decay=5e-4
    )
    by_hand.model.train()
    for epoch, rate in enumerate((1e-5, 1e-3)):
        optimizer.param_groups[0]["lr"] = rate
        images.epoch = epoch
        for batch in epoch_batches(7, 3, 2, epoch):
            pairs = [images[i] for i in batch]
            loss = task(torch.stack([p[0] for p in pairs]), torch.tensor([p[1] for p in pairs]))
            optimizer.zero_grad()
            loss["loss"].backward()
            optimizer.step()
    assert_same(weights(trainer), weights(by_hand))


@pytest.mark.parametrize("variant", ["mmrl", "mmrl++"])
@pytest.mark.parametrize("precision", ["fp32", "amp_bf16"])
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
            with open(self.folder / LOG, "a") as log:
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


def test_log_rows_say_loss_rate_and_speed(tmp_path):
    make(tmp_path, epochs=2).fit()
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["lr"] for row in rows] == [1e-5, 1e-3]
    assert [row["step"] for row in rows] == [2, 4]
    assert all(row["loss"] > 0 and row["images_per_second"] > 0 for row in rows)


def test_half_precision_with_a_scaler_trains_and_counts_skipped_steps():
    trainer = make(precision="amp_fp16", epochs=2)
    summary = trainer.fit()
    assert summary.steps == 4 and 0 <= summary.skipped_steps < 4
    assert math.isfinite(summary.final_loss)


def test_mixed_precision_stays_near_full_precision():
    full, mixed = make(epochs=3), make(epochs=3, precision="amp_bf16")
    assert mixed.fit().final_loss == pytest.approx(full.fit().final_loss, rel=0.05)
    assert all(p.dtype == torch.float32 for p in mixed.model.learner.parameters())


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_epoch(tmp_path):
    trainer = make(tmp_path, epochs=3)
    trainer.fit()
    kept = (tmp_path / CHECKPOINT).read_bytes()
    worse = make(tmp_path, config=TrainConfig(epochs=5, batch_size=3, seed=2))
    with torch.no_grad():
        worse.model.logit_scale.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"loss became nan in epoch 3.*learning rate.*fp32"):
        worse.fit()
    assert (tmp_path / CHECKPOINT).read_bytes() == kept


def test_no_images_is_said():
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
