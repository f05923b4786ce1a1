"""Every snippet of the README runs, on small data and the shipped model."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import trees
from helpers.cli import run
from PIL import Image
from sklearn.datasets import load_digits

from benchmark_adapters.cli import main as benchmark

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
NAMES = ("zero", "one", "two", "three", "four")

# clip_benchmark's own reader does not set shardshuffle.
pytestmark = pytest.mark.filterwarnings("ignore:WebDataset.shardshuffle")


def small(command):
    """The command for the shipped model, with one epoch, and nothing long."""
    command = re.sub(r" --model (mmrl-)?ViT-B-16 --pretrained openai", "", command)
    words = shlex.split(command, comments=True)
    if words[:2] == ["open-clip-mmrl", "train"]:
        return [*words, "--set", "epochs=1"]
    if words[:2] == ["open-clip-mmrl", "run"]:
        return [*words, "--dry-run"]
    if "fewshot" in words:
        return [*words, "--epochs", "1", "--num_workers", "0"]
    return [*words, "--num_workers", "0"] if "--dataset" in words else words


def commands():
    """The commands of the README; not those that install, and what stands on their lines."""
    lines = [line for kind, block in BLOCKS if kind == "bash" for line in block.splitlines()]
    return [small(line) for line in lines if not line.startswith("pip install")]


def digits(count):
    data = load_digits(n_class=5)
    return [(15 * image).astype("uint8") for image in data.images[:count]], data.target[:count]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """The folders that the README's commands name, as the current folder."""
    monkeypatch.chdir(tmp_path)
    for i, (image, label) in enumerate(zip(*digits(60), strict=True)):
        for folder in (Path("my-images") / NAMES[label], Path("photos")):
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{i}.png")
    trees.write_all(tmp_path / "DATA")


def test_every_command_runs(workplace):
    found = commands()
    assert len(found) > 10
    for words in found:
        if words[0] == "open-clip-mmrl":
            code, output, _ = run(*words[1:])
            assert code == 0, (words, output)
        else:
            assert words[:3] == ["python", "-m", "benchmark_adapters"], words
            assert benchmark(words[3:]) in (None, 0), words


def test_every_python_snippet_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, indices = digits(40)
    labels = np.array(NAMES)[indices]
    given = {
        "images": images,
        "labels": labels,
        "more_images": images[:3],
        "names": list(NAMES),
        "batch": torch.rand(2, 3, 32, 32),
        "targets": torch.tensor([0, 1]),
    }
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    assert len(blocks) >= 2
    for block in blocks:
        code = block.replace('"mmrl-ViT-B-16"', '"mmrl-ViT-Ti-8-glyphs"')
        code = code.replace('pretrained="openai"', 'pretrained="printed"')
        code = code.replace('config={"reg_weight": 3.0}', 'train={"epochs": 1}')
        exec(compile(code, "README.md", "exec"), given)


def test_links_of_the_readme_lead_somewhere():
    root = Path(__file__).parents[1]
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert link.startswith("https://") or (root / link).exists(), link


def test_readme_is_short():
    assert len(README.splitlines()) < 250
