"""Checkpoints: damage of any kind is noticed, and so is another run's."""

import pytest
import torch
from helpers.trainer import make

from open_clip_mmrl.training.checkpoint import CHECKPOINT, read_checkpoint, write_checkpoint
from open_clip_mmrl.training.record import LOG

CPU = torch.device("cpu")


@pytest.fixture
def small(tmp_path):
    """A checkpoint of some hundred numbers, and its content."""
    torch.manual_seed(0)
    net = torch.nn.Linear(5, 7)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(2, 5)).sum().backward()
    optimizer.step()
    content = {
        "learner": net.state_dict(), "optimizer": optimizer.state_dict(),
        "state": {"epoch": 3, "loss": 0.25}, "run": "abcd",
    }  # fmt: skip
    write_checkpoint(tmp_path / CHECKPOINT, content)
    return tmp_path / CHECKPOINT, content


def test_a_flipped_bit_is_noticed_wherever_it_changes_something(small):
    path, content = small
    good, noticed = path.read_bytes(), 0
    places = [*range(0, len(good), 37), good.index(content["learner"]["weight"].numpy().tobytes())]
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << (place % 8)
        path.write_bytes(bad)
        try:
            found = read_checkpoint(path, CPU)
        except ValueError:
            noticed += 1
            continue
        assert found["state"] == content["state"] and found["run"] == content["run"]
        torch.testing.assert_close(found["learner"], dict(content["learner"]), rtol=0, atol=0)
        ours, theirs = (c["optimizer"]["state"] for c in (content, found))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert noticed > len(places) / 2


@pytest.mark.parametrize("length", [0, 10, 2000, -1])
def test_a_cut_checkpoint_is_named(small, length):
    path, _ = small
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"checkpoint\.pt cannot be read.*delete it"):
        read_checkpoint(path, CPU)


def test_a_checkpoint_without_digest_is_of_an_earlier_version_and_read(tmp_path):
    torch.save({"state": {"epoch": 1}}, tmp_path / CHECKPOINT)
    assert read_checkpoint(tmp_path / CHECKPOINT, CPU) == {"state": {"epoch": 1}}


def test_a_damaged_checkpoint_costs_nothing_else(tmp_path):
    trainer = make(tmp_path, epochs=2)
    trainer.fit()
    log = (tmp_path / LOG).read_bytes()
    data = bytearray((tmp_path / CHECKPOINT).read_bytes())
    data[data.index(trainer.model.learner.space.detach().numpy().tobytes())] ^= 1
    (tmp_path / CHECKPOINT).write_bytes(data)
    with pytest.raises(ValueError, match="cannot be read"):
        make(tmp_path, epochs=4).fit()
    assert (tmp_path / LOG).read_bytes() == log and (tmp_path / CHECKPOINT).read_bytes() == data


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    first = make(tmp_path, epochs=2)
    first.run_digest = "first"
    first.fit()
    second = make(tmp_path, epochs=2)
    second.run_digest = "second"
    with pytest.raises(ValueError, match=r"checkpoint\.pt belongs to a run with other.*delete it"):
        second.fit()
    again = make(tmp_path, epochs=3)
    again.run_digest = "first"
    assert again.fit().steps == 6


def test_a_checkpoint_of_an_earlier_version_resumes(tmp_path):
    """It holds neither a digest nor the run it belongs to."""
    make(tmp_path, epochs=2).fit()
    content = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    del content["digest"], content["run"]
    torch.save(content, tmp_path / CHECKPOINT)
    again = make(tmp_path, epochs=3)
    again.run_digest = "ours"
    assert again.fit().steps == 6


def test_a_checkpoint_that_is_not_finite_is_not_resumed(tmp_path):
    make(tmp_path, epochs=2).fit()
    content = read_checkpoint(tmp_path / CHECKPOINT, CPU)
    content.pop("digest", None)
    content["learner"]["space"][0, 0] = torch.nan
    write_checkpoint(tmp_path / CHECKPOINT, content)
    with pytest.raises(ValueError, match=r"infinite or NaN.*Delete it and lower the learning rate"):
        make(tmp_path, epochs=3).fit()
