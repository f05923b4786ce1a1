"""The training loss.

Shapes: B images, C classes, E embedding width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class MMRLLoss(nn.Module):
    """Two cross-entropies and the pull towards frozen CLIP.

        alpha * CE(logits, y) + (1 - alpha) * CE(logits_rep, y)
        + reg_weight * [(1 - mean_b cos(f_c, f_0)) + (1 - mean_c cos(w, w_0))]

    Source: equations of section 3.2.3 of the MMRL paper (CVPR 2025).
    """

    def __init__(self, alpha: float = 0.7, reg_weight: float = 0.5) -> None:
        super().__init__()
        self.alpha = alpha
        self.reg_weight = reg_weight

    def forward(
        self,
        logits: Tensor,
        logits_rep: Tensor,
        image_features: Tensor,
        text_features: Tensor,
        frozen_image_features: Tensor,
        frozen_text_features: Tensor,
        labels: Tensor,
    ) -> Tensor:
        """logits, logits_rep [B, C]; image features [B, E]; text features [C, E]; labels [B]."""
        cross_entropy = self.alpha * F.cross_entropy(logits, labels)
        cross_entropy = cross_entropy + (1 - self.alpha) * F.cross_entropy(logits_rep, labels)
        image_drift = 1 - F.cosine_similarity(image_features, frozen_image_features).mean()
        text_drift = 1 - F.cosine_similarity(text_features, frozen_text_features).mean()
        return cross_entropy + self.reg_weight * (image_drift + text_drift)
