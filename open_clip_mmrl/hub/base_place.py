"""The open_clip config of a base: registered, or read from the place that its name says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip

from ..errors import UsageError
from ..utils.files import read_json
from .hub_repository import HubName, download
from .names import FOLDER, HUB, ModelName

CONFIG = "open_clip_config.json"
_WHAT = f"models of open_clip have a {CONFIG} next to their weights"


def base_config(name: ModelName, cache_dir: str | None = None) -> dict[str, Any] | None:
    """Return open_clip's config of a base; None where it is not registered.

    Args:
        name: with a variant or without.
        cache_dir: of huggingface_hub; None takes its own.

    Raises:
        UsageError: a place that holds no model of open_clip.
        ValueError: the place cannot be reached, or holds a damaged config.
    """
    if not name.is_place:
        return open_clip.get_model_config(str(name))
    path = _config_file(name.base, cache_dir)
    content = read_json(path)
    config = content.get("model_cfg") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise UsageError(f"{name.base}: {CONFIG} there has no model_cfg, a JSON object.")
    return config


def _config_file(base: str, cache_dir: str | None) -> Path:
    if base.startswith(HUB):
        repository = HubName.parse(base)
        if repository.revision is not None:
            raise UsageError(
                f"{base}: open_clip takes no revision of a base; leave @{repository.revision} out."
            )
        return download(repository, CONFIG, cache_dir=cache_dir)
    folder = Path(base.removeprefix(FOLDER))
    if base == FOLDER or not folder.is_dir():
        raise UsageError(f"{base}: there is no folder {folder}.")
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{base}: the folder holds no model of open_clip; {_WHAT}.")
    return folder / CONFIG
