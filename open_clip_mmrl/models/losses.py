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
"""Distance of features [N, E] from frozen CLIP's, as one number."""


class MMRLLoss(nn.Module):
    """Two cross-entropies and the pull towards frozen CLIP.

        alpha * CE(logits, y) + (1 - alpha) * CE(logits_rep, y)
        + reg_weight * [(1 - mean_b cos(f_c, f_0)) + (1 - mean_c cos(w, w_0))]

    Source: equations of section 3.2.3 of the MMRL paper (CVPR 2025).

    Args:
        alpha: weight of the class feature; of no effect where there is no other.
        reg_weight: lambda.
        regularizer: "cosine" as above. "l1" and "mse" put the mean absolute or mean squared
            difference of unit-length features, over all rows and all E coordinates, in place of
            both terms. The paper (supplement E, table 9) names the two and no more; unit length
            is what the released code hands to its loss, the mean what torch's losses of these
            names take. The squares of one row add up to 2 (1 - cos), so "mse" pulls E / 2 times
            more weakly than "cosine" at the same reg_weight.
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
        """logits, logits_rep [B, C]; image features [B, E]; text features [C, E]; labels [B].

        Without image tokens there are no logits_rep (None): the cross-entropy is that of logits.
        """
        cross_entropy = F.cross_entropy(logits, labels)
        if logits_rep is not None:
            of_rep = F.cross_entropy(logits_rep, labels)
            cross_entropy = self.alpha * cross_entropy + (1 - self.alpha) * of_rep
        image_drift = self._distance(image_features, frozen_image_features)
        text_drift = self._distance(text_features, frozen_text_features)
        return cross_entropy + self.reg_weight * (image_drift + text_drift)
