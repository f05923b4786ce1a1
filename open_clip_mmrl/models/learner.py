"""What is trained: the representation space, its maps into both towers, the projection.

Shapes: K representation tokens, d_r width of the space, n layers with tokens, d_v / d_t widths
of the image / text tower, E embedding width, r rank of a residual.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import torch
from torch import Generator, Tensor, nn

from ..config import MMRLConfig
from ..utils.devices import without_autocast

TOKEN_STD = 0.02


def _uniform_(tensor: Tensor, fan_in: int, generator: Generator | None) -> None:
    """Draw as nn.Linear does, Kaiming-uniform with a = sqrt(5): U(-b, b), b = fan_in^-1/2."""
    bound = 1 / math.sqrt(fan_in)
    nn.init.uniform_(tensor, -bound, bound, generator=generator)


class PerLayerAligner(nn.Module):
    """MMRL's maps from the space into one tower: a weight and a bias per layer."""

    def __init__(self, rep_dim: int, width: int, layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layers, width, rep_dim))
        self.bias = nn.Parameter(torch.empty(layers, width))

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw one layer and copy it, as the released code clones one nn.Linear."""
        for parameter in (self.weight, self.bias):
            _uniform_(parameter[0], self.weight.shape[-1], generator)
            parameter[1:] = parameter[0]

    def forward(self, space: Tensor) -> Tensor:
        """Map the space [K, d_r], or one per layer [n, K, d_r] -> tokens [n, K, width]."""
        return space @ self.weight.transpose(-2, -1) + self.bias.unsqueeze(1)


class SharedResidualAligner(nn.Module):
    """MMRL++'s maps into one tower: a weight, and U_i V_i and a bias per layer."""

    def __init__(self, rep_dim: int, width: int, layers: int, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, rep_dim))
        self.residual_u = nn.Parameter(torch.empty(layers, width, rank))
        self.residual_v = nn.Parameter(torch.empty(layers, rank, rep_dim))
        self.bias = nn.Parameter(torch.empty(layers, width))

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw so that all layers start equal: every V_i is zero."""
        rep_dim, rank = self.weight.shape[-1], self.residual_u.shape[-1]
        _uniform_(self.weight, rep_dim, generator)
        _uniform_(self.bias[0], rep_dim, generator)
        self.bias[1:] = self.bias[0].clone()
        _uniform_(self.residual_u, rank, generator)
        nn.init.zeros_(self.residual_v)

    def forward(self, space: Tensor) -> Tensor:
        """Map the space [K, d_r] -> tokens [n, K, width]."""
        weight = self.weight + self.residual_u @ self.residual_v  # [n, width, d_r]
        return space @ weight.transpose(-2, -1) + self.bias.unsqueeze(1)


class FreeTokens(nn.Module):
    """Tokens of one tower without a space: parameters of their own in every layer."""

    def __init__(self, count: int, width: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(layers, count, width))

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw from a normal distribution of standard deviation `TOKEN_STD`."""
        nn.init.normal_(self.tokens, std=TOKEN_STD, generator=generator)

    def forward(self, _space: None) -> Tensor:
        """Return the tokens, [n, K, width]; there is no space to map."""
        return self.tokens


class FullProjection(nn.Module):
    """MMRL's P_v^r: a separate matrix, [d_v, E]."""

    adds_to_head = False

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, embed_dim))

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw as CLIP draws its own projection: standard deviation d_v^-1/2."""
        nn.init.normal_(self.weight, std=self.weight.shape[0] ** -0.5, generator=generator)

    def forward(self, _class_projection: Tensor | None = None) -> Tensor:
        """Return the matrix, [d_v, E]; CLIP's own class projection is not used."""
        return self.weight


class ResidualProjection(nn.Module):
    """MMRL++'s P_v^r: CLIP's frozen class projection plus D U."""

    adds_to_head = True

    def __init__(self, width: int, embed_dim: int, rank: int) -> None:
        super().__init__()
        self.residual_d = nn.Parameter(torch.empty(width, rank))
        self.residual_u = nn.Parameter(torch.empty(rank, embed_dim))

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw so that it starts as CLIP's class projection: U is zero."""
        _uniform_(self.residual_d, self.residual_d.shape[-1], generator)
        nn.init.zeros_(self.residual_u)

    def forward(self, class_projection: Tensor | None = None) -> Tensor:
        """Add D U to CLIP's class projection [d_v, E] -> [d_v, E].

        None returns D U alone, for towers whose frozen head is more than a matrix.
        """
        residual = self.residual_d @ self.residual_u
        if class_projection is None:
            return residual
        return class_projection.to(self.residual_d.dtype) + residual


