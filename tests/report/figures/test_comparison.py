"""results.json files to rows, tables and the figure."""

import json

import pytest
from PIL import Image
from rich.console import Console

from open_clip_mmrl.cli.tables import comparison_table, scores_table
from open_clip_mmrl.report.figures.comparison import (
    base_to_novel_rows,
    comparison_figure,
    read_results,
)


def result(method, seed, base, novel, frozen=(50.0, 60.0), protocol="base-to-novel"):
    return {
        "method": method,
        "seed": seed,
        "protocol": protocol,
        "metrics": {"base": base, "novel": novel, "hm": 0.0},
        "zero_shot": {"base": frozen[0], "novel": frozen[1], "hm": 0.0},
        "trainable_parameters": 1234,
        "train_ms_per_image": 2.0 * seed,
        "eval_images_per_second": 500.0,
    }


RESULTS = [
    result("mmrl", 1, 80.0, 60.0),
    result("mmrl", 2, 84.0, 64.0),
    result("mmrl++", 1, 70.0, 70.0),
]


def test_rows_average_over_seeds_and_begin_with_the_frozen_model():
    frozen, mmrl, mmrlpp = base_to_novel_rows(RESULTS)
    assert (frozen.method, frozen.base, frozen.novel, frozen.parameters) == (
        "frozen CLIP", 50.0, 60.0, 0,
    )  # fmt: skip
    assert (mmrl.base, mmrl.novel, mmrl.base_std, mmrl.seeds) == (
        82.0,
        62.0,
        pytest.approx(8**0.5),
        2,
    )
    assert mmrl.hm == pytest.approx(2 * 82 * 62 / 144)
    assert (mmrl.train_ms, mmrl.eval_ms) == (3.0, 2.0)
    assert (mmrlpp.method, mmrlpp.hm) == ("MMRL++", 70.0)


def test_nothing_to_report_is_said(tmp_path):
    with pytest.raises(ValueError, match="base-to-novel"):
        base_to_novel_rows([result("mmrl", 1, 1.0, 1.0, protocol="few-shot")])
    with pytest.raises(ValueError, match=r"no results\.json"):
        read_results(tmp_path)


def test_results_are_found_below_a_folder(tmp_path):
    for i, content in enumerate(RESULTS):
        (tmp_path / f"run{i}").mkdir()
        (tmp_path / f"run{i}" / "results.json").write_text(json.dumps(content))
    assert read_results(tmp_path) == RESULTS


def test_the_figure_is_a_picture_with_content(tmp_path):
    path = comparison_figure(base_to_novel_rows(RESULTS), "title", tmp_path / "new" / "f.png")
    with Image.open(path) as image:
        assert image.size[0] > 800 and len(image.convert("RGB").getcolors(1 << 20)) > 50


def test_tables_fit_a_narrow_terminal():
    console = Console(width=80, record=True)
    console.print(comparison_table(base_to_novel_rows(RESULTS)))
    scores = {"frozen CLIP": {"base": 1.0, "hm": 2.0}, "mmrl": {"base": 3.0, "hm": 4.0}}
    console.print(scores_table("title", scores))
    text = console.export_text()
    for part in ("82.0 ±2.8", "frozen CLIP", "MMRL++", "1,234", "3.00", "HM", "4.00"):
        assert part in text
    assert "…" not in text
