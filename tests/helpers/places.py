"""Bases in places of their own: folders, and repositories in a cache of huggingface_hub."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import save_file

from helpers.tiny import shake, tiny_model_config

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def fill_folder(folder: Path, seed: int = 0, weights: bool = True, **config) -> Path:
    """Write a model of open_clip into a folder, as its push to the hub does; return the folder."""
    content = tiny_model_config(**config)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"model_cfg": content, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3]}})
    (folder / "open_clip_config.json").write_text(text)
    if weights:
        custom = content.pop("custom_text", False)
        torch.manual_seed(seed)
        model = shake((CustomTextCLIP if custom else CLIP)(**content), seed)
        save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def fill_cache(cache: Path, repository: str, **config) -> Path:
    """Write a repository into a cache of huggingface_hub, in its layout; return its folder."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "blobs").mkdir()
    snapshot = fill_folder(folder / "snapshots" / COMMIT, **config)
    for number, path in enumerate(sorted(snapshot.iterdir())):
        blob = folder / "blobs" / f"{number:040x}"
        path.rename(blob)
        path.symlink_to(Path("..", "..", "blobs", blob.name))
    return folder
