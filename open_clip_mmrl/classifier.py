"""A few-shot image classifier with scikit-learn's contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .config import MMRLConfig, TrainConfig
from .data import DEFAULT_TEMPLATE
from .data.check_images import require_readable
from .data.example import Example
from .data.image_file import to_rgb
from .data.loading.device_augment import training_images
from .data.loading.images import ImageSet, eval_transform, in_order, loader
from .errors import UsageError
from .evaluation.predict import build_classifier, predict
from .experiments import recipes
from .hub.adapter_file import save_adapter
from .hub.load import LoadedModel, build_for_training, build_from_adapter
from .training.trainer import Trainer
from .utils.devices import pick_device


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """Adapt an open_clip model to a few labeled images.

    Args:
        model: an open_clip model, with the method's prefix ("mmrl-ViT-B-16") or without.
        pretrained: its weights, a tag or a checkpoint file; not needed for the shipped model.
        class_names: one name per class. With them, labels are names or indices into them;
            without, the labels themselves have to be names. Give them in sorted order for tools of
            scikit-learn that encode the labels (`cross_val_predict`), which sort them.
        template: the prompt, {} for the class name.
        method: "mmrl" or "mmrl++"; by default the one in the model's name.
        config: fields of MMRLConfig to change, e.g. {"reg_weight": 3.0}, or a whole MMRLConfig.
        settings: another name of `config`.
        train: fields of TrainConfig to change, e.g. {"epochs": 30}, or a whole TrainConfig.
        device: "cpu", "cuda", ...; by default the best available.
        quiet: show no progress bar.

    Attributes:
        classes_: the labels, sorted, in the order of the columns of `predict_proba`.
        model_: the adapted MMRLCLIP.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from open_clip_mmrl import FewShotClassifier
        >>> digits = load_digits(n_class=2)
        >>> images = [(15 * image).astype("uint8") for image in digits.images]  # 0 to 16 before
        >>> classifier = FewShotClassifier("mmrl-ViT-Ti-8-glyphs", class_names=["zero", "one"])
        >>> classifier = classifier.fit(images[:8], digits.target[:8])
        >>> classifier.score(images[8:40], digits.target[8:40]) > 0.8
        True
    """

    def __init__(
        self,
        model: str = "ViT-B-16",
        pretrained: str | None = None,
        *,
        class_names: Sequence[str] | None = None,
        template: str = DEFAULT_TEMPLATE,
        method: str | None = None,
        config: Mapping[str, Any] | MMRLConfig | None = None,
        settings: Mapping[str, Any] | MMRLConfig | None = None,
        train: Mapping[str, Any] | TrainConfig | None = None,
        device: str | None = None,
        quiet: bool = True,
    ) -> None:
        self.model = model
        self.pretrained = pretrained
        self.class_names = class_names
        self.template = template
        self.method = method
        self.config = config
        self.settings = settings
        self.train = train
        self.device = device
        self.quiet = quiet

    @classmethod
    def from_adapter(
        cls, path: str | Path, *, pretrained: str | None = None, device: str | None = None
    ) -> FewShotClassifier:
        """Return a fitted classifier from an adapter file; its labels are the class names.

        Args:
            path: the adapter file.
            pretrained: the base weights, where those named in the file are not found.
            device: "cpu", "cuda", ...; by default the best available.

        Raises:
            ValueError: the file cannot be used, names no classes, or its base is not found.
        """
        loaded, info = build_from_adapter(
            path, base_pretrained=pretrained, device=pick_device(device)
        )
        names = info.class_names
        if not names:
            raise ValueError(f"{path} names no classes: it was saved without class_names.")
        weights = pretrained or info.base.pretrained
        self = cls(loaded.name, weights, class_names=names, template=info.template, device=device)
        self._names = list(names)
        self._adopt(loaded, np.array(names))
        return self

    def fit(self, images: Sequence[Any], labels: Sequence[Any]) -> FewShotClassifier:
        """Train on all images given.

        Args:
            images: paths, PIL images or uint8 arrays [H, W] or [H, W, 3].
            labels: one per image, class names or indices into `class_names`.

        Returns:
            The classifier itself.

        Raises:
            ValueError: images and labels do not fit together, or a parameter has a wrong value.
        """
        if self.config is not None and self.settings is not None:
            raise ValueError(
                "config and settings are two names of one parameter; give config only."
            )
        images, given_labels = list(images), np.asarray(labels)
        if len(images) != len(given_labels) or not images:
            raise ValueError(f"there are {len(images)} images and {len(given_labels)} labels.")
        self._names, classes, indices = self._resolve_labels(given_labels)
        given = self.train.to_dict() if isinstance(self.train, TrainConfig) else self.train
        changes = {"seed": 1, **(given or {})}
        loaded = build_for_training(
            self.model,
            self.pretrained,
            method=self.method,
            settings=self.settings if self.config is None else self.config,
            device=pick_device(self.device),
            seed=changes["seed"],
        )
        train = recipes.changed(
            recipes.recipe(loaded.model.config.variant, "few-shot").train, **changes
        )
        tokens = loaded.class_tokens(self._names, self.template)
        examples = [_example(image, int(i)) for image, i in zip(images, indices, strict=True)]
        require_readable(examples, quiet=self.quiet)
        shown = training_images(loaded.model, examples, train)
        Trainer(loaded.model, tokens, shown, train, quiet=self.quiet).fit()
        self._precision = train.precision
        self._adopt(loaded, classes)
        return self

    def predict_proba(self, images: Sequence[Any], fusion: str = "probabilities") -> np.ndarray:
        """Return the probabilities [N, C] from both features.

        Args:
            images: as in `fit`.
            fusion: "probabilities" mixes them as the paper writes, "logits" as the released code
                does.
        """
        check_is_fitted(self, "model_")
        examples = [_example(image, 0) for image in images]
        require_readable(examples, quiet=self.quiet)
        shown = ImageSet(examples, eval_transform(self.model_))
        found = predict(
            self.model_,
            self._classifier,
            loader(shown, in_order(len(shown))),
            features="fused",
            fusion=fusion,
            precision=self._precision,
        )
        return found.scores.double().softmax(dim=1).numpy()

    def predict(self, images: Sequence[Any]) -> np.ndarray:
        """Return the most probable label of every image, [N]."""
        best = self.predict_proba(images).argmax(axis=1)
        return self.classes_[best]

    def save(self, path: str | Path) -> Path:
        """Write the adapter file, with class names and template; see `save_adapter`."""
        check_is_fitted(self, "model_")
        return save_adapter(self.model_, path, class_names=self._names, template=self.template)

    _precision = "fp32"

    def _adopt(self, loaded: LoadedModel, classes: np.ndarray) -> None:
        tokens = loaded.class_tokens(self._names, self.template)
        self.model_, self.classes_ = loaded.model, classes
        self._classifier = build_classifier(loaded.model, tokens, self._precision, self._names)

    def _resolve_labels(self, labels: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Return class names, the labels of the classes, and the class index of every label."""
        is_text = labels.dtype.kind in "UO"
        if self.class_names is None:
            if not is_text:
                raise UsageError(
                    "the labels are numbers and there are no class_names: the text tower needs "
                    "names. Give class_names=[...], or labels that are names."
                )
            classes = np.unique(labels)
            names = [str(name) for name in classes]
        else:
            names = [str(name) for name in self.class_names]
            names = sorted(names) if is_text else names
            classes = np.array(names) if is_text else np.arange(len(names))
        place = {value: i for i, value in enumerate(classes.tolist())}
        unknown = sorted({str(v) for v in labels.tolist() if v not in place})
        if unknown:
            raise ValueError(
                f"labels not among the {len(names)} classes: {', '.join(unknown[:5])}."
            )
        if len(set(names)) < len(names) or len(names) < 2:
            raise ValueError(f"class_names has to hold two or more different names: {names}.")
        return names, classes, np.array([place[v] for v in labels.tolist()])


def _example(image: Any, label: int) -> Example:
    """Return an example from a path, a PIL image or an array."""
    if isinstance(image, str | Path):
        return Example(image=Path(image), label=label, upright=True)
    if isinstance(image, torch.Tensor):
        image = image.numpy()
    if not isinstance(image, np.ndarray):
        image = np.asarray(to_rgb(image, upright=True))
    return Example(image=image, label=label)
