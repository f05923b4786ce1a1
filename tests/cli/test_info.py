"""`info` and `verify`: what they print, and their exit codes."""

import json

import pytest
from helpers.adapters import write_adapter
from helpers.cli import run

from open_clip_mmrl import __version__, read_adapter_info


@pytest.fixture
def saved(tmp_path):
    return write_adapter(tmp_path / "a.safetensors", ["one", "two"], "the number {}")


def test_info_shows_what_a_reader_needs(saved, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, text, result = run("info", saved)
    assert code == 0 and max(map(len, result.stdout.splitlines())) <= 80
    for shown in (
        "ViT-Ti-8-glyphs (printed)", "images of 32 x 32 pixels", "2: one, two", "the number {}",
        "rep_dim 8", "alpha 0.6", f"open_clip_mmrl {__version__}",
        read_adapter_info(saved)["header_sha256"][:16],
    ):  # fmt: skip
        assert shown in text
    code, _, result = run("info", saved, "--json")
    assert code == 0 and json.loads(result.stdout) == read_adapter_info(saved)


def test_verify_tells_what_differs_by_its_exit_code(saved, tmp_path):
    code, text, _ = run("verify", saved)
    assert code == 0 and text.count(" ok ") == 3
    content = bytearray(saved.read_bytes())
    content[-1] ^= 64
    saved.write_bytes(content)
    code, _, result = run("verify", saved, "--json")
    found = {check["name"]: check["holds"] for check in json.loads(result.stdout)}
    assert code == 1 and found == {"tensors": False, "header": True, "base": True}
    code, text, _ = run("verify", tmp_path / "none")
    assert code == 2 and "There is no adapter file or folder" in text
