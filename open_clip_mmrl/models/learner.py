"""All that is trained: the representation space, its maps into both towers, the projection.

Shapes: K representation tokens, d_r width of the space, n layers with tokens, d_v / d_t widths
of the image / text tower, E embedding width, r rank of a residual.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from ..config import MMRLConfig

TOKEN_STD = 0.02


def _uniform_(tensor: Tensor, fan_in: int, generator: Generator | None) -> None:
    """Kaiming-uniform with a = sqrt(5), as nn.Linear draws: U(-b, b), b = fan_in^-1/2."""
    bound = 1 / math.sqrt(fan_in)
    nn.init.uniform_(tensor, -bound, bound, generator=generator)


class PerLayerAligner(nn.Module):
    """MMRL's maps from the space into one tower: a weight and a bias for every layer."""

    def __init__(self, rep_dim: int, width: int, layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layers, width, rep_dim))
        self.bias = nn.Parameter(torch.empty(layers, width))

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        """All layers start equal: the released code draws one nn.Linear and clones it."""
        for parameter in (self.weight, self.bias):
            _uniform_(parameter[0], self.weight.shape[-1], generator)
            parameter[1:] = parameter[0]

    def forward(self, space: Tensor) -> Tensor:
        """Space [K, d_r], or one for every layer [n, K, d_r] -> tokens [n, K, width]."""
        return space @ self.weight.mT + self.bias.unsqueeze(1)


class SharedResidualAligner(nn.Module):
    """MMRL++'s maps: one weight per tower plus, for every layer, U_i V_i and a bias."""

    def __init__(self, rep_dim: int, width: int, layers: int, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, rep_dim))
        self.residual_u = nn.Parameter(torch.empty(layers, width, rank))
        self.residual_v = nn.Parameter(torch.empty(layers, rank, rep_dim))
        self.bias = nn.Parameter(torch.empty(layers, width))

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        """All layers start equal, because every V_i starts at zero."""
        rep_dim, rank = self.weight.shape[-1], self.residual_u.shape[-1]
        _uniform_(self.weight, rep_dim, generator)
        _uniform_(self.bias[0], rep_dim, generator)
        self.bias[1:] = self.bias[0].clone()
        _uniform_(self.residual_u, rank, generator)
        nn.init.zeros_(self.residual_v)

    def forward(self, space: Tensor) -> Tensor:
        """Space [K, d_r] -> tokens [n, K, width]."""
        weight = self.weight + self.residual_u @ self.residual_v
        return space @ weight.mT + self.bias.unsqueeze(1)


class FreeTokens(nn.Module):
    """Tokens of one tower that come from nowhere: parameters of their own in every layer."""

    def __init__(self, count: int, width: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(layers, count, width))

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        nn.init.normal_(self.tokens, std=TOKEN_STD, generator=generator)

    def forward(self, space: None) -> Tensor:
        """The tokens, [n, K, width]; there is no space to map."""
        return self.tokens


class FullProjection(nn.Module):
    """MMRL's P_v^r: a matrix of its own, [d_v, E]."""

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, embed_dim))

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        nn.init.normal_(self.weight, std=self.weight.shape[0] ** -0.5, generator=generator)

    def forward(self, class_projection: Tensor) -> Tensor:
        """The matrix, [d_v, E]; CLIP's own class projection plays no part."""
        return self.weight


class ResidualProjection(nn.Module):
    """MMRL++'s P_v^r: CLIP's frozen class projection plus D U."""

    def __init__(self, width: int, embed_dim: int, rank: int) -> None:
        super().__init__()
        self.residual_d = nn.Parameter(torch.empty(width, rank))
        self.residual_u = nn.Parameter(torch.empty(rank, embed_dim))

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        _uniform_(self.residual_d, self.residual_d.shape[-1], generator)
        nn.init.zeros_(self.residual_u)

    def forward(self, class_projection: Tensor) -> Tensor:
        """class_projection [d_v, E] -> [d_v, E]."""
        return class_projection.to(self.residual_d.dtype) + self.residual_d @ self.residual_u


def _aligner(config: MMRLConfig, width: int, layers: int) -> nn.Module:
    """The variant's maps of the space into a tower."""
    if config.variant == "mmrl":
        return PerLayerAligner(config.rep_dim, width, layers)
    return SharedResidualAligner(config.rep_dim, width, layers, config.residual_rank)


def _text_aligner(config: MMRLConfig, width: int, layers: int) -> nn.Module:
    if config.space == "shared":
        return _aligner(config, width, layers)
    return FreeTokens(config.num_rep_tokens, width, layers)


def _image_aligner(config: MMRLConfig, width: int, text_width: int, layers: int) -> nn.Module:
    if config.space == "shared":
        return _aligner(config, width, layers)
    if config.space == "independent":
        return FreeTokens(config.num_rep_tokens, width, layers)
    return PerLayerAligner(text_width, width, layers)


def _projection(config: MMRLConfig, width: int, embed_dim: int) -> nn.Module:
    if config.variant == "mmrl":
        return FullProjection(width, embed_dim)
    return ResidualProjection(width, embed_dim, config.proj_rank)


class RepresentationLearner(nn.Module):
    """Owner of every trained parameter: what is trained, optimised and saved is this module.

    What a setting does without does not exist: `space`, an aligner or `projection` is None then.

    Attributes:
        layers: n, layers with tokens.
    """

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
        # Shapes alone do not tell J apart when towers differ in depth: keep it with the weights.
        self.register_buffer("start_layer", torch.tensor(config.start_layer))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw everything anew, in a fixed order, so that a seed decides the start."""
        if self.space is not None:
            nn.init.normal_(self.space, std=TOKEN_STD, generator=generator)
        for module in (self.image_aligner, self.text_aligner, self.projection):
            if module is not None:
                module.reset_parameters(generator)

    def forward(self) -> tuple[Tensor | None, Tensor | None]:
        """Tokens of every layer: image [n, K, d_v], text [n, K, d_t]; None for a side without.

        Outside of autocast: a few rows against large weights, which would cost more to convert
        to half precision than to multiply as they are.
        """
        with torch.autocast(self.start_layer.device.type, enabled=False):
            text = None if self.text_aligner is None else self.text_aligner(self.space)
            if self.image_aligner is None:
                return None, text
            # Without a space, image tokens are free as well or made of the text tower's.
            return self.image_aligner(text if self.space is None else self.space), text

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """A checkpoint of the base model alone has none of our keys: then our values stay.

        A checkpoint with *some* of them is loaded by torch's own rules, and a missing key is
        reported, so half an adapter stays loud.
        """
        if prefix and not any(key.startswith(prefix) for key in state_dict):
            # Torch handed us a dict of our own, which it passes on to our sub-modules.
            state_dict.update({prefix + key: value for key, value in self.state_dict().items()})
        stored = state_dict.get(prefix + "start_layer")
        if stored is not None and int(stored) != int(self.start_layer):
            error_messages = args[-1]
            error_messages.append(
                f"the checkpoint's tokens begin at layer {int(stored)}, this model's at "
                f"{int(self.start_layer)}; create the model with mmrl_cfg={{'start_layer': "
                f"{int(stored)}}}."
            )
        super()._load_from_state_dict(state_dict, prefix, *args)
