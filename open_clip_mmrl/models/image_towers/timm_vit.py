"""timm's transformers as open_clip's image towers: VisionTransformer and Eva.

timm's blocks are called whole. They give new values to all rows, so nothing is left out in the
last layer, and the tokens run for every image; what remains shared are the layers below the
tokens. The rows here are [own rows, tokens]. Attention is not causal, and positions are either
added below or rotations of single rows, so the order has no effect.

Rotary embeddings turn the patches' queries and keys, but not those of prefix rows (class and
register tokens). Token rows are not turned either: their rotations have sine 0 and cosine 1, which
is the same as more prefix rows.

Shapes: B images, N own rows, K representation tokens, n layers with tokens, D tower width,
E embedding width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from open_clip.timm_model import TimmModel
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..blocks import compose
from ..learner import Projection
from .tower import AdaptedRows, ImageTower, adapted_rows

POOLINGS = {"token": "class token", "avg": "average pooling", "map": "attention pooling"}
"""What timm's names of poolings mean."""
_OWN = ("forward", "forward_features", "forward_head", "pool", "_pos_embed")


class TimmRows(NamedTuple):
    """Rows after some layers, and what every layer of the tower adds to them."""

    x: Tensor
    """[B, N, D]."""
    ropes: tuple[Tensor | None, ...]
    """Rotations of all layers' patches, each [..., patches, 2d]; None without."""