Aligner: TypeAlias = PerLayerAligner | SharedResidualAligner | FreeTokens
Projection: TypeAlias = FullProjection | ResidualProjection


def _aligner(config: MMRLConfig, width: int, layers: int) -> Aligner:
    """Build the maps of the space into a tower, by variant."""
    if config.variant == "mmrl":
        return PerLayerAligner(config.rep_dim, width, layers)
    return SharedResidualAligner(config.rep_dim, width, layers, config.residual_rank)


def _text_aligner(config: MMRLConfig, width: int, layers: int) -> Aligner:
    if config.space == "shared":
        return _aligner(config, width, layers)
    return FreeTokens(config.num_rep_tokens, width, layers)


def _image_aligner(config: MMRLConfig, width: int, text_width: int, layers: int) -> Aligner:
    if config.space == "shared":
        return _aligner(config, width, layers)
    if config.space == "independent":
        return FreeTokens(config.num_rep_tokens, width, layers)
    return PerLayerAligner(text_width, width, layers)


def _projection(config: MMRLConfig, width: int, embed_dim: int) -> Projection:
    if config.variant == "mmrl":
        return FullProjection(width, embed_dim)
    return ResidualProjection(width, embed_dim, config.proj_rank)


class RepresentationLearner(nn.Module):
    """Owner of every trained parameter: what is trained, optimized and saved is this module.

    Args:
        config: the method's settings.
        image_width, text_width: d_v, d_t.
        embed_dim: E.
        layers: n.

    Attributes:
        layers: n, layers with tokens.
        space: R, [K, d_r]; None where the settings need no shared space.
        image_aligner, text_aligner: maps into the towers; None for a tower without tokens.
        projection: of the representation feature; None without image tokens.
    """

    layers: int
    space: nn.Parameter | None
    image_aligner: Aligner | None
    text_aligner: Aligner | None
    projection: Projection | None
    start_layer: Tensor

    def __init__(
        self, config: MMRLConfig, *, image_width: int, text_width: int, embed_dim: int, layers: int
    ) -> None:
        super().__init__()
        self.layers = layers
        self.space = None
        if config.space == "shared":
            self.space = nn.Parameter(torch.empty(config.num_rep_tokens, config.rep_dim))
        self.image_aligner = self.text_aligner = self.projection = None
        has_image_tokens = config.token_sides != "text"
        if has_image_tokens:
            self.image_aligner = _image_aligner(config, image_width, text_width, layers)
        if config.token_sides != "image":
            self.text_aligner = _text_aligner(config, text_width, layers)
        if has_image_tokens:
            self.projection = _projection(config, image_width, embed_dim)
        # Shapes alone do not determine J when towers differ in depth: keep it with the weights.
        self.register_buffer("start_layer", torch.tensor(config.start_layer))
        self._start_layer = config.start_layer  # for a buffer that has no values yet
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw all parameters, in a fixed order, so that a seed decides the start."""
        self.start_layer.fill_(self._start_layer)
        if self.space is not None:
            nn.init.normal_(self.space, std=TOKEN_STD, generator=generator)
        for module in (self.image_aligner, self.text_aligner, self.projection):
            if module is not None:
                module.reset_parameters(generator)

    def forward(self) -> tuple[Tensor | None, Tensor | None]:
        """Return every layer's tokens: image [n, K, d_v], text [n, K, d_t]; None without tokens.

        Outside of autocast: few rows and large weights, which would cost more to convert to half
        precision than to multiply as they are.
        """
        with without_autocast(self.start_layer.device):
            text = None if self.text_aligner is None else self.text_aligner(self.space)
            if self.image_aligner is None:
                return None, text
            # Without a space, image tokens are free too, or mapped from the text tower's.
            return self.image_aligner(text if self.space is None else self.space), text

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Keep the present values where a checkpoint has none of our keys: one of the base alone.

        A checkpoint with *some* of them is loaded by torch's own rules, which report the missing
        keys, so that an incomplete adapter is an error.
        """
        if prefix and not any(key.startswith(prefix) for key in state_dict):
            # torch gives this module its own dict, and passes it on to the sub-modules.
            state_dict.update({prefix + key: value for key, value in self.state_dict().items()})
        stored = state_dict.get(prefix + "start_layer")
        if stored is not None and int(stored) != self._start_layer:
            error_messages = args[-1]
            error_messages.append(
                f"the checkpoint's tokens begin at layer {int(stored)}, this model's at "
                f"{self._start_layer}; create the model with mmrl_cfg={{'start_layer': "
                f"{int(stored)}}}."
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
