"""Rank 0 carries out a run, and the others train with it."""

import pytest
import torch
from helpers.cli import run
from helpers.ranks import in_ranks
from helpers.runs import go
from safetensors.torch import load_file

from open_clip_mmrl.errors import UsageError
from open_clip_mmrl.experiments.rank_training import follow
from open_clip_mmrl.experiments.results import ADAPTER, RESULTS, RunResult
from open_clip_mmrl.experiments.run_spec import Runtime
from open_clip_mmrl.utils.ranks import Ranks


def test_the_others_train_what_the_first_one_begins(tmp_path):
    def carry_out(ranks):
        if ranks.rank:
            return follow(ranks)
        go(tmp_path / "together", runtime=Runtime(device="cpu", quiet=True, ranks=ranks))
        return ranks.from_first(None) is None

    assert in_ranks(2, carry_out) == [True, True]
    go(tmp_path / "alone")
    ours, theirs = (load_file(tmp_path / name / ADAPTER) for name in ("together", "alone"))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    results = (RunResult.read(tmp_path / name / RESULTS) for name in ("together", "alone"))
    assert len({tuple(result.metrics.items()) for result in results}) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": "cuda:1"}, "GPU of its own: give cuda or cpu"),
        ({"cuda_graph": True}, "--cuda-gr"),
    ],
)
def test_what_several_ranks_cannot_do_is_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        Runtime(ranks=Ranks(0, 2), **settings)


@pytest.mark.parametrize("words", [["--jobs", "2"], ["--engine", "slurm"]])
def test_engines_and_torchrun_do_not_go_together(words, tmp_path, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    code, text, _ = run("run", "few-shot", "--datasets", "digits", "--output", tmp_path, *words)
    assert code == 2 and "leave out --jobs and --engine, or start without torchrun" in text