@dataclass(frozen=True)
class TimmTower(ImageTower):
    """What the families of timm's transformers share."""

    visual: TimmModel
    kind: ClassVar[str]
    trunk_class: ClassVar[type[nn.Module]]

    @classmethod
    def matches(cls, visual: nn.Module) -> bool:
        """Return whether timm's model runs the forward pass of this family, not a subclass's."""
        trunk = getattr(visual, "trunk", None)
        return (
            isinstance(visual, TimmModel)
            and isinstance(trunk, cls.trunk_class)
            and all(getattr(type(trunk), n) is getattr(cls.trunk_class, n) for n in _OWN)
        )

    @staticmethod
    def unsupported_reason(visual: TimmModel) -> str | None:
        """Return why it does not support tokens, or None."""
        trunk: Any = visual.trunk
        pooling, pool = trunk.global_pool, trunk.attn_pool
        if pooling not in POOLINGS:
            return f"its image tower pools by timm's {pooling!r}, not one of {tuple(POOLINGS)}"
        if pool is not None and pool.pos_embed is not None:
            return "the attention pooling of its image tower adds positions"
        return None

    @property
    def family(self) -> str:
        """What kind of tower it is, in words."""
        return f"{self.kind}, {POOLINGS[self.trunk.global_pool]}"

    @property
    def trunk(self) -> Any:
        """Timm's model."""
        return self.visual.trunk

    @property
    def width(self) -> int:
        """D, width of the rows."""
        return self.trunk.embed_dim

    @property
    def embed_dim(self) -> int:
        """E, width of the features: of the last product after the pooling."""
        heads = [*self.trunk.head.modules(), *self.visual.head.modules()]
        widths = [module.out_features for module in heads if isinstance(module, nn.Linear)]
        return widths[-1] if widths else self.width

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.trunk.blocks)

    @property
    def patch_size(self) -> int:
        """Pixels per patch, along the height."""
        patches = self.trunk.patch_embed
        return patches.img_size[0] // patches.grid_size[0]

    @property
    def dtype(self) -> torch.dtype:
        """Type of the first weight, which no mixed precision converts."""
        return next(self.trunk.parameters()).dtype

    @property
    def quick_gelu(self) -> None:
        """None: timm's models always run their own GELU."""
        return

    @abstractmethod
    def _embed(self, images: Tensor) -> TimmRows:
        """Return the rows before the first layer."""

    def lower(self, images: Tensor) -> TimmRows:
        """Run the layers below the tokens: images [B, 3, H, W] -> rows."""
        height, width = self.trunk.patch_embed.img_size
        if images.shape[-2:] != (height, width):
            raise ValueError(
                f"images are of {images.shape[-2]} x {images.shape[-1]} pixels, but this model "
                f"takes {height} x {width}: create it with force_image_size for others."
            )
        if images.is_floating_point():
            images = images.to(next(self.trunk.patch_embed.parameters()).dtype)
        rows = self._embed(images)
        count = self.depth - self.token_layers
        return rows._replace(x=self._run(rows.x, self.trunk.blocks[:count], rows.ropes[:count]))

    def with_tokens(
        self, rows: TimmRows, tokens: Tensor, beta: float, norms: bool = False
    ) -> AdaptedRows:
        """Run the upper layers with tokens; see the base class."""
        outputs: list[tuple[Tensor, Tensor]] = []  # own and token rows, layer by layer
        x, batch, count = rows.x, rows.x.shape[0], rows.x.shape[1]
        layers = zip(*self._upper(rows), tokens.to(x.dtype), strict=True)
        previous: Tensor | None = None
        for block, rope, own in layers:
            joined = torch.cat([x, compose(own, previous, beta, batch)], dim=1)  # [B, N + K, D]
            joined = self._run(joined, [block], [_not_turned(rope, tokens.shape[1])])
            x, previous = joined[:, :count], joined[:, count:]
            outputs = [*(outputs if norms else ()), (x, previous)]
        return adapted_rows(outputs, 1 if self.trunk.global_pool == "token" else None, norms)

    def without_tokens(self, rows: TimmRows) -> Tensor:
        """Run the upper layers as the frozen tower does -> rows [B, N, D]."""
        return self._run(rows.x, *self._upper(rows))

    def class_feature(self, own: Tensor) -> Tensor:
        """Pool and project rows [B, N, D] -> class feature [B, E], by timm's own head."""
        return self.visual.head(self.trunk.forward_head(self.trunk.norm(own)))

    def representation_feature(self, rows: Tensor, projection: Projection) -> Tensor:
        """Pool and project token rows [B, K, D] -> feature [B, E].

        The trained projection reads the mean of normed rows; the norm is where the tower has it,
        before or after the mean. The frozen head of MMRL++ reads the same, or with attention
        pooling the pooled token rows.
        """
        trunk = self.trunk
        normed = trunk.norm(rows)
        pooled = trunk.fc_norm(normed.mean(dim=1))  # [B, D]
        feature = pooled @ projection().to(pooled.dtype)
        if not projection.adds_to_head:
            return feature
        if trunk.attn_pool is not None:
            pooled = trunk.fc_norm(trunk.attn_pool(normed))
        return self.visual.head(trunk.head(pooled)) + feature

    def _upper(self, rows: TimmRows) -> tuple[Sequence[nn.Module], Sequence[Tensor | None]]:
        """Return the layers with tokens, and their rotations."""
        return self.trunk.blocks[-self.token_layers :], rows.ropes[-self.token_layers :]

    def _run(
        self, x: Tensor, blocks: Sequence[nn.Module], ropes: Sequence[Tensor | None]
    ) -> Tensor:
        """Run rows through some of timm's blocks, as timm does."""
        recompute = self.trunk.grad_checkpointing and torch.is_grad_enabled()
        for block, rope in zip(blocks, ropes, strict=True):
            run = block if rope is None else partial(block, rope=rope)
            if recompute:
                x = checkpoint(run, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = run(x)
        return x


@dataclass(frozen=True)
class TimmViTTower(TimmTower):
    """timm's VisionTransformer: SigLIP, MobileCLIP's B and L, ViTamin."""

    kind = "timm ViT"
    trunk_class = VisionTransformer

    def _embed(self, images: Tensor) -> TimmRows:
        trunk = self.trunk
        x = trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(images))))
        return TimmRows(x, (None,) * self.depth)


@dataclass(frozen=True)
class EvaTower(TimmTower):
    """timm's Eva: EVA-CLIP, PE-Core."""

    kind = "timm EVA"
    trunk_class = Eva

    def _embed(self, images: Tensor) -> TimmRows:
        trunk = self.trunk
        x, rope = trunk._pos_embed(trunk.patch_embed(images))
        own = trunk.rope_mixed and rope is not None  # a rotation per layer
        return TimmRows(trunk.norm_pre(x), tuple(rope) if own else (rope,) * self.depth)


def _not_turned(rope: Tensor | None, count: int) -> Tensor | None:
    """Add rotations by nothing, of token rows, after those of patches [..., P, 2d]."""
    if rope is None:
        return None
    shape = (*rope.shape[:-2], count, rope.shape[-1] // 2)
    still = torch.cat([rope.new_zeros(shape), rope.new_ones(shape)], dim=-1)  # sines, cosines
    return torch.cat([rope, still], dim=-2)
