"""Retrieval: k against the number of images and captions."""

import pytest
import torch
from helpers.shard_sets import eval_command, retrieval
from helpers.upstream import still_broken

from benchmark_adapters import seam
from benchmark_adapters.cli import main
from benchmark_adapters.repairs.retrieval_recall import counted
from open_clip_mmrl.errors import UsageError


@pytest.fixture(autouse=True)
def _undone(registered):
    """The commands register; nothing of it stays for other tests."""


@pytest.mark.parametrize(
    ("k", "code", "words"),
    [
        (["5", "13"], 1, "--recall_k 13 is more than the 12 images"),
        (["0"], 2, "--recall_k 0: give 1 or more"),
    ],
)
def test_recall_beyond_the_data(tmp_path, adapter, capsys, k, code, words):
    root = retrieval(tmp_path / "captions")
    command = eval_command(root, "wds/captions", tmp_path / "out", "--pretrained", adapter)
    assert main([*command, "--recall_k", *k]) == code
    assert words in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_k_is_compared_with_the_number_of_captions():
    data = [(torch.zeros(4, 3), [["a"], [], ["b"], []])]
    with pytest.raises(ValueError, match="--recall_k 3 is more than the 2 captions"):
        list(counted(data, [3]))
    with pytest.raises(ValueError, match="no images to retrieve"):
        list(counted([], [3]))


def test_labels_instead_of_captions():
    data = [(torch.zeros(2, 3), torch.tensor([0, 1]))]
    with pytest.raises(UsageError, match="needs captions, but the data set has labels"):
        list(counted(data, [1]))


def test_clip_benchmark_fails_after_all_the_work(stock_clip, clip_tokenizer):
    data = [(torch.zeros(4, 3, 32, 32), [["a"], ["b"], ["c"], ["d"]])]
    evaluate = seam.original(seam.RETRIEVAL, "evaluate")
    with still_broken("retrieval_recall", RuntimeError, "selected index k out of range"):
        evaluate(stock_clip, data, clip_tokenizer, "cpu", recall_k_list=[5])
