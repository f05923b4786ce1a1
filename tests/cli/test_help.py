"""The help of every command: panels, width, an example that is understood."""

import shlex

import pytest
import typer
from helpers.cli import run

from open_clip_mmrl.cli.app import app
from open_clip_mmrl.cli.help import EXAMPLES, PANELS

GROUP = typer.main.get_command(app)
COMMANDS = [[name] for name in GROUP.commands if name != "data"] + [["data", "check"]]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_in_a_panel_and_lines_fit_80_columns(words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, text, result = run(*words, "--help")
    assert code == 0 and "─ Options ─" not in text and "Example: open-clip-mmrl" in text
    assert max(map(len, result.stdout.splitlines())) <= 80
    shown = [panel for panel in PANELS if f"─ {panel} ─" in text]
    places = [text.index(f"─ {panel} ─") for panel in shown]
    assert places == sorted(places) and "Output" in shown and " , " not in text


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_understood(name):
    command, words = GROUP, shlex.split(EXAMPLES[name])
    while isinstance(command, typer.core.TyperGroup):
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words)  # parses, and does not run


def test_there_is_an_example_for_every_command():
    assert {words[-1] for words in COMMANDS} == set(EXAMPLES)


@pytest.mark.parametrize("words", ["--shots 1 2 few-shot --seeds 1 3", "few-shot --shots 1,2"])
def test_lists_are_written_with_spaces_or_commas(words):
    given = GROUP.commands["run"].make_context("run", [*shlex.split(words), "--output", "x"]).params
    assert (given["protocol"], given["shots"]) == ("few-shot", "1,2")
    assert given["seeds"] == ("1,3" if "3" in words else "1,2,3")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainn"], "Did you mean 'train'"),
        (["train", "--shot", "3"], "--shots"),
        (["data", "checks"], "Did you mean 'check'"),
        (["run", "few-shots", "--output", "x"], "'few-shots' is not one of"),
    ],
)
def test_slips_are_answered_with_what_was_meant(words, message):
    code, text, _ = run(*words)
    assert code == 2 and message in text.replace("│ ", "")


def test_without_arguments_the_commands_are_shown():
    _, text, _ = run()
    assert "Usage:" in text and "predict" in text
