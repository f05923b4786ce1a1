"""CoOp: learned context vectors in the place of the prompt's words.

Zhou et al., Learning to Prompt for Vision-Language Models (IJCV 2022): M = 16 vectors, one context
for all classes ("unified"), random at first, the class name after them ("end"):

    [BOS, context, class name, ".", EOT]

All of CLIP is frozen; new classes are scored with the same context before their names. The tower
is causal and the context comes first, so its rows do not depend on the class: BOS and context are
run as MMRL++'s tokens are, once for all classes. With tokens from the first layer on and beta = 0,
they are put in before that layer and then go from layer to layer as they are. Prompts are cropped
at their ends, and in the last layer EOT is the only query row.

Shapes: C classes, N token ids of a prompt, M context vectors, D tower width, E embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ..config import Precision, Shots, TrainConfig
from ..data import ImageData
from ..errors import UsageError
from ..evaluation.predict import FrozenBatch, Scorer
from ..hub.load import LoadedModel
from ..models.mmrl_clip import MMRLCLIP
from ..models.ops import cosine_logits, unit
from ..models.precision import autocast, in_half
from ..models.text_towers.causal import CausalTextTower
from ..models.text_towers.class_prompts import ClassPrompts, FullPrompts
from ..training.optim import learning_rate
from ..utils.seeds import mix_seed
from .peer import Peer, PeerTask, minimize

CONTEXT = 16
"""M."""
TEMPLATE = "{}."
_EPOCHS = {1: 50, 2: 100, 4: 100}


def recipe(shots: Shots, dataset: str) -> TrainConfig:
    """Return the paper's settings: SGD with momentum 0.9, the schedule that MMRL has too."""
    epochs = 50 if dataset == "imagenet" else _EPOCHS.get(shots if shots != "all" else 0, 200)
    return TrainConfig(epochs=epochs, batch_size=32, lr=2e-3, weight_decay=5e-4)


class ContextPrompts:
    """The class names of a set of classes, ready for a context before them.

    Args:
        model: with a causal text tower of open_clip.
        tokens: of the prompts without context, [C, N].
        count: M.

    Raises:
        UsageError: the tower is of another kind, or there is no room for so many vectors.
    """

    def __init__(self, model: MMRLCLIP, tokens: Tensor, count: int) -> None:
        tower = model.text_tower
        if not isinstance(tower, CausalTextTower):
            raise UsageError(
                f"coop needs open_clip's causal text tower; this model's is {tower.family}: leave "
                "coop out, or choose another model."
            )
        positions = tower.positional_embedding
        room = len(positions) - count
        too_long = int((tower.end_positions(tokens) >= room).sum())
        if too_long:
            raise UsageError(
                f"with coop's {count} context vectors, {too_long} of {len(tokens)} prompts are "
                f"longer than the model's context of {len(positions)} tokens: shorten the class "
                "names, or leave coop out."
            )
        self.positions = positions[1 : 1 + count]
        # The names' positions are those after the context.
        shifted = torch.cat([positions[:1], positions[1 + count :]])
        self.tower = replace(tower, positional_embedding=shifted, token_layers=tower.depth)
        self.prompts: ClassPrompts | FullPrompts = self.tower.lower(tokens[:, :room])

    def features(self, context: Tensor) -> Tensor:
        """Return the text features [C, E] of unit length with a context [M, D]."""
        tokens = context.new_zeros(self.tower.depth, *context.shape)
        tokens[0] = context + self.positions
        return unit(self.tower.project(self.tower.with_tokens(self.prompts, tokens, beta=0.0)))


@dataclass(frozen=True, kw_only=True)
class CoOp(Peer):
    """A context."""

    context: Tensor
    """[M, D]."""
    precision: Precision

    @torch.no_grad()
    def scorer(self, loaded: LoadedModel, data: ImageData) -> Scorer:
        """Return the logits of frozen image features against the names with the context."""
        model = loaded.model
        tokens = loaded.class_tokens(data.class_names, TEMPLATE).to(model.device)
        with autocast(self.precision, model.device):
            prompts = ContextPrompts(in_half(model, self.precision), tokens, len(self.context))
            text = prompts.features(self.context)

        def score(batch: FrozenBatch) -> Tensor:
            return batch.cosine_logits(batch.features, text)

        return score


def train_coop(task: PeerTask) -> CoOp:
    """Return a trained context."""
    train, model = task.train, task.loaded.model
    half = in_half(model, train.precision)
    tokens = task.loaded.class_tokens(task.subset.class_names, TEMPLATE).to(model.device)
    with torch.no_grad(), autocast(train.precision, model.device):
        prompts = ContextPrompts(half, tokens, CONTEXT)
    generator = Generator().manual_seed(mix_seed(train.seed))
    drawn = 0.02 * torch.randn(CONTEXT, model.text_tower.width, generator=generator)
    context = nn.Parameter(drawn.to(model.device))

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            features = unit(half.encode_image(images, features="frozen"))
        return F.cross_entropy(cosine_logits(model, features, prompts.features(context)), labels)

    optimizer = torch.optim.SGD([context], momentum=0.9, weight_decay=train.weight_decay)
    seen = minimize(task, loss, optimizer, lambda epoch, _: learning_rate(train, epoch))
    return CoOp(
        num_parameters=context.numel(),
        images_seen=seen,
        context=context.detach(),
        precision=train.precision,
    )
