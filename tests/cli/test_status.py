"""`open-clip-mmrl status`: one table of what is not finished, and the sum."""

import json

from helpers.cli import run


def test_runs_that_failed_are_shown_with_their_reason_and_watching_ends(tmp_path):
    for name, file, content in (
        ("one", "results", {}),
        ("two", "failed", {"error": "no space"}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
        (tmp_path / name / f"{file}.json").write_text(json.dumps(content))
    for options in ([], ["--watch"]):
        code, text, _ = run("status", tmp_path, *options)
        assert code == 0 and "two failed" in text and "no space" in text
        assert "2 runs: 1 failed, 1 finished" in text
    code, text, _ = run("status", tmp_path / "nowhere")
    assert code == 1 and "is not a folder" in text
