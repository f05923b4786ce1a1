"""The training loss.

Shapes: B images, C classes, E embedding width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..config import LOSS_TERMS, MMRLConfig
from ..errors import UsageError


def _cosine_distance(feature: Tensor, frozen: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(feature, frozen).mean()


def _l1_distance(feature: Tensor, frozen: Tensor) -> Tensor:
    return F.l1_loss(F.normalize(feature, dim=-1), F.normalize(frozen, dim=-1))


def _squared_distance(feature: Tensor, frozen: Tensor) -> Tensor:
    return F.mse_loss(F.normalize(feature, dim=-1), F.normalize(frozen, dim=-1))


DISTANCES = {"cosine": _cosine_distance, "l1": _l1_distance, "mse": _squared_distance}
"""Distance of features [N, E] from frozen CLIP's, one number, by the name of `regularizer`."""


def norm_gap(norms: Tensor) -> Tensor:
    """Return the mean of |norm - stopgrad norm of the class row|, [].

    Args:
        norms: [..., 1 + K], the class row's first.
    """
    return (norms[..., 1:] - norms[..., :1].detach()).abs().mean()


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the logit of the true class minus that of the best other, [B]; [C > 1]."""
    true = labels[:, None]
    others = logits.scatter(1, true, float("-inf"))
    return logits.gather(1, true).squeeze(1) - others.amax(dim=1)


def moment_distance(text: Tensor, frozen: Tensor) -> Tensor:
    """Return ||mu - mu_0||^2 + ||Cov - Cov_0||_F^2 of the classes' unit features [C, E], []."""
    (mean, covariance), (mean_0, covariance_0) = _moments(text), _moments(frozen)
    return (mean - mean_0).square().sum() + (covariance - covariance_0).square().sum()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    features = F.normalize(features, dim=-1)
    mean = features.mean(dim=0)
    centered = features - mean
    return mean, centered.T @ centered / len(features)


def loss_of(config: MMRLConfig) -> MMRLLoss:
    """Return the loss with a config's weights."""
    terms = {name: getattr(config, name) for name in LOSS_TERMS}
    return MMRLLoss(config.alpha, config.reg_weight, config.regularizer, **terms)


class MMRLLoss(nn.Module):
    """Two cross-entropies, and regularization towards frozen CLIP.

        alpha * CE(logits, y) + (1 - alpha) * CE(logits_rep, y)
        + reg_weight * [(1 - mean_b cos(f_c, f_0)) + (1 - mean_c cos(w, w_0))]

    Source: equations of section 3.2.3 of the MMRL paper (CVPR 2025). Five terms more are off by
    default:

        + norm_weight * mean_b | ||f_r|| - stopgrad ||f_c|| |
        + sequence_weight * mean over layers and tokens | mean_b ||h_k|| - stopgrad mean_b ||h_c|| |
        - margin_weight * mean_b(m) + margin_variance_weight * var_b(m)
        + moment_weight * [ ||mu - mu_0||^2 + ||Cov - Cov_0||_F^2 ]

    The first two align norms ("Aligned norms", ICML 2026): of the projected features before they
    are normalized, and of token and class rows h after every layer with tokens. The other two
    keep the classifier calibrated ("Towards calibrating prompt tuning", CVPR 2026, which writes
    lambda_1 a, lambda_1 b and lambda_2 for the weights). m is the logit of the true class minus
    the best other one, of the mixed logits alpha * logits + (1 - alpha) * logits_rep, which the
    trained classes are scored with; its variance is over the batch, divided by B. mu and Cov
    (divided by C) are over the classes' text features of unit length.

    Args:
        alpha: weight of the class feature; not used where there is no other.
        reg_weight: lambda.
        regularizer: "cosine" as above. "l1" and "mse" replace both terms by the mean absolute or
            mean squared difference of unit-length features, over all rows and all E coordinates.
            The paper (supplement E, table 9) names the two and nothing more; unit length is what
            the released code passes to its loss, the mean what torch's losses of these names
            take. The squares of one row sum to 2 (1 - cos), so "mse" regularizes E / 2 times
            more weakly than "cosine" at the same reg_weight.
        norm_weight, sequence_weight, margin_weight, margin_variance_weight, moment_weight: as
            above.

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
        self,
        alpha: float = 0.7,
        reg_weight: float = 0.5,
        regularizer: str = "cosine",
        *,
        norm_weight: float = 0.0,
        sequence_weight: float = 0.0,
        margin_weight: float = 0.0,
        margin_variance_weight: float = 0.0,
        moment_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if regularizer not in DISTANCES:
            raise UsageError(
                f"regularizer is {regularizer!r}; it has to be one of {tuple(DISTANCES)}."
            )
        self.alpha = alpha
        self.reg_weight = reg_weight
        self._distance = DISTANCES[regularizer]
        self.norm_weight = norm_weight
        self.sequence_weight = sequence_weight
        self.margin_weight = margin_weight
        self.margin_variance_weight = margin_variance_weight
        self.moment_weight = moment_weight

    def forward(
        self,
        logits: Tensor,
        logits_rep: Tensor | None,
        image_features: Tensor,
        text_features: Tensor,
        frozen_image_features: Tensor,
        frozen_text_features: Tensor,
        labels: Tensor,
        feature_norms: Tensor | None = None,
        row_norms: Tensor | None = None,
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
            feature_norms: ||f_c|| and ||f_r||, [B, 2]; needed for norm_weight.
            row_norms: ||h_c|| and ||h_k|| after n layers, [B, n, 1 + K]; for sequence_weight.
        """
        cross_entropy = F.cross_entropy(logits, labels)
        if logits_rep is not None:
            by_rep = F.cross_entropy(logits_rep, labels)
            cross_entropy = self.alpha * cross_entropy + (1 - self.alpha) * by_rep
        image_distance = self._distance(image_features, frozen_image_features)
        text_distance = self._distance(text_features, frozen_text_features)
        loss = cross_entropy + self.reg_weight * (image_distance + text_distance)
        if feature_norms is not None:
            loss = loss + self.norm_weight * norm_gap(feature_norms)
        if row_norms is not None:
            loss = loss + self.sequence_weight * norm_gap(row_norms.mean(dim=0))
        if (self.margin_weight or self.margin_variance_weight) and logits.shape[1] > 1:
            if logits_rep is not None:
                logits = self.alpha * logits + (1 - self.alpha) * logits_rep
            m = margins(logits, labels)
            loss = loss - self.margin_weight * m.mean()
            loss = loss + self.margin_variance_weight * m.var(correction=0)
        if self.moment_weight:
            distance = moment_distance(text_features, frozen_text_features)
            loss = loss + self.moment_weight * distance
        return loss
