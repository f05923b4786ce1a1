"""Several processes train what one process trains: losses, gradients, parameters, checkpoints."""

import json
from unittest.mock import patch

import pytest
import torch
from helpers.ranks import in_ranks
from helpers.tiny import tiny_clip, tiny_config, tiny_prompts
from helpers.trainer import examples

from open_clip_mmrl import MMRLCLIP, TrainConfig
from open_clip_mmrl.config import LOSS_TERMS
from open_clip_mmrl.data.loading.images import ImageSet, train_transform
from open_clip_mmrl.training.optim import steps_taken
from open_clip_mmrl.training.record import LOG
from open_clip_mmrl.training.step import TrainingStep
from open_clip_mmrl.training.trainer import Trainer
from open_clip_mmrl.utils.ranks import RankError


class Stopped(Exception):  # noqa: N818
    """As Ctrl-C stops a training."""


def trainer(ranks=None, folder=None, *, method=None, classes=3, images=7, **train):
    """Return a trainer in float64; learners of other ranks begin elsewhere, if they are let."""
    first = ranks is None or ranks.rank == 0
    model = MMRLCLIP.from_open_clip(tiny_clip(), tiny_config(**(method or {})))
    model.learner.reset_parameters(torch.Generator().manual_seed(5 if first else ranks.rank))
    config = TrainConfig(**{"epochs": 2, "batch_size": 3, "seed": 2, **train})
    transform = train_transform(model)
    items = ImageSet(examples(images, classes), lambda image: transform(image).double(), 2)
    prompts = tiny_prompts([4 + index % 5 for index in range(classes)])
    folder = folder if first else None
    return Trainer(model, prompts, items, config, folder=folder, quiet=True, ranks=ranks)


def train(ranks, folder=None, stop=None, **settings):
    """Train; return all numbers, those of the last step's gradients too."""
    found, losses = trainer(ranks, folder, **settings), []
    step = found.run_step

    def run(images, labels):
        if found.state.epoch == stop:
            raise Stopped
        losses.append(step(images, labels))
        return losses[-1]

    found.run_step = run
    try:
        found.fit()
    except Stopped:
        assert stop is not None
    learner = dict(found.model.learner.named_parameters())
    return {
        "losses": torch.stack(losses),
        **{name: p.detach() for name, p in learner.items()},
        **{f"gradient of {name}": p.grad for name, p in learner.items()},
    }


def assert_equal(all_found, expected, tolerance=1e-9):
    for found in all_found:
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    for name, value in all_found[0].items():
        if name != "losses":
            assert all(torch.equal(value, found[name]) for found in all_found), name


TERMS = dict.fromkeys(LOSS_TERMS, 0.3)
"""Of the loss, which are no sums over images or classes."""
CASES = [
    {"method": TERMS},  # uneven batches and classes
    {"classes": 7, "text_chunk_size": 2, "batch_size": 4, "text_cache": False},
    {"classes": 5, "batch_size": 32},  # one batch
    {
        "classes": 2,
        "batch_size": 1,
        "images": 2,
        "method": TERMS,
    },  # ranks without images and classes
]
SETTINGS = [*CASES, {**CASES[1], "method": {"variant": "mmrl++"}}]


@pytest.fixture(scope="module")
def expected():
    return [train(None, **settings) for settings in SETTINGS]


@pytest.mark.parametrize("count", [2, 3])
def test_losses_gradients_and_parameters_are_those_of_one_process(count, expected):
    found = in_ranks(count, lambda ranks: [train(ranks, **settings) for settings in SETTINGS])
    for of_ranks, alone in zip(zip(*found, strict=True), expected, strict=True):
        assert_equal(of_ranks, alone)


def test_a_training_resumes_with_another_number_of_ranks(tmp_path):
    settings = {"epochs": 4, "method": {"variant": "mmrl++"}}
    expected = train(None, tmp_path / "whole", **settings)
    broken = tmp_path / "broken"
    in_ranks(2, lambda ranks: train(ranks, broken, stop=1, **settings))
    train(None, broken, stop=2, **settings)
    in_ranks(3, lambda ranks: train(ranks, broken, stop=3, **settings))
    found = in_ranks(2, lambda ranks: train(ranks, broken, **settings))
    assert_equal(found, {**expected, "losses": expected["losses"][-2:]})

    def rows(folder):
        return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]

    for ours, theirs in zip(rows(broken), rows(tmp_path / "whole"), strict=True):
        assert ours.keys() == theirs.keys() and ours["step"] == theirs["step"]
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-9)


def test_all_skip_a_step_whose_gradients_overflow_on_one():
    def run(ranks):
        found = trainer(ranks)
        found._resume(), found.task.float()
        step = TrainingStep(
            found.task, TrainConfig(precision="amp_fp16"), torch.device("cpu"), ranks
        )
        space, seen = found.model.learner.space, []
        hook = space.register_hook(lambda gradient: gradient / (1 - ranks.rank))
        for _ in range(2):
            step(torch.ones(2, 3, 16, 16), torch.tensor([0, 1, 2, 0]))
            seen.append((step.scaler.get_scale(), steps_taken(step.optimizer), space.detach() + 0))
            hook.remove()
        return seen

    first, second = in_ranks(2, run)
    assert [row[:2] for row in first] == [(2.0**15, 0), (2.0**15, 1)]
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_divergence_is_found_by_all_and_other_errors_end_all():
    def run(ranks):
        diverging = trainer(ranks)
        diverging.model.learner.space.data.fill_(torch.nan if ranks.rank == 0 else 0)
        with pytest.raises(ValueError, match="training diverged"), ranks.in_step():
            diverging.fit()
        with pytest.raises(RankError, match="disk full"), ranks.in_step():
            raise OSError("disk full")
        return True

    assert in_ranks(2, run) == [True, True]


def test_a_peer_that_ends_is_reported_at_once():
    def run(ranks):
        if ranks.rank:
            return None
        with pytest.raises(RankError, match=r"another process .* has ended \(.*resumes from"):
            trainer(ranks).fit()
        return True

    assert in_ranks(2, run) == [True, None]


def test_one_process_exchanges_nothing():
    with patch("torch.distributed.all_gather", side_effect=AssertionError):
        trainer().fit()
