"""CLIP-LoRA: low-rank changes of the queries', keys' and values' maps in all layers of both towers.

Zanella and Ben Ayed, Low-Rank Few-Shot Adaptation of Vision-Language Models (CVPR Workshops 2024).
Every such map W [D, D] becomes W + s B A, with A [r, D], B [D, r] zero at first, r = 2, and dropout
of 25 % before A. s = 1 / sqrt(r), as in the released code, with alpha = 1. The prompt is the data
set's; new classes and their images go through the changed towers. Nothing below is frozen, so of
the text tower's shortcuts these remain: prompts are cropped at their ends, BOS is run once for all
of them (with one draw of dropout), and in the last layer EOT is the only query row.

The paper trains 500 steps per shot, in batches of 32, however few the classes. Here that is a
bound, and `epochs` is another: 300, which is the smaller one below 54 classes.

Shapes: B images, C classes, N rows, D tower width, r rank, p the maps (queries, keys, values).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ..config import Precision, Shots, TrainConfig
from ..data import ImageData
from ..errors import UsageError
from ..evaluation.predict import FrozenBatch, Scorer
from ..hub.load import LoadedModel
from ..models.blocks import Block, blocks_of
from ..models.image_towers.open_clip_vit import OpenClipTower
from ..models.mmrl_clip import MMRLCLIP
from ..models.ops import cosine_logits, unit
from ..models.precision import autocast, in_half, own_modules
from ..models.text_towers.rows import TextRows
from ..utils.seeds import mix_seed
from .peer import Peer, PeerTask, cosine, minimize

RANK, DROPOUT = 2, 0.25
STEPS_PER_SHOT = 500


def recipe(_: Shots, __: str) -> TrainConfig:
    """Return the paper's settings."""
    return TrainConfig(epochs=300, batch_size=32, lr=2e-4, weight_decay=1e-2)


class LowRank(nn.Module):
    """s B A of the three maps of one attention; the generator draws A, and dropout later."""

    def __init__(self, width: int, generator: Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)  # as torch.nn.Linear begins
        drawn = torch.rand(3, RANK, width, generator=generator, device=generator.device)
        self.down = nn.Parameter((2 * drawn - 1) * bound)
        """A, [p, r, D]."""
        self.up = nn.Parameter(torch.zeros(3, width, RANK, device=generator.device))
        """B, [p, D, r]."""
        self.scale, self.dropout, self.generator = 1 / math.sqrt(RANK), DROPOUT, generator

    def forward(self, x: Tensor, first: int, last: int) -> Tensor:
        """Return what maps first..last-1 add for rows x [B, N, D], side by side."""
        rows = x.to(self.down.dtype)
        inner = [F.linear(self._dropped(rows), self.down[p]) for p in range(first, last)]
        outer = [F.linear(part, up) for part, up in zip(inner, self.up[first:last], strict=True)]
        return (self.scale * torch.cat(outer, dim=-1)).to(x.dtype)

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.dropout:
            return x
        drawn = torch.rand(x.shape, generator=self.generator, device=x.device)
        return x * (drawn >= self.dropout) / (1 - self.dropout)

    def product(self) -> Tensor:
        """Return s B A of all maps, [3 D, D]."""
        return self.scale * (self.up @ self.down).flatten(0, 1)


def changeable_blocks(model: MMRLCLIP) -> list[Block]:
    """Return the blocks of both towers; a UsageError says if they are not open_clip's own."""
    image, text = model.image_tower, model.text_tower
    if not isinstance(image, OpenClipTower) or not isinstance(text, TextRows):
        raise UsageError(
            f"clip_lora changes the blocks of open_clip's own towers; this model's are "
            f"{image.family}, and {text.family}: leave clip_lora out, or choose another model."
        )
    return [*blocks_of(image.visual.transformer), *blocks_of(text.transformer)]


def with_low_rank(model: MMRLCLIP, seed: int) -> tuple[MMRLCLIP, list[LowRank]]:
    """Return a model on the same weights whose blocks are changed, and the changes."""
    generator = Generator(model.device).manual_seed(mix_seed(seed))
    changed, changes = own_modules(model), []
    for block in changeable_blocks(changed):
        changes.append(LowRank(block.attn.in_proj_weight.shape[1], generator))
        block.attn.low_rank = changes[-1]
    return changed, changes


@torch.no_grad()
def merged(model: MMRLCLIP, changes: Sequence[LowRank]) -> MMRLCLIP:
    """Return a model with the changes added to its weights; the others are the given one's."""
    weights = [block.attn.in_proj_weight for block in changeable_blocks(model)]
    both = zip(weights, changes, strict=True)
    copies = {id(w): nn.Parameter(w + c.product().to(w.dtype), False) for w, c in both}
    return own_modules(model, copies)


@dataclass(frozen=True, kw_only=True)
class ClipLora(Peer):
    """Changed towers."""

    model: MMRLCLIP
    precision: Precision

    @torch.no_grad()
    def scorer(self, loaded: LoadedModel, data: ImageData) -> Scorer:
        """Return the logits of both changed towers."""
        model = in_half(self.model, self.precision)
        tokens = loaded.class_tokens(data.class_names, data.template).to(model.device)
        with autocast(self.precision, model.device):
            text = unit(model.encode_text(tokens, features="frozen"))

        def score(batch: FrozenBatch) -> Tensor:
            return batch.cosine_logits(model.encode_image(batch.images, features="frozen"), text)

        return score


def train_clip_lora(task: PeerTask) -> ClipLora:
    """Return the changed towers."""
    train, model, subset = task.train, task.loaded.model, task.subset
    changed, changes = with_low_rank(in_half(model, train.precision), train.seed)
    tokens = task.loaded.class_tokens(subset.class_names, subset.template).to(model.device)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        image = changed.encode_image(images, features="frozen")
        text = changed.encode_text(tokens, features="frozen")
        return F.cross_entropy(cosine_logits(model, unit(image), unit(text)), labels)

    parameters = [parameter for change in changes for parameter in change.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=train.weight_decay)
    seen = minimize(task, loss, optimizer, cosine(train.lr, 1e-6))
    return ClipLora(
        num_parameters=sum(parameter.numel() for parameter in parameters),
        images_seen=seen,
        model=merged(model, changes),
        precision=train.precision,
    )
