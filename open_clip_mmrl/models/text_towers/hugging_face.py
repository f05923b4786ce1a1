"""Text towers from Hugging Face (XLM-R, mT5, NLLB, BERT): they take no tokens.

Their layers are transformers' own. Tokens stand on the image side only (`token_sides="image"`, the
paper's "w/o L"), and the text features stay the base's: computed once per set of prompts.

Shapes: C prompts, N token ids of a prompt, E embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from open_clip.hf_configs import arch_dict
from torch import Tensor

from .tower import TextTower, check_tokens, first_equal

if TYPE_CHECKING:
    from open_clip.hf_model import HFTextEncoder

FROZEN_CHUNK = 128
"""Prompts at a time: bounds memory at no cost in time."""


@dataclass(frozen=True)
class FrozenPrompts:
    """A set of prompts: their features, for nothing after the frozen layers is trained."""

    features: Tensor
    """[C, E]."""

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class HuggingFaceTextTower(TextTower):
    """open_clip's HFTextEncoder, run whole."""

    family = "Hugging Face"
    has_tokens = False
    text: HFTextEncoder

    @property
    def width(self) -> int:
        """Of the tower."""
        return self._setting("width")

    @property
    def depth(self) -> int:
        """The number of layers."""
        return self._setting("layers")

    @property
    def vocab_size(self) -> int:
        """The number of different token ids."""
        return self.text.vocab_size

    @property
    def quick_gelu(self) -> None:
        """No choice: its activation is transformers' own."""
        return None

    def _setting(self, name: str) -> int:
        """Read transformers' config, where every kind of model has names of its own."""
        config: Any = self.text.config  # without types where transformers is not installed
        return getattr(config, arch_dict[config.model_type]["config_names"][name])

    def lower(self, tokens: Tensor) -> FrozenPrompts:
        """Run the whole tower over tokens [C, N], `FROZEN_CHUNK` prompts at a time.

        Raises:
            ValueError: the tokens are not integers of such a shape.
        """
        check_tokens(tokens, self.text.context_length or tokens.shape[-1], self.vocab_size)
        if torch.compiler.is_compiling():  # exporting included: any number of prompts
            return FrozenPrompts(self._encode(tokens))
        weight = next(self.text.parameters())
        parts = [weight.new_zeros(0, self.text.output_dim)]  # transformers refuses empty batches
        for ids in tokens.split(FROZEN_CHUNK) if len(tokens) else ():
            parts.append(self._encode(ids))
        return FrozenPrompts(torch.cat(parts))

    def _encode(self, tokens: Tensor) -> Tensor:
        """Run open_clip's tower over tokens [c, N] -> features [c, E]."""
        out = self.text(tokens)
        return out[0] if isinstance(out, tuple) else out

    def with_tokens(
        self,
        prompts: FrozenPrompts,
        rep_tokens: Tensor,
        beta: float,
        chunk_size: int | None = None,
    ) -> Tensor:
        """Raise: this family takes no tokens, and `MMRLCLIP` gives it none."""
        raise AssertionError(
            f"a {type(self.text).__name__} takes no tokens: {len(prompts)} prompts, "
            f"{tuple(rep_tokens.shape)}, {beta}, {chunk_size}"
        )

    def without_tokens(self, prompts: FrozenPrompts) -> Tensor:
        """Return the features, [C, E]."""
        return prompts.features

    def project(self, row: Tensor) -> Tensor:
        """Return the features [C, E] as they are: the tower has projected them."""
        return row

    def first_alike(self, tokens: Tensor) -> Tensor:
        """Return for each prompt [C, N] the first with the same token ids, [C]."""
        return first_equal(tokens)
