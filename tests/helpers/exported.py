"""The code of an exported folder's README, run in this process, and what `predict` says."""

import ast
import re
import sys

import torch

from open_clip_mmrl.data.example import Example, read_image
from open_clip_mmrl.data.loading.images import eval_transform
from open_clip_mmrl.evaluation.answers import ranking
from open_clip_mmrl.hub.load import build_from_adapter


def blocks(folder):
    text = (folder / "README.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def imported(code):
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


def answers(folder, paths, monkeypatch):
    """Run all blocks in one namespace; return the probabilities after each."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["code", *map(str, paths)])
    values, found = {}, []
    for code in blocks(folder):
        exec(code, values)
        found.append(values["p"])
    return found


def predicted(adapter, pictures, new=()):
    """Probabilities of `predict`, [N, C]."""
    loaded, info = build_from_adapter(adapter, device=torch.device("cpu"))
    transform = eval_transform(loaded.model)
    images = [transform(read_image(Example(image=path, label=0))) for path in pictures]
    return ranking(loaded, info, new).probabilities(torch.stack(images)).numpy()
