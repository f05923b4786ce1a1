"""Progress without a terminal: lines of the log, now and then."""

import logging
import time

import pytest

from open_clip_mmrl.utils.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Set the time by `clock.append`."""
    times = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: times[-1])
    return times


def test_a_line_every_half_minute(clock, caplog):
    caplog.set_level(logging.INFO)
    with Progress("scoring :cat:", 100) as progress:
        for seconds in range(5, 75, 5):
            clock.append(float(seconds))
            progress.advance(1, images=4, loss=0.5)
    assert caplog.messages == [
        "scoring :cat:: 6/100  loss 0.500  0.8 images/s  30 s",
        "scoring :cat:: 12/100  loss 0.500  0.8 images/s  60 s",
    ]


def test_a_line_after_an_epoch_but_not_more_than_one_a_second(clock, caplog):
    caplog.set_level(logging.INFO)
    with Progress("training", 4) as progress:
        for epoch, seconds in enumerate((0.4, 1.2, 1.3, 1.4), 1):
            clock.append(seconds)
            progress.mark(f"epoch {epoch}/4", last=epoch == 4)
    assert caplog.messages == ["training: epoch 2/4  1 s", "training: epoch 4/4  1 s"]


def test_quiet_is_quiet(clock, caplog):
    caplog.set_level(logging.INFO)
    with Progress("training", 4, quiet=True) as progress:
        clock.append(100.0)
        progress.advance(1)
        progress.mark("epoch 1/4", last=True)
    assert not caplog.messages


def test_the_time_left_is_logged_once_the_first_steps_tell(clock, caplog):
    caplog.set_level(logging.INFO)
    with Progress("training", 100, estimate=True) as progress:
        for _ in range(20):
            clock.append(clock[-1] + 1.0)
            progress.advance(1, images=4)
    found = [message for message in caplog.messages if "as measured" in message]
    assert found == ["training: about 1.6 min left, as measured on 3 steps"]
