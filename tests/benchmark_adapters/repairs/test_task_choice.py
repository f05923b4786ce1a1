"""`--task`, and what a webdataset folder holds."""

import argparse

import pytest
from helpers.upstream import eval_args, mended

from benchmark_adapters import seam
from benchmark_adapters.repairs.task_choice import settle_task
from open_clip_mmrl.errors import UsageError


@pytest.fixture
def task_for(tmp_path):
    """What a task becomes for a webdataset folder of a kind."""

    def settle(task, kind, name="x"):
        (tmp_path / "dataset_type.txt").write_text(kind)
        dataset, root = f"wds/{name}", str(tmp_path)
        return settle_task(argparse.Namespace(task=task, dataset=dataset, dataset_root=root))

    return settle


@pytest.mark.parametrize(
    ("task", "kind", "name", "chosen"),
    [
        ("auto", "classification", "x", "zeroshot_classification"),
        ("auto", "multilabel", "x", "zeroshot_classification"),
        ("auto", "retrieval", "x", "zeroshot_retrieval"),
        ("auto", "retrieval", "flickr8k", "zeroshot_retrieval"),
        ("auto", "retrieval", "winoground", "image_caption_selection"),
        ("auto", "classification", "flickr8k", "zeroshot_classification"),
        ("linear_probe", "classification", "x", "linear_probe"),
        ("image_caption_selection", "retrieval", "x", "image_caption_selection"),
    ],
)
def test_tasks_for_shards(task_for, task, kind, name, chosen):
    assert task_for(task, kind, name) == chosen


@pytest.mark.parametrize(
    ("task", "kind", "fitting"),
    [
        ("zeroshot_classification", "retrieval", "zeroshot_retrieval"),
        ("linear_probe", "retrieval", "zeroshot_retrieval"),
        ("image_caption_selection", "multilabel", "zeroshot_classification"),
    ],
)
def test_tasks_that_do_not_fit_the_shards(task_for, task, kind, fitting):
    with pytest.raises(
        UsageError, match=f"{task} does not fit a {kind} data set: choose {fitting}"
    ):
        task_for(task, kind)


def test_clip_benchmark_goes_by_the_name_alone(tmp_path, capsys):
    (tmp_path / "dataset_type.txt").write_text("retrieval")
    (tmp_path / "zeroshot_classification").touch()
    output = f"{tmp_path}/{{task}}"
    args = eval_args(dataset_root=str(tmp_path), output=output, skip_existing=True, skip_load=True)
    try:
        seam.original(seam.CLI, "run")(args)
    except UnboundLocalError:  # it goes to work on another task
        pytest.fail(mended("task_choice"))
    assert "zeroshot_classification, exists already" in capsys.readouterr().out
