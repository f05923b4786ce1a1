"""Classifiers in files: saved, loaded again, and checked."""

import pytest
import torch
from helpers.shard_sets import DIGITS, eval_command, results
from helpers.upstream import mended
from torch.utils.data import DataLoader, TensorDataset

from benchmark_adapters import seam
from benchmark_adapters.cli import main
from benchmark_adapters.repairs.accuracy import accuracy
from benchmark_adapters.repairs.saved_classifiers import check_saved
from open_clip_mmrl.errors import UsageError


@pytest.fixture(autouse=True)
def _undone(registered):
    """The commands register; nothing of it stays for other tests."""


@pytest.fixture
def saved(tmp_path, digits, adapter):
    """A classifier of the class features, saved under amp."""
    path = tmp_path / "saved" / "clf.pt"
    command = eval_command(digits, "wds/digits", tmp_path / "first", "--save_clf", path)
    assert main([*command, "--pretrained", str(adapter)]) == 0
    return path


def test_saved_under_amp_is_used_without(tmp_path, digits, adapter, saved):
    assert torch.load(saved, weights_only=True).dtype == torch.float32
    shares = []
    for i, options in enumerate(([], ["--load_clfs", saved, saved])):
        words = ["--no_amp", "--pretrained", adapter, *options]
        assert main(eval_command(digits, "wds/digits", tmp_path / str(i), *words)) == 0
        (found,) = results(tmp_path / str(i)).values()
        shares.append(found["metrics"])
    assert shares[0] == pytest.approx(shares[1], abs=0.1)


def test_saved_for_other_features(tmp_path, digits, adapter, saved, capsys):
    options = ["--pretrained", adapter, "--model_type", "mmrl_fused", "--load_clfs", saved]
    assert main(eval_command(digits, "wds/digits", tmp_path / "out", *options)) == 1
    shown = capsys.readouterr().err
    assert "classifier is for features of width 64, this model's have 128" in shown


def test_classifiers_that_cannot_be_loaded(tmp_path, saved):
    check_saved([str(saved)], 10)
    with pytest.raises(ValueError, match=r"clf\.pt is for 10 classes, the data set has 9"):
        check_saved([str(saved)], 9)
    with pytest.raises(UsageError, match=r"--load_clfs: there is no file .*gone\.pt"):
        check_saved(["gone.pt"], 10)
    (tmp_path / "text.pt").write_text("no")
    with pytest.raises(ValueError, match=r"text\.pt cannot be read \("):
        check_saved([str(tmp_path / "text.pt")], 10)
    torch.save({"a": 1}, tmp_path / "dict.pt")
    with pytest.raises(ValueError, match=r"dict\.pt is no classifier"):
        check_saved([str(tmp_path / "dict.pt")], 10)
    torch.save(torch.zeros(3, 10), tmp_path / "narrow.pt")
    with pytest.raises(ValueError, match=r"one shape can be averaged: .*\(3, 10\)"):
        check_saved([str(saved), str(tmp_path / "narrow.pt")], 10)


def test_clip_benchmark_takes_a_classifier_of_another_data_set(tmp_path, stock_clip, monkeypatch):
    from clip_benchmark.metrics import zeroshot_classification

    monkeypatch.setattr(zeroshot_classification, "accuracy", accuracy)  # or it fails with numpy 2.4
    torch.save(torch.randn(64, 9), tmp_path / "nine.pt")
    data = TensorDataset(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))
    data.classes = DIGITS
    evaluate, nine = seam.original(seam.CLASSIFICATION, "evaluate"), [str(tmp_path / "nine.pt")]
    try:
        evaluate(stock_clip, DataLoader(data), None, DIGITS, ["{c}"], "cpu", load_clfs=nine)
    except ValueError:
        pytest.fail(mended("saved_classifiers"))
