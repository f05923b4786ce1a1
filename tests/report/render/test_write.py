"""The report's files: Markdown, CSV, a page that needs nothing else, and the command."""

import csv
import io
import json
from html.parser import HTMLParser

import pytest
import typer
from helpers.made_results import (
    ENVIRONMENT,
    ablation,
    base_to_novel,
    few_shot,
    transfer,
    write_runs,
)
from typer.testing import CliRunner

from open_clip_mmrl.cli.report import report
from open_clip_mmrl.report import write_report

VOID = {"meta", "img", "br", "link", "input"}


class Reader(HTMLParser):
    """Checks that elements are closed in order, and gathers ids, links, sources and words."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.sources = [], [], [], []
        self.tags, self.words = set(), []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        self.sources += [attrs["src"]] if "src" in attrs else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report on runs of several protocols, one damaged file and one odd name among them."""
    folder = tmp_path_factory.mktemp("runs")
    names = ("dtd", "eurosat", "<b>&co|'$")
    contents = [base_to_novel("mmrl", name, seed) for name in names for seed in (1, 2)]
    contents += [few_shot("mmrl", "dtd", shots, 1) for shots in (1, 2)]
    contents += [ablation("regularizer", value, "dtd", 1) for value in ("cosine", "l1")]
    contents += [
        base_to_novel(
            "mmrl", "dtd", 1, model="mmrl-ViT-L-14", environment={**ENVIRONMENT, "torch": "2.6.0"}
        )
    ]
    write_runs(folder, contents)
    (folder / "damaged").mkdir()
    (folder / "damaged" / "results.json").write_text("{")
    return folder, write_report([folder])


def test_everything_lies_below_the_first_folder(made):
    folder, written = made
    assert written.html == folder / "report" / "report.html" and written.html.is_file()
    assert {path.name for path in (folder / "report").iterdir()} == {
        "report.html", "report.md", "figures", "tables",
    }  # fmt: skip
    assert all(path.is_file() for path in (*written.tables, *written.figures))
    names = [path.stem for path in written.tables]
    assert len(names) == len(set(names))
    assert {p.suffix for p in written.figures} == {".png", ".svg"}
    assert not list(folder.rglob(".*"))  # nothing half written


def test_the_page_is_whole_and_needs_nothing_else(made):
    _, written = made
    text = written.html.read_text(encoding="utf-8")
    page = Reader()
    page.feed(text)
    page.close()
    assert page.open == [] and text.startswith("<!DOCTYPE html>")
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert "url(" not in text and "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    assert page.links and all(link[0] == "#" and link[1:] in page.ids for link in page.links)
    assert len(page.sources) == len(written.figures) / 2
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    words = "".join(page.words)
    assert "<b>&co|'$" in words and "prefers-color-scheme: dark" in words
    assert "position: sticky" in words and {"details", "summary", "nav"} <= page.tags


def test_page_and_text_list_what_was_left_out_and_mixed(made):
    folder, written = made
    notes = " ".join(written.notes)
    assert str(folder / "damaged" / "results.json") in notes and "torch (2.15.0, 2.6.0)" in notes
    text = written.markdown.read_text(encoding="utf-8")
    assert all(note in text for note in written.notes)
    assert "What to know first" in written.html.read_text(encoding="utf-8")


def test_remarks_are_given_once(made):
    _, written = made
    text = written.markdown.read_text(encoding="utf-8")
    assert text.count("Published runs were trained in mixed precision") == 1


def test_markdown_tables_are_straight(made):
    _, written = made
    lines = written.markdown.read_text(encoding="utf-8").splitlines()
    widths = [line.count("|") for line in lines if line.startswith("|")]
    blocks = "\n".join(line if line.startswith("|") else "" for line in lines).split("\n\n")
    for block in blocks:
        rows = [row.count(" |") for row in block.strip().splitlines() if row]
        assert len(set(rows)) <= 1, block
    assert widths
    text = "\n".join(lines)
    assert "| **average over 2** |" in text and "![" in text
    for path in written.figures:
        if path.suffix == ".png":
            assert f"(figures/{path.name})" in text


