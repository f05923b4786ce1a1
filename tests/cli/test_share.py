"""`open-clip-mmrl share`, and `hf-hub:` wherever an adapter is given."""

import json
import shutil

import pytest
from helpers.adapters import write_adapter
from helpers.cli import run
from helpers.hub import TOKEN
from helpers.made_results import base_to_novel
from helpers.runs import make_run, write_folder

from open_clip_mmrl import read_adapter_info, save_adapter
from open_clip_mmrl.config import TrainConfig
from open_clip_mmrl.experiments.run_dir import prepare_run_dir
from open_clip_mmrl.hub.load import build_from_adapter

REPO = "alice/digits"
FILES = ["README.md", "adapter.safetensors", "open_clip_config.json"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs of three seeds, one with other settings, and folders that are none."""
    root = tmp_path_factory.mktemp("runs")
    adapter = write_adapter(root / "adapter.safetensors", ["one", "two"]).read_bytes()
    for name, seed, shots in (("a", 1, 2), ("b", 2, 2), ("c", 3, 2), ("other", 4, 8)):
        settings = make_run(train=TrainConfig(seed=seed), shots=shots)
        prepare_run_dir(root / name, settings, ("digest",))
        (root / name / "adapter.safetensors").write_bytes(adapter)
        result = base_to_novel("mmrl", "dtd", seed)
        (root / name / "results.json").write_text(json.dumps(result))
    shutil.copytree(root / "c", root / "empty")
    (root / "empty" / "results.json").write_text("{}")
    (root / "damaged").mkdir()
    for name in ("run.json", "results.json", "adapter.safetensors"):
        (root / "damaged" / name).write_text("[]")
    return root


def test_the_card_of_a_run_has_its_other_seeds(runs, hub, tmp_path):
    folder = tmp_path / "shared"
    code, text, _ = run("share", "--adapter", runs / "b", "--output", folder, "--license", "mit")
    assert code == 0 and f"hf upload USER/NAME {folder}" in text
    assert "left out of the model card" in text and "empty/results.json: 'protocol' is" in text
    assert sorted(path.name for path in folder.iterdir()) == FILES
    same = (runs / "b" / "adapter.safetensors").read_bytes()
    assert (folder / "adapter.safetensors").read_bytes() == same
    rows = [line for line in (folder / "README.md").read_text().splitlines() if line[:1] == "|"]
    seeds = [row.split(" | ")[0] for row in rows if row[2:3].isdigit() or "mean" in row]
    assert seeds == ["| 1", "| 2 (this file)", "| 3", "| **mean**"]
    assert not hub.log


def test_shared_and_used_from_the_hub(runs, hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    code, text, _ = run("share", "--adapter", runs / "a", "--repo", REPO, "--private")
    assert code == 0 and f"uploaded: {hub.endpoint}/{REPO} load it" in text
    assert hub.repositories[REPO].private
    write_folder(tmp_path / "photos", {"one": 1}, test=1)
    where = ("--adapter", f"hf-hub:{REPO}", "--quiet", "--json")
    code, _, result = run("predict", *where, tmp_path / "photos" / "test")
    assert code == 0 and {*json.loads(result.stdout)["classes"]} == {"one", "two"}
    monkeypatch.delenv("HF_TOKEN")
    code, text, _ = run("share", "--adapter", runs / "a", "--repo", REPO)
    assert code == 2 and "does not let you do this without a token: log in" in text
    code, text, _ = run("info", "hf-hub:alice/nobody")
    assert code == 2 and "There is no repository alice/nobody" in text


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ((), "give --repo USER/NAME to upload, or --output DIR"),
        (("--private", "--output", "x"), "--private goes with --repo"),
        (("--repo", "digits"), "'digits' is no name of a repository on the hub: write USER/NAME"),
    ],
)
def test_typed_wrongly(runs, hub, options, match):
    code, text, _ = run("share", "--adapter", runs / "a", *options)
    assert code == 2 and match in text and not hub.log


def test_places_on_this_machine_are_named_before_they_become_public(runs, tmp_path):
    model = build_from_adapter(runs / "a", device="cpu")[0].model
    settings = {"data": "folder:/home/alice/birds", "data_root": None}
    path = save_adapter(model, tmp_path / "x.safetensors", class_names=["a"], settings=settings)
    code, text, _ = run("share", "--adapter", path, "--output", tmp_path / "shared")
    assert code == 0 and "names places on this machine" in text and "/home/alice/birds." in text
    assert read_adapter_info(tmp_path / "shared")["settings"] == settings
    assert "alice" not in (tmp_path / "shared" / "README.md").read_text()
