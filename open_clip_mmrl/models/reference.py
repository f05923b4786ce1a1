"""The method written literally and slowly: the oracle of the tests, and what `speed` compares with.

Every prompt at full context length, every row through every layer, and frozen CLIP as a separate
model, through open_clip's own blocks. No code is shared with
`MMRLCLIP` except the learner, and the view that finds the parts of the text tower; weights are.
Text tokens are placed after the first token in every family: a bidirectional tower does not see
where they are, and there `MMRLCLIP` places them in front.

Where the paper and the released code (github.com/yunncheng/MMRL, commit 27d8821) differ, this
follows the code, which made the published numbers:

- the representation feature is the mean of normed rows (norm, then mean); the paper's text
  averages the rows first;
- the frozen text features are computed once, not in every step.

One thing differs from that code: the logit scale is the model's own, `exp(logit_scale)`. The
code's constant 100 is what OpenAI's weights have; with other weights lambda weighs differently.

Shapes: B images, P patches, C classes, N context length, K representation tokens, D tower width,
E embedding width.
"""

from __future__ import annotations

import copy

import torch
from open_clip.hf_model import HFTextEncoder
from torch import Tensor, nn
from torch.nn import functional as F

from .learner import FreeTokens, PerLayerAligner, SharedResidualAligner
from .mmrl_clip import MMRLCLIP
from .reference_image import SplicedTokens, representation_feature
from .text_towers.families import text_tower
from .text_towers.rows import TextRows


