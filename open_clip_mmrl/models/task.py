"""One training step's computation as a module: forward passes and loss.

Shapes: B images, C classes, E embedding width.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..utils.devices import without_autocast
from ..utils.ranks import Ranks
from .features import FrozenImages
from .image_towers.tower import norms_of
from .losses import loss_of
from .mmrl_clip import MMRLCLIP
from .ops import cosine_logits, mix, unit
from .prompt_tokens import PromptTokens

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrozenClasses:
    """What frozen CLIP computes of a set of classes, once.

    Valid for one base and one `start_layer`: for a model, and for siblings with the same one.
    """

    tokens: Tensor
    """One prompt per class, [C, context length]."""
    prompts: Sized
    """After the layers below J, of the kind that the model's `text_tower.lower` returns; or their
    tokens, where that is not kept. Of several ranks each has those of its share."""
    text_features: Tensor
    """w_0, [C, E], of unit length."""
    given: Tensor | PromptTokens
    """What all of this is computed of."""

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        model: MMRLCLIP,
        tokens: Tensor | PromptTokens,
        ranks: Ranks | None = None,
        *,
        keep: bool = True,
    ) -> FrozenClasses:
        """Compute them, in the precision that the model is stored in.

        Args:
            model: on its device; tokens are moved there.
            tokens: as the model's tokenizer gives them, [C, context length]; or of several prompts
                per class, of which the first is trained with, and w_0 is of all.
            ranks: the processes that share the work, if there are several.
            keep: what the layers below J return, [C, rows, D]; or run them again in every step.

        Raises:
            ValueError: the tokens are no token ids of such a shape.
        """
        given = tokens
        if isinstance(tokens, PromptTokens):
            tokens = tokens.first()
        if not isinstance(tokens, Tensor):
            raise ValueError(
                f"tokens is a {type(tokens).__name__}; give the token ids of one prompt per class: "
                "open_clip.get_tokenizer(name)(prompts)."
            )
        tokens = tokens.to(model.device)
        with without_autocast(tokens.device):
            own = tokens if ranks is None else tokens[ranks.share(len(tokens))]
            prompts = model.text_tower.lower(own) if keep else own
            if isinstance(given, PromptTokens):
                features = model.frozen_text_features(given.tokens.to(tokens.device))
                return cls(tokens, prompts, given.of_classes(features), given)
            features = unit(model.frozen_text_features(prompts))
        if ranks is not None:
            features = ranks.gather(features, len(tokens))
        return cls(tokens, prompts, features, given)


class MMRLTask(nn.Module):
    """The loss of a batch, and everything it was computed from.

    Frozen CLIP is the same towers without tokens: layers below J run once for both branches,
    and nothing of the frozen branch is differentiated. What frozen CLIP computes of the classes
    is computed once; moving the task or loading a state dict into it computes it again. Call
    `prepare()` after changing the base's weights in any other way.

    Args:
        model: the model to train.
        tokens: one prompt per class, [C, context length], as the model's tokenizer gives them;
            or several; or what was computed of them, `FrozenClasses.of(model, tokens)`.
        text_chunk_size: prompts at a time, computed again in the backward pass: bounds the
            memory where there are many classes. None takes all at once, which is faster.
        ranks: the processes that share the work, if there are several. Each is given its share of
            a batch's images and all of its labels; the results are those of the whole batch, and
            gradients are summed by `ranks`.
        text_cache: whether to keep what frozen layers return for every class; False runs them
            again with each chunk.

    Example:
        >>> import open_clip, torch
        >>> model = open_clip.create_model("mmrl-ViT-Ti-8-glyphs", pretrained="printed")
        >>> tokenizer = open_clip.get_tokenizer("mmrl-ViT-Ti-8-glyphs")
        >>> task = MMRLTask(model, tokenizer(["the digit one", "the digit two"]))
        >>> result = task(torch.zeros(3, 3, *model.visual.image_size), torch.tensor([0, 1, 1]))
        >>> result["logits_fused"].shape
        torch.Size([3, 2])
        >>> result["loss"].backward()  # gradients of model.learner, and of nothing else
    """

    tokens: Tensor

    def __init__(
        self,
        model: MMRLCLIP,
        tokens: Tensor | PromptTokens | FrozenClasses,
        text_chunk_size: int | None = None,
        ranks: Ranks | None = None,
        text_cache: bool = True,
    ) -> None:
        super().__init__()
        others = [n for n, p in model.named_parameters() if p.requires_grad]
        others = [n for n in others if not n.startswith("learner.")]
        if others:
            logger.warning(
                "%d parameters outside of model.learner require gradients, as %s. MMRLTask trains "
                "the learner: below the tokens others get no gradient, and the frozen features "
                "are computed with them.",
                len(others),
                others[0],
            )
        self.model = model
        self.text_chunk_size = text_chunk_size
        self.ranks, self._keep = ranks, text_cache
        if not isinstance(tokens, FrozenClasses):
            tokens = FrozenClasses.of(model, tokens, ranks, keep=text_cache)
        self.classes = tokens
        # A buffer, so that it moves with the task.
        self.register_buffer("tokens", self.classes.tokens, persistent=False)
        self.register_load_state_dict_post_hook(_prepare_again)

    def prepare(self) -> None:
        """Compute again what frozen CLIP computes of the classes."""
        given = self.classes.given
        self.classes = FrozenClasses.of(self.model, given, self.ranks, keep=self._keep)

    @property
    def frozen_text_features(self) -> Tensor:
        """w_0 [C, E], of unit length."""
        return self.classes.text_features

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MMRLTask:
        super()._apply(fn, recurse)
        self.prepare()
        return self

    def forward(self, images: Tensor | FrozenImages, labels: Tensor) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            images: [B, 3, H, W], or what the frozen layers made of them.
            labels: [B], in 0..C-1.

        Returns:
            loss []; logits, logits_rep, logits_fused [B, C]; image_features,
            image_features_rep, frozen_image_features [B, E] and text_features,
            frozen_text_features [C, E], all of unit length. Without image tokens there are no
            logits_rep and image_features_rep, and logits_fused are the logits.

        Raises:
            ValueError: there is not one label of these classes per image.
        """
        own = labels if self.ranks is None else labels[self.ranks.share(len(labels))]
        if not labels.is_floating_point() and own.shape != (len(images),):
            raise ValueError(
                f"labels are of shape {tuple(own.shape)}; for {len(images)} images they have to "
                f"be ({len(images)},)."
            )
        model, config = self.model, self.model.config
        image_tokens, text_tokens = model.learner()
        both, frozen_image = model.image_branches(
            images, image_tokens, norms=config.sequence_weight > 0
        )
        gather = partial(self._gather, of=labels)
        image, frozen_image = gather(unit(both.class_)), gather(unit(frozen_image))
        text = self._text_features(text_tokens)
        logits, logits_rep, of_rep = cosine_logits(model, image, text), None, {}
        feature_norms = None
        if both.representation is not None:
            image_rep = gather(unit(both.representation))
            logits_rep = cosine_logits(model, image_rep, text)
            of_rep = {"logits_rep": logits_rep, "image_features_rep": image_rep}
            if config.norm_weight:
                norms = norms_of(both.class_), norms_of(both.representation)
                feature_norms = gather(torch.stack(norms, dim=1))
        with without_autocast(image.device):
            try:
                loss = loss_of(config)(
                    logits,
                    logits_rep,
                    image,
                    text,
                    frozen_image,
                    self.frozen_text_features,
                    labels,
                    feature_norms,
                    None if both.row_norms is None else gather(both.row_norms),
                )
            except IndexError as error:  # of torch, which looks at labels without waiting for them
                last = len(self.tokens) - 1
                raise ValueError(
                    f"labels have to be 0 to {last}, by the classes: {error}"
                ) from error
        return {
            "loss": loss,
            "logits": logits,
            "logits_fused": mix(logits, logits_rep, config.alpha),
            "image_features": image,
            "text_features": text,
            "frozen_image_features": frozen_image,
            "frozen_text_features": self.frozen_text_features,
            **of_rep,
        }

    def _text_features(self, rep_tokens: Tensor | None) -> Tensor:
        """Text features w [C, E], of unit length; without tokens they are frozen CLIP's."""
        if rep_tokens is None:
            return self.frozen_text_features
        prompts = self.classes.prompts
        own = self.model.adapted_text_features(prompts, rep_tokens, self.text_chunk_size)
        return self._gather(unit(own), self.tokens)

    def _gather(self, rows: Tensor, of: Tensor) -> Tensor:
        """Return the rows of all ranks, one for each of `of`."""
        return rows if self.ranks is None else self.ranks.gather(rows, len(of))


def _prepare_again(task: nn.Module, _: Any) -> None:
    assert isinstance(task, MMRLTask)
    task.prepare()
