"""`open_clip_config.json` of a shared adapter: by it open_clip's own names find the adapter.

`open_clip.create_model("hf-hub:user/name")` and `("local-dir:folder")` read this file. What it says
is the base as it ran in training, under a key that open_clip alone stops at.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip

from ..errors import UsageError
from ..utils.files import read_json
from .adapter_info import AdapterInfo
from .adapter_path import ADAPTER, adapter_path
from .adapter_reading import read_adapter
from .hub_repository import HubName, download, is_hub_name

CONFIG = "open_clip_config.json"
"""In the folder of a shared adapter, as open_clip calls it."""
NEEDS_IMPORT = 'mmrl_cfg: run "import open_clip_mmrl" before "open_clip.create_model"'
"""Key of the config in that file: without this package open_clip stops at it, and shows it."""


def config_content(info: AdapterInfo) -> dict[str, Any]:
    """Return the content of `open_clip_config.json`: the base as it ran in training."""
    base = info.base
    known = open_clip.get_model_config(base.model) if base.model else None
    if known is None:
        raise UsageError(
            f"the adapter's base, {base.model or 'without a name'}, is none that open_clip knows: "
            "nobody could load it by its name. Give base_model= and base_pretrained=."
        )
    config = deepcopy(known)
    config.pop("mmrl_cfg", None)
    if base.quick_gelu:
        config["quick_gelu"] = True
    config["vision_cfg"]["image_size"] = base.image_size
    config["text_cfg"]["context_length"] = base.context_length
    return {
        "model_cfg": {NEEDS_IMPORT: info.config.to_dict(), **config},
        "preprocess_cfg": base.preprocess or {},
    }


def shared_adapter(name: str, cache_dir: str | None = None) -> AdapterInfo | None:
    """Return the adapter in the folder or repository of open_clip's name; None without one."""
    if is_hub_name(name):
        hub = HubName.parse(name)
        if hub.revision is None:  # else open_clip cannot read it
            try:
                config = download(hub, CONFIG, cache_dir=cache_dir)
            except ValueError:
                return None  # open_clip's own error says why
            if not _is_shared(config):
                return None
        return read_adapter(adapter_path(name, cache_dir=cache_dir))
    folder = Path(name.removeprefix("local-dir:"))
    is_ours = name.startswith("local-dir:") and _is_shared(folder / CONFIG)
    return read_adapter(folder / ADAPTER) if is_ours else None


def _is_shared(path: Path) -> bool:
    """Return whether a config file is that of a shared adapter."""
    try:
        config = read_json(path)
    except (ValueError, OSError):
        return False
    model = config.get("model_cfg") if isinstance(config, dict) else None
    return isinstance(model, dict) and any(key.startswith("mmrl_cfg:") for key in model)