class ReferenceTask(nn.Module):
    """The released code's training step; the same call and the same dict as `MMRLTask`."""

    def __init__(self, model: MMRLCLIP, tokens: Tensor) -> None:
        super().__init__()
        self.model = model
        self.tokens = tokens
        self.frozen = copy.deepcopy(model)
        del self.frozen.learner
        with torch.no_grad():
            frozen = self._frozen_text(self.frozen)
            self.frozen_text = F.normalize(frozen, dim=-1)

    def _embed(self, tower: TextRows) -> Tensor:
        """Embed tokens [C, N] -> [C, N, D]."""
        x = tower.token_embedding(self.tokens)
        return x + tower.positional_embedding[: self.tokens.shape[1]]

    def _layer_tokens(self, side: str, layer: int) -> Tensor:
        """R W_i + b_i, [K, D], with W_i = W + U_i V_i for MMRL++; free in some ablations."""
        learner = self.model.learner
        aligner = learner.image_aligner if side == "image" else learner.text_aligner
        if isinstance(aligner, FreeTokens):
            return aligner.tokens[layer]
        assert aligner is not None
        weight = aligner.weight[layer] if isinstance(aligner, PerLayerAligner) else aligner.weight
        if isinstance(aligner, SharedResidualAligner):
            weight = weight + aligner.residual_u[layer] @ aligner.residual_v[layer]
        mapped = learner.space
        if isinstance(learner.text_aligner, FreeTokens):  # "text_to_image"
            mapped = learner.text_aligner.tokens[layer]
        assert mapped is not None
        return F.linear(mapped, weight, aligner.bias[layer])

    def _tokens(self, side: str) -> list[Tensor]:
        """Tokens [K, D] of every layer with tokens; "image" or "text", empty if it has none."""
        if self.model.config.token_sides not in ("both", side):
            return []
        return [self._layer_tokens(side, i) for i in range(self.model.learner.layers)]

    def _run(self, blocks: nn.ModuleList, x: Tensor, tokens: list[Tensor], causal: bool) -> Tensor:
        """Run all layers over x [B, 1 + P, D]; rows 1..K of the result are the tokens'."""
        count = self.model.config.num_rep_tokens
        beta = self.model.config.beta
        assert beta is not None
        first = len(blocks) - len(tokens)
        for i, block in enumerate(blocks):
            if i >= first:
                own = tokens[i - first].expand(x.shape[0], -1, -1)  # [B, K, D]
                if i == first:
                    x = torch.cat([x[:, :1], own, x[:, 1:]], dim=1)  # [B, 1 + K + P, D]
                else:
                    previous = x[:, 1 : 1 + count]
                    mixed = beta * own + (1 - beta) * previous
                    x = torch.cat([x[:, :1], mixed, x[:, 1 + count :]], dim=1)
            x = block(x, attn_mask=_mask(x) if causal else None)
        return x

    def _text(self) -> Tensor:
        """Text features w, [C, E]."""
        tokens = self._tokens("text")
        if not tokens:
            return self._frozen_text(self.model)
        tower = _rows(self.model)
        causal = tower.attn_mask is not None
        x = self._run(tower.transformer.resblocks, self._embed(tower), tokens, causal)
        end = self._end(tower)
        # The pooled row moves with them, unless it is the first token itself.
        end = torch.where(end > 0, end + self.model.config.num_rep_tokens, end)
        return self._read(tower, x, end)

    def _frozen_text(self, model: MMRLCLIP) -> Tensor:
        """Text features w_0, [C, E]."""
        holder = getattr(model, "text", model)
        if isinstance(holder, HFTextEncoder):
            return holder(self.tokens)
        tower = _rows(model)
        x = self._embed(tower)
        for block in tower.transformer.resblocks:
            x = block(x, attn_mask=None if tower.attn_mask is None else _mask(x))
        return self._read(tower, x, self._end(tower))

    def _end(self, tower: TextRows) -> Tensor:
        """Position of the pooled row, [C]: open_clip's rule, written a second time."""
        first = torch.zeros(len(self.tokens), dtype=torch.long)
        if tower.pool_type == "first":
            return first
        if tower.pool_type == "last":
            return first + self.tokens.shape[1] - 1
        if tower.pool_type == "eos":
            return (self.tokens == tower.eos_id).float().argmax(dim=1)
        return self.tokens.argmax(dim=1)

    @staticmethod
    def _read(tower: TextRows, x: Tensor, end: Tensor) -> Tensor:
        x = tower.ln_final(x)
        x = x[torch.arange(x.shape[0], device=x.device), end]
        if isinstance(tower.text_projection, nn.Linear):
            return tower.text_projection(x)
        return x if tower.text_projection is None else x @ tower.text_projection

    def encode_image(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Encode images [B, 3, H, W] -> class and representation feature (or None), [B, E] each."""
        return self._encode_image(images)[:2]

    def _encode_image(self, images: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return both features, and the sequence term of the loss, []."""
        visual, tokens = self.model.visual, self._tokens("image")
        if not tokens:
            return visual(images), None, images.new_zeros(())
        beta, projection = self.model.config.beta, self.model.learner.projection
        assert beta is not None and projection is not None
        spliced = SplicedTokens(visual, tokens, beta)
        class_feature = spliced.run(images, norms=self.model.config.sequence_weight > 0)
        gaps = [
            (of_token - of_class.mean().detach()).abs()
            for of_class, of_tokens in spliced.norms
            for of_token in of_tokens.mean(dim=0)
        ]
        gap = torch.stack(gaps).mean() if gaps else images.new_zeros(())
        return class_feature, representation_feature(visual, spliced.rows, projection), gap

    def _distance(self, feature: Tensor, frozen: Tensor) -> Tensor:
        """One term of the regularization, of unit vectors [N, E]."""
        regularizer = self.model.config.regularizer
        if regularizer == "l1":
            return (feature - frozen).abs().mean()
        if regularizer == "mse":
            return (feature - frozen).square().mean()
        return 1 - F.cosine_similarity(feature, frozen).mean()

    def _calibration(self, logits: Tensor, labels: Tensor, text: Tensor) -> Tensor | float:
        """Return the terms of margins and moments, of the logits that the classes get."""
        config, loss = self.model.config, 0.0
        if (config.margin_weight or config.margin_variance_weight) and logits.shape[1] > 1:
            margins = []
            for row, label in zip(logits, labels.tolist(), strict=True):
                others = torch.cat([row[:label], row[label + 1 :]])
                margins.append(row[label] - others.max())
            m = torch.stack(margins)
            loss = loss - config.margin_weight * m.mean()
            loss = loss + config.margin_variance_weight * (m - m.mean()).square().mean()
        if config.moment_weight:
            loss = loss + config.moment_weight * self._moment_distance(text)
        return loss

    def _moment_distance(self, text: Tensor) -> Tensor:
        mean, mean_0 = text.mean(dim=0), self.frozen_text.mean(dim=0)
        covariances = [
            torch.stack([torch.outer(row - m, row - m) for row in rows]).mean(dim=0)
            for rows, m in ((text, mean), (self.frozen_text, mean_0))
        ]
        distance = (covariances[0] - covariances[1]).square().sum()
        return (mean - mean_0).square().sum() + distance

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the dict of `MMRLTask.forward` of images [B, 3, H, W] and labels [B]."""
        config = self.model.config
        with torch.no_grad():
            image_0 = F.normalize(self.frozen.visual(images), dim=-1)
        text = F.normalize(self._text(), dim=-1)
        class_feature, rep_feature, sequence_gap = self._encode_image(images)
        image = F.normalize(class_feature, dim=-1)
        scale = self.model.logit_scale.exp()
        bias = 0 if self.model.logit_bias is None else self.model.logit_bias
        logits = scale * image @ text.T + bias
        distance = self._distance(image, image_0) + self._distance(text, self.frozen_text)
        result = {
            "loss": F.cross_entropy(logits, labels)
            + config.reg_weight * distance
            + self._calibration(logits, labels, text),
            "logits": logits,
            "logits_fused": logits,
            "image_features": image,
            "text_features": text,
            "frozen_image_features": image_0,
            "frozen_text_features": self.frozen_text,
        }
        if rep_feature is None:
            return result
        image_rep = F.normalize(rep_feature, dim=-1)
        logits_rep = scale * image_rep @ text.T + bias
        fused = config.alpha * logits + (1 - config.alpha) * logits_rep
        loss = (
            config.alpha * F.cross_entropy(logits, labels)
            + (1 - config.alpha) * F.cross_entropy(logits_rep, labels)
            + config.reg_weight * distance
            + self._calibration(fused, labels, text)
            + config.sequence_weight * sequence_gap
        )
        if config.norm_weight:
            lengths = rep_feature.norm(dim=1), class_feature.norm(dim=1).detach()
            loss = loss + config.norm_weight * (lengths[0] - lengths[1]).abs().mean()
        return result | {
            "loss": loss,
            "logits_rep": logits_rep,
            "logits_fused": fused,
            "image_features_rep": image_rep,
        }


def _rows(model: MMRLCLIP) -> TextRows:
    """Find the parts of a text tower that is open_clip's own."""
    tower = text_tower(model)
    assert isinstance(tower, TextRows)
    return tower


def _mask(x: Tensor) -> Tensor:
    """Additive causal mask [N, N] for rows x [B, N, D], built per layer as the released code."""
    shape = (x.shape[1], x.shape[1])
    return torch.full(shape, float("-inf"), device=x.device, dtype=x.dtype).triu(1)
