"""Result files into one table."""

import argparse
import csv
import json

import pytest
from helpers.upstream import still_broken

from benchmark_adapters import seam
from benchmark_adapters.repairs.build_table import main_build
from open_clip_mmrl.errors import UsageError


def result(**changes):
    values = {
        "dataset": "wds/a",
        "model": "mmrl-ViT-B-16",
        "pretrained": "runs/a/adapter.safetensors",
        "task": "zeroshot_classification",
        "metrics": {"acc5": None, "acc1": 0.5},
        "language": "en",
    }
    return {**values, **changes}


@pytest.fixture
def build(tmp_path):
    """Write results by file name, build; returns the columns and the rows."""

    def run(files, *paths):
        folder = tmp_path / "results"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text)
        output = tmp_path / "tables" / "all.csv"
        paths = [str(folder / path) for path in paths] or [str(folder)]
        main_build(argparse.Namespace(files=paths, output=str(output)))
        with output.open(newline="") as stream:
            reader = csv.DictReader(stream)
            return reader.fieldnames, list(reader)

    return run


def test_columns_are_in_order(build):
    probe = {"metrics": {"lp_acc1": 0.25, "seed": 3}, "task": "linear_probe", "seed": 3}
    shots = {"method": "mmrl++", "shots": 16, "note": {"b": [1, "x"]}, "model_type": "mmrl"}
    columns, rows = build({"2.json": result(**probe), "10.json": result(**shots), "x.txt": "no"})
    assert columns == [
        *("model_fullname", "model", "pretrained", "dataset", "task", "method", "shots", "seed"),
        *("acc1", "acc5", "lp_acc1"),
        *("language", "model_type", "note"),
    ]
    assert [row["task"] for row in rows] == ["zeroshot_classification", "linear_probe"]
    assert rows[0]["model_fullname"] == "mmrl-ViT-B-16 runs/a/adapter.safetensors"
    assert json.loads(rows[0]["note"]) == {"b": [1, "x"]}
    assert (rows[0]["acc1"], rows[0]["acc5"], rows[0]["lp_acc1"]) == ("0.5", "", "")
    assert (rows[1]["lp_acc1"], rows[1]["seed"], rows[1]["note"]) == ("0.25", "3", "")


def test_columns_without_values_are_omitted(build):
    columns, _ = build({"a.json": result()}, "a.json")
    assert columns[:5] == ["model_fullname", "model", "pretrained", "dataset", "task"]
    assert columns[5:] == ["acc1", "acc5", "language"]


def test_files_that_are_no_results_are_named_and_skipped(build, caplog):
    bad = {
        "b.json": result(metrics=None),
        "c.json": "{",
        "d.json": "[1]",
        "e.json": {"model": "x", "metrics": {}},
        "f.json": "[" * 100_000,
    }
    _, rows = build({"a.json": result(), **bad})
    shown = caplog.messages
    assert len(rows) == 1 and len(shown) == 5
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert "b.json: it has no metrics but null" in shown[0]
    assert "c.json: not JSON (" in shown[1]
    assert "d.json: no result: it lacks model, pretrained or metrics" in shown[2]
    assert "e.json: no result" in shown[3]
    assert "f.json: nested deeper than" in shown[4]
    assert all(text.startswith("left out: ") for text in shown)


def test_a_folder_with_the_name_of_a_result_is_skipped(build, tmp_path, caplog):
    (tmp_path / "results" / "b.json").mkdir(parents=True)
    _, rows = build({"a.json": result()})
    assert len(rows) == 1 and "b.json: Is a directory" in caplog.text


def test_nothing_left_is_an_error(build, tmp_path):
    with pytest.raises(ValueError, match=r"no results in .*results: .*all\.csv not written"):
        build({"b.json": result(metrics=None)})
    assert not (tmp_path / "tables").exists()


def test_a_file_that_is_not_there(build):
    with pytest.raises(UsageError, match=r"no result file or folder .*gone\.json"):
        build({"a.json": result()}, "a.json", "gone.json")


def test_clip_benchmark_fails_on_a_result_without_metrics(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(result(metrics=None)))
    args = argparse.Namespace(files=[str(path)], output=str(tmp_path / "all.csv"))
    with still_broken("build_table", TypeError, "'NoneType' object is not iterable"):
        seam.original(seam.CLI, "main_build")(args)


def test_formulas_are_text_and_numbers_stay(build):
    _, (row,) = build({"1.json": result(model="=1+1", metrics={"acc1": -1.5, "@a": "-1.5"})})
    assert row["model"] == "'=1+1" and row["acc1"] == "-1.5" and row["'@a"] == "-1.5"
    assert row["model_fullname"].startswith("'=1+1 ")
