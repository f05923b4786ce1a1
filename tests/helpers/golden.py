"""The golden tensors of the released code."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from open_clip.model import CLIP, CustomTextCLIP, convert_to_custom_text_state_dict

from open_clip_mmrl import MMRLCLIP, MMRLConfig

GOLDEN = Path(__file__).parents[1] / "golden"


@cache
def golden(name: str) -> SimpleNamespace:
    """One golden file: `meta` (dict) and `data` (arrays by key)."""
    meta = json.loads((GOLDEN / f"{name}.json").read_text())
    with np.load(GOLDEN / f"{name}.npz") as file:
        data = {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}
    return SimpleNamespace(name=name, meta=meta, data=data)


def golden_section(case: SimpleNamespace, section: str) -> dict[str, torch.Tensor]:
    """The tensors below `section`/, in float64 where they are real numbers."""
    found = {k.split("/", 1)[1]: v for k, v in case.data.items() if k.startswith(section + "/")}
    return {k: v.double() if v.is_floating_point() else v for k, v in found.items()}


def golden_model(case: SimpleNamespace, custom: bool) -> MMRLCLIP:
    """Our model on the golden CLIP, in float64, learner not loaded yet."""
    meta = case.meta
    state = golden_section(case, "clip")
    if custom:
        state = convert_to_custom_text_state_dict(state)
    clip = (CustomTextCLIP if custom else CLIP)(**meta["clip_config"]).double().eval()
    clip.load_state_dict(state)
    with torch.no_grad():
        clip.logit_scale.fill_(math.log(meta["logit_scale"]))
    config = MMRLConfig(
        variant=meta["method"],
        num_rep_tokens=meta["n_rep_tokens"],
        rep_dim=meta["rep_dim"],
        start_layer=meta["rep_layers"][0],
        alpha=meta["alpha"],
        beta=meta["beta"],
        reg_weight=meta["reg_weight"],
        residual_rank=meta["res_rank"] or 4,
        proj_rank=meta["proj_rank"] or 64,
    )
    return MMRLCLIP.from_open_clip(clip, config)
