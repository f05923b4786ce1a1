"""The demo's rows, its table and its picture."""

import pytest
from helpers.made_results import result
from PIL import Image
from rich.console import Console

from open_clip_mmrl.cli.tables import comparison_table, scores_table
from open_clip_mmrl.experiments.results import RunResult
from open_clip_mmrl.report.figures.comparison import comparison_figure
from open_clip_mmrl.report.tables.methods import method_rows


def made(method, seed, base, novel, protocol="base-to-novel", **changes):
    content = {
        "metrics": {"base": base, "novel": novel},
        "zero_shot": {"base": 50.0, "novel": 60.0},
        "trainable_parameters": 1234,
        "train_ms_per_image": 2.0 * seed,
        "eval_images_per_second": 500.0,
    }
    return RunResult.from_json(result(method, "digits", seed, protocol, **content, **changes))


RESULTS = [
    made("mmrl", 1, 80.0, 60.0),
    made("mmrl", 2, 84.0, 64.0),
    made("mmrl++", 1, 70.0, 70.0),
]


def test_rows_average_over_seeds_and_begin_with_the_frozen_model():
    frozen, mmrl, mmrlpp = method_rows(RESULTS)
    assert (frozen.method, frozen.base.mean, frozen.novel.mean) == ("frozen CLIP", 50.0, 60.0)
    assert (frozen.parameters, frozen.train_ms, frozen.eval_ms) == (0, None, None)
    assert (mmrl.base.mean, mmrl.novel.mean, mmrl.base.seeds) == (82.0, 62.0, 2)
    assert mmrl.base.std == pytest.approx(8**0.5)
    assert mmrl.hm.mean == pytest.approx(2 * 82 * 62 / 144)
    assert (mmrl.parameters, mmrl.train_ms, mmrl.eval_ms) == (1234, 3.0, 2.0)
    assert (mmrlpp.method, mmrlpp.hm.mean, mmrlpp.hm.std) == ("MMRL++", 70.0, None)


@pytest.mark.parametrize("others", [[], [made("mmrl", 1, 1.0, 1.0, shots=4)]])
def test_runs_that_do_not_compare_are_refused(others):
    with pytest.raises(ValueError, match="base-to-novel runs"):
        method_rows([*RESULTS, *others] if others else [])


def test_the_figure_is_a_picture_with_content(tmp_path):
    path = comparison_figure(method_rows(RESULTS), "title", tmp_path / "new" / "f.png")
    with Image.open(path) as image:
        assert image.size[0] > 800 and len(image.convert("RGB").getcolors(1 << 20)) > 50


def test_tables_fit_a_narrow_terminal():
    console = Console(width=80, record=True)
    console.print(comparison_table(method_rows(RESULTS)))
    scores = {"frozen CLIP": {"base": 1.0, "hm": 2.0}, "mmrl": {"base": 3.0, "hm": 4.0}}
    console.print(scores_table("title", scores))
    text = console.export_text()
    for part in ("82.0 ±2.8", "frozen CLIP", "MMRL++", "1,234", "3.00", "HM", "4.00"):
        assert part in text
    assert "…" not in text
