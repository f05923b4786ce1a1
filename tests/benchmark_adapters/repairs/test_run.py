"""One evaluation: names in errors, and --skip_load."""

import pytest
from helpers.upstream import eval_args, still_broken

from benchmark_adapters import seam
from benchmark_adapters.repairs.run import naming


def test_errors_without_words_are_named_by_their_kind():
    with pytest.raises(ValueError, match="a with b: AssertionError"), naming("a with b"):
        raise AssertionError


def test_clip_benchmark_fails_with_skip_load(tmp_path):
    args = eval_args(output=str(tmp_path / "x"), task="zeroshot_classification", skip_load=True)
    with still_broken("run", UnboundLocalError, "dataset"):
        seam.original(seam.CLI, "run")(args)
