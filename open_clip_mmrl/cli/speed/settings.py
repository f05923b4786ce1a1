"""What is measured, and on which machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer

from ...config import Augment, Precision, Variant
from ...errors import UsageError
from ...hub.load import RANDOM, LoadedModel, build_for_training
from ...models.precision import check_precision
from ...training.cuda_graph import check_graph
from ...utils.devices import pick_device

TEMPLATE = "a photo of a {}."


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What both measurements share.

    Raises:
        UsageError: a size below 1.
    """

    model: str = "ViT-B-16"
    method: Variant = "mmrl"
    classes: int = 100
    batch_size: int = 4
    precision: Precision = "fp32"
    text_chunk_size: int | None = None
    device: str | None = None
    cuda_graph: bool = False
    """Record our training step and replay it."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if type(value) is int and value < 1 and name != "workers":
                raise UsageError(f"{name} is {value}; it has to be 1 or more.")

    def check_device(self) -> torch.device:
        """Return the device.

        Raises:
            UsageError: it is not there, or cannot do what the settings ask for.
        """
        device = pick_device(self.device)
        check_precision(self.precision, device)
        if self.cuda_graph:
            check_graph(self.precision, device)
        return device

    def load(self, device: torch.device) -> LoadedModel:
        """Return the model on random weights, always the same ones.

        With CLIP's tokenizer: other families' would be downloaded, and words of random weights
        mean nothing.
        """
        torch.manual_seed(0)
        tokenizer = SimpleTokenizer()
        loaded = build_for_training(
            self.model, RANDOM, method=self.method, device=device, seed=0, tokenizer=tokenizer
        )
        last = loaded.model.text_tower.vocab_size - 1
        return loaded._replace(tokenizer=lambda *a, **k: tokenizer(*a, **k).clamp(max=last))


@dataclass(frozen=True, kw_only=True)
class SpeedSettings(Settings):
    """What a comparison of single steps measures."""

    eval_batch_size: int = 32
    repeats: int = 5
    reference: bool = True
    """Without it, only ours and open_clip are run, and the reference's operations counted."""
    memory: bool = True

    @property
    def literal_precision(self) -> Precision:
        """Precision of the reference and open_clip: neither converts tokens, as bf16 would need."""
        if self.precision == "bf16":
            return "amp_bf16"
        return "amp_fp16" if self.precision == "fp16" else self.precision


@dataclass(frozen=True, kw_only=True)
class WholeRun(Settings):
    """What a whole training measures; smaller sizes are for trying it out.

    By default a base-to-novel training of ImageNet's size.
    """

    classes: int = 500
    shots: int = 16
    epochs: int = 5
    batch_size: int = 32
    width: int = 500
    height: int = 375
    augment: Augment = "classic"
    workers: int = 0


@dataclass(frozen=True)
class Machine:
    """What it was measured on."""

    device: str
    device_name: str
    threads: int
    torch: str

    @classmethod
    def of(cls, device: torch.device) -> Machine:
        """Describe this machine."""
        on_gpu = device.type == "cuda"
        name = torch.cuda.get_device_name(device) if on_gpu else "cpu"
        return cls(str(device), name, torch.get_num_threads(), torch.__version__)


def class_names(count: int) -> list[str]:
    """Return ImageNet's names, as long as those of real classes are, repeated where they end."""
    names = open_clip.IMAGENET_CLASSNAMES
    return [names[i % len(names)] for i in range(count)]
