"""The training loss.

Shapes: B images, C classes, E embedding width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError


def _cosine_distance(feature: Tensor, frozen: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(feature, frozen).mean()


def _l1_distance(feature: Tensor, frozen: Tensor) -> Tensor:
    return F.l1_loss(F.normalize(feature, dim=-1), F.normalize(frozen, dim=-1))


def _squared_distance(feature: Tensor, frozen: Tensor) -> Tensor:
    return F.mse_loss(F.normalize(feature, dim=-1), F.normalize(frozen, dim=-1))


DISTANCES = {"cosine": _cosine_distance, "l1": _l1_distance, "mse": _squared_distance}
"""Distance of features [N, E] from frozen CLIP's, one number, by the name of `regularizer`."""


class MMRLLoss(nn.Module):
    """Two cross-entropies, and regularization towards frozen CLIP.

        alpha * CE(logits, y) + (1 - alpha) * CE(logits_rep, y)
        + reg_weight * [(1 - mean_b cos(f_c, f_0)) + (1 - mean_c cos(w, w_0))]

    Source: equations of section 3.2.3 of the MMRL paper (CVPR 2025).

    Args:
        alpha: weight of the class feature; not used where there is no other.
        reg_weight: lambda.
        regularizer: "cosine" as above. "l1" and "mse" replace both terms by the mean absolute or
            mean squared difference of unit-length features, over all rows and all E coordinates.
            The paper (supplement E, table 9) names the two and nothing more; unit length is what
            the released code passes to its loss, the mean what torch's losses of these names
            take. The squares of one row sum to 2 (1 - cos), so "mse" regularizes E / 2 times
            more weakly than "cosine" at the same reg_weight.

    Raises:
        UsageError: no such regularizer.

    Example:
        One image, one class, and features equal to frozen CLIP's: nothing is left to lower.

        >>> import torch
        >>> loss = MMRLLoss(alpha=0.7, reg_weight=0.5)
        >>> logits, feature = torch.zeros(1, 1), torch.tensor([[1.0, 0.0]])
        >>> label = torch.tensor([0])
        >>> loss(logits, logits, feature, feature, feature, feature, label).item()
        0.0
    """

    def __init__(
        self, alpha: float = 0.7, reg_weight: float = 0.5, regularizer: str = "cosine"
    ) -> None:
        super().__init__()
        if regularizer not in DISTANCES:
            raise UsageError(
                f"regularizer is {regularizer!r}; it has to be one of {tuple(DISTANCES)}."
            )
        self.alpha = alpha
        self.reg_weight = reg_weight
        self._distance = DISTANCES[regularizer]

    def forward(
        self,
        logits: Tensor,
        logits_rep: Tensor | None,
        image_features: Tensor,
        text_features: Tensor,
        frozen_image_features: Tensor,
        frozen_text_features: Tensor,
        labels: Tensor,
    ) -> Tensor:
        """Return the loss, [].

        Args:
            logits: of the class feature, [B, C].
            logits_rep: of the representation feature, [B, C]; None without image tokens, where
                the cross-entropy of `logits` has weight 1.
            image_features: f_c, [B, E].
            text_features: w, [C, E].
            frozen_image_features: f_0, [B, E].
            frozen_text_features: w_0, [C, E].
            labels: [B], in 0..C-1.
        """
        cross_entropy = F.cross_entropy(logits, labels)
        if logits_rep is not None:
            by_rep = F.cross_entropy(logits_rep, labels)
            cross_entropy = self.alpha * cross_entropy + (1 - self.alpha) * by_rep
        image_distance = self._distance(image_features, frozen_image_features)
        text_distance = self._distance(text_features, frozen_text_features)
        return cross_entropy + self.reg_weight * (image_distance + text_distance)