def test_csv_files_are_tidy(made):
    folder, written = made
    path = next(path for path in written.tables if path.stem == "base-to-novel-mmrl")
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    row = next(r for r in rows if r["data set"] == "DTD" and r["group"] == "ours")
    runs = [json.loads(p.read_text()) for p in sorted(folder.glob("run*/results.json"))[:2]]
    assert float(row["value"]) == pytest.approx(
        sum(run["metrics"]["base"] for run in runs) / 2, abs=1e-4
    )
    assert (row["column"], row["seeds"]) == ("base", "2") and float(row["std"]) > 0
    printed = [r["value"] for r in rows if r["data set"] == "DTD" and r["group"] == "published"]
    assert printed == ["85.67", "65", "73.82"]
    assert "seeds" not in {r["column"] for r in rows}
    environment = next(path for path in written.tables if path.stem == "environment")
    assert environment.read_text().splitlines()[0] == "entry,environment 1,environment 2"


def test_sections_of_other_backbones_have_files_of_their_own(made):
    _, written = made
    stems = {path.stem for path in written.tables}
    assert {"base-to-novel-ours", "base-to-novel-part2-ours"} <= stems
    assert any("ViT-L-14 (openai)" in row.cells for row in written.opening.rows)


def test_few_shot_runs_of_frozen_clip_alone_are_reported(tmp_path):
    run = few_shot("zeroshot", "dtd", 16, 1, shots=None, per_class={"all": {"a": 50.0, "b": 40.0}})
    text = write_report([write_runs(tmp_path, [run])]).markdown.read_text(encoding="utf-8")
    assert "1 run on 1 data set" in text


def test_other_shots_have_sections_of_their_own(tmp_path):
    contents = [base_to_novel("mmrl", "dtd", 1, shots=shots) for shots in (16, 4)]
    written = write_report([write_runs(tmp_path, contents)])
    text = written.markdown.read_text(encoding="utf-8")
    assert text.count("## Base-to-novel generalization: ViT-B-16, openai weights\n") == 1
    assert text.count("## Base-to-novel generalization: ViT-B-16, openai weights, 4 shots\n") == 1
    assert {row.cells[0] for row in written.opening.rows} == {
        "base-to-novel, 4 shots", "base-to-novel, 16 shots",
    }  # fmt: skip


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(report)
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


def test_the_command_prints_where_the_report_is(tmp_path, command):
    write_runs(tmp_path / "a", [transfer("mmrl", "cross-dataset", 1, targets={})])
    write_runs(tmp_path / "b", [base_to_novel("zeroshot", "digits", 1, paper_split=None)])
    result = command(tmp_path / "a", tmp_path / "b", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 runs on 2 data sets" in result.output and "report.html" in result.output
    assert (tmp_path / "out" / "report.md").is_file()
    assert not (tmp_path / "a" / "report").exists()


def test_wrong_arguments_of_the_command_are_named(tmp_path, command):
    result = command(tmp_path / "nowhere")
    assert result.exit_code == 2 and "does not exist or is not a folder" in result.output
    result = command(tmp_path)
    assert result.exit_code == 1 and "no results.json" in " ".join(result.output.split())
    assert command().exit_code == 2
    write_runs(tmp_path, [base_to_novel("zeroshot", "digits", 1)])
    (tmp_path / "file").write_text("")
    result = command(tmp_path, "--output", tmp_path / "file")
    assert result.exit_code == 1 and "cannot write" in result.output


def test_names_are_no_markup_and_no_formulas(tmp_path):
    """Not in Markdown, where a note could be a link, and not in tables for spreadsheets."""
    name = "=[a](b) <i>&lt;|`x`*"
    contents = [base_to_novel("mmrl", data, 1) for data in (name, "dtd")]
    contents[0]["environment"] = {**ENVIRONMENT, "torch": "@<b>"}
    written = write_report([write_runs(tmp_path, contents)])
    text = written.markdown.read_text()
    assert "<i>" not in text and "<b>" not in text and "[a](b)" not in text
    assert "=[a\\](b) &lt;i>&amp;lt;\\|\\`x\\`\\*" in text
    for path in written.tables:
        with path.open(newline="") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        assert not [c for c in cells if c.startswith(("=", "@"))]
    assert any(f"'{name}" in path.read_text() for path in written.tables)


def test_names_of_bytes_that_are_no_unicode_are_escapes(tmp_path):
    name = "caf\udce9"  # as Python reads the name of a folder in Latin-1
    environment = {**ENVIRONMENT, "device_name": name}
    write_runs(tmp_path, [few_shot("mmrl", name, 1, 1, environment=environment)])
    written = write_report([tmp_path])
    for path in (written.html, written.markdown):
        assert "udce9" in path.read_text("utf-8")
