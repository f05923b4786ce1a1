"""Several learners trained on the same batches of images, for the choice among settings.

Frozen CLIP does not depend on what is learned: images are read and augmented once, and its layers
run once per batch, whatever the number of learners. Each learner takes the same steps as in a
`Trainer` of its own, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..config import TrainConfig
from ..data.loading.images import ImageSet, epoch_batches, loader
from ..models.mmrl_clip import MMRLCLIP
from ..models.precision import autocast, in_half, own_modules
from ..models.task import FrozenClasses, MMRLTask
from ..utils.oom import oom_hint
from ..utils.progress import Progress
from .checkpoint import all_finite
from .optim import learning_rate, set_learning_rate
from .step import TrainingStep


def train_together(
    models: Sequence[MMRLCLIP],
    classes: FrozenClasses,
    images: ImageSet,
    config: TrainConfig,
    *,
    workers: int = 0,
    quiet: bool = False,
) -> list[bool]:
    """Train the learners of siblings with one `start_layer`, batch by batch.

    Args:
        models: the siblings, on their device.
        classes: those of the labels.
        images: the training images, seeded.
        config: of all of them.
        workers: processes that decode images.
        quiet: no progress bar.

    Returns:
        For each of the models, whether what it learned is finite; not where training diverged.
    """
    device = models[0].device
    half = in_half(models[0], config.precision)  # the base, in its precision, once for all
    steps = [TrainingStep(_task(half, model, classes, config), config, device) for model in models]
    total = config.steps(len(images))
    what = f"training {len(models)} learners with batch_size {config.batch_size}"
    with (
        oom_hint(what, "lower batch_size, set text_chunk_size, or use precision amp_bf16"),
        Progress("choosing", total, quiet=quiet, estimate=True) as progress,
    ):
        for epoch in range(config.epochs):
            for step in steps:
                set_learning_rate(step.optimizer, learning_rate(config, epoch))
            order = epoch_batches(len(images), config.batch_size, config.seed, epoch)
            for pixels, labels in loader(images, order, workers, epoch):
                with autocast(config.precision, device):
                    frozen = half.frozen_images(pixels.to(device, non_blocking=True))
                for step in steps:
                    step(frozen, labels)
                progress.advance(1, images=len(pixels))
    for model in models:
        model.learner.eval()
    return [all_finite(model.learner.state_dict().values()) for model in models]


def _task(half: MMRLCLIP, model: MMRLCLIP, classes: FrozenClasses, config: TrainConfig) -> MMRLTask:
    """Return a model's task on the base in half precision, in training mode."""
    task = MMRLTask(model, classes, config.text_chunk_size)
    own = half.with_config()
    own.learner, own.config = model.learner, model.config
    task.model = own_modules(own)
    return task.train()
