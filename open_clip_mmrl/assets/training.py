"""The loss and the loop that train the small CLIP on printed characters.

In every step each picture is matched with one caption of every class (contrastive cross-entropy in
both directions, or SigLIP's sigmoid loss where the model has a bias).  That loss alone stays on a
plateau for thousands of steps when both towers start from noise, so a linear classifier on the
image features is trained too and discarded afterwards.
Only the token rows that the captions use are trained; the others are zeros, which compress well.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import torch
import torch.nn.functional as F
from rich import progress
from torch import nn

from . import characters, families, glyphs, reading


def contrastive_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """CLIP's two-way loss for captions that may fit several pictures of the batch.

    Args:
        logits: (pictures, classes) scaled cosine similarities.
        labels: (pictures,) class of each picture.

    Returns:
        Scalar: mean of picture-to-caption and caption-to-picture cross-entropy, nats.
    """
    to_caption = F.cross_entropy(logits, labels)
    fits = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    # For a caption the target is spread evenly over the pictures that it fits.
    per_caption = -(logits.log_softmax(0) * fits).sum(0) / fits.sum(0).clamp(min=1)
    to_picture = per_caption[fits.sum(0) > 0].mean()
    return (to_caption + to_picture) / 2


def sigmoid_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """SigLIP's loss: every pair of picture and caption is right or wrong by itself.

    Args:
        logits: (pictures, classes) scaled cosine similarities plus bias.
        labels: (pictures,) class of each picture.

    Returns:
        Scalar: sum over a picture's captions, mean over pictures, nats.
    """
    sign = 2 * F.one_hot(labels, logits.shape[1]).to(logits.dtype) - 1
    return -F.logsigmoid(sign * logits).sum(1).mean()


def learning_rate(step: int, warmup: int, steps: int) -> float:
    """Return the share of the peak rate at a step (from 0): linear warm-up, then a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def train(args: argparse.Namespace, config: dict[str, Any]) -> reading.Model:
    """Train the model.

    Args:
        args: options of the command line, see ``train_tiny_clip.py``.
        config: the open_clip config, see `families.model_config`.

    Returns:
        The model with its full token table, in evaluation mode, on the CPU.
    """
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    bank = glyphs.GlyphBank(characters.TRAIN_FONTS, args.device)
    captions = [t.format(name) for t in characters.TEMPLATES for name in characters.CLASSES]
    tokens = reading.tokenize(captions)
    # Renumber the tokens in use; the order is kept, so the end token stays the largest id, which
    # is how CLIP finds where to read the caption's feature.
    used, tokens = tokens.unique(return_inverse=True)
    count = len(characters.CLASSES)
    text_cfg = config["text_cfg"] | {"vocab_size": len(used)}
    model = families.build({**config, "text_cfg": text_cfg}).to(args.device)
    head = nn.Linear(config["embed_dim"], count).to(args.device)
    tokens = tokens.view(len(characters.TEMPLATES), count, -1).to(args.device)

    parameters = [*model.parameters(), *head.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": args.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98))
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(step, args.warmup, args.steps)
    )
    classes = torch.arange(count, device=args.device)
    model.train()
    with progress_bar() as bar:
        task = bar.add_task("training", total=args.steps, loss=math.nan, speed=0.0)
        started = time.monotonic()
        for step in range(1, args.steps + 1):
            pictures, labels = bank.sample(args.batch_size, generator)
            # One caption per class is enough: all pictures of a class share it.
            template = torch.randint(len(tokens), (count,), generator=generator)
            text = model.encode_text(tokens[template.to(args.device), classes], normalize=True)
            image = model.encode_image(reading.normalize(pictures))
            logits = model.logit_scale.exp() * F.normalize(image, dim=-1) @ text.T
            if model.logit_bias is None:
                loss = contrastive_loss(logits, labels)
            else:
                loss = sigmoid_loss(logits + model.logit_bias, labels)
            auxiliary = F.cross_entropy(head(image), labels, label_smoothing=0.1)
            loss = loss + auxiliary
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            scheduler.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))  # as CLIP does
            if step % 10 == 0 or step == args.steps:
                speed = step * args.batch_size / (time.monotonic() - started)
                bar.update(task, completed=step, loss=loss.item(), speed=speed)
            if args.log_every and step % args.log_every == 0:
                right = (logits.argmax(1) == labels).float().mean().item()
                bar.console.print(
                    f"step {step}: loss {loss.item():.3f}, batch accuracy {right:.1%}"
                )

    state = model.cpu().state_dict()
    full = families.build(config)
    name = next(name for name in state if name.endswith("token_embedding.weight"))
    table = torch.zeros_like(full.get_parameter(name))
    table[used] = state[name]
    full.load_state_dict(state | {name: table})
    return full.eval()


def progress_bar() -> progress.Progress:
    """Make rich's progress display: bar, steps, loss, pictures per second, time left."""
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("loss {task.fields[loss]:.3f}"),
        progress.TextColumn("{task.fields[speed]:.0f} images/s"),
        progress.TimeRemainingColumn(),
    )
