"""What leaves with an adapter's model: its classes as a matrix, and how images are prepared.

Shapes: C classes, E embedding width.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from open_clip.transform import PreprocessCfg
from safetensors.numpy import save

from ..data.loading.images import preprocess_config
from ..data.prompts import DEFAULT_TEMPLATE
from ..evaluation.predict import build_classifier
from ..hub.adapter_info import AdapterInfo
from ..hub.load import LoadedModel, build_from_adapter
from ..models.ops import logit_scale
from ..utils.files import json_bytes, new_folder, write_atomically
from .modules import Features, usable_features

CLASSES, PREPROCESSOR, README = "classes.safetensors", "preprocessor.json", "README.md"


@dataclass(frozen=True)
class ClassMatrix:
    """The classes of an adapter: text features and all numbers that make probabilities of them."""

    names: list[str]
    text: np.ndarray
    """w, unit length, float32 [C, E]."""
    template: str
    scale: float
    """What cosines are multiplied by."""
    bias: float
    """What is added to logits; without effect on a softmax."""
    alpha: float
    """Weight of the class feature; 1 where it is exported alone."""
    temperature: float
    """What the logarithms of probabilities are divided by; 1 without calibration."""

    def fused_text(self) -> np.ndarray:
        """Return the text features that belong to the fused image feature, [C, 2E]."""
        return np.hstack([self.alpha**0.5 * self.text, (1 - self.alpha) ** 0.5 * self.text])

    def to_safetensors(self) -> bytes:
        """Return a safetensors file with the one tensor "text"; the rest is in its metadata."""
        numbers = {
            name: repr(getattr(self, name)) for name in ("scale", "bias", "alpha", "temperature")
        }
        names = json.dumps(self.names, ensure_ascii=False)
        about = {"class_names": names, "template": self.template, **numbers}
        return save({"text": self.text}, metadata=about)


@dataclass(frozen=True)
class Source:
    """An adapter's model, and what leaves with it."""

    loaded: LoadedModel
    info: AdapterInfo
    features: Features
    classes: ClassMatrix

    @property
    def preprocess(self) -> PreprocessCfg:
        """How images become inputs."""
        return preprocess_config(self.loaded.model)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the inputs."""
        return self.preprocess.input_size[1:]

    @contextmanager
    def folder(self, output: str | Path) -> Iterator[Path]:
        """Yield a folder with the files that every export has; it appears whole, or not at all.

        Raises:
            UsageError: it exists already.
        """
        with new_folder(output) as folder:
            write_atomically(folder / CLASSES, self.classes.to_safetensors())
            write_atomically(folder / PREPROCESSOR, json_bytes(asdict(self.preprocess)))
            yield folder


def load_source(
    adapter: str | Path | AdapterInfo, features: str = "fused", pretrained: str | None = None
) -> Source:
    """Return an adapter's model on the CPU, in float32, with its classes.

    Raises:
        UsageError: there are no such features, or there is no such adapter.
        ValueError: the adapter names no classes, or its base cannot be loaded.
    """
    loaded, info = build_from_adapter(
        adapter, base_pretrained=pretrained, device=torch.device("cpu")
    )
    model, names = loaded.model.float(), info.trained_classes()
    kind = usable_features(model, features)
    text = build_classifier(model, loaded.class_prompts(names, info.template, info.prompts)).text
    classes = ClassMatrix(
        names=list(names),
        text=text.float().numpy(),
        template=info.template or DEFAULT_TEMPLATE,
        scale=logit_scale(model),
        bias=0.0 if model.logit_bias is None else model.logit_bias.item(),
        alpha=model.config.alpha if kind == "fused" else 1.0,
        temperature=_temperature(info) if features == "fused" else 1.0,
    )
    return Source(loaded, info, kind, classes)


def _temperature(info: AdapterInfo) -> float:
    return 1.0 if info.calibration is None else info.calibration.temperature["probabilities"]
