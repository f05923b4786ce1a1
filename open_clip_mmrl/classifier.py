"""A few-shot image classifier with scikit-learn's contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .classifier_input import classes_of, image_list, label_list, require_different_prompts
from .config import MMRLConfig, TrainConfig
from .data import DEFAULT_TEMPLATE
from .data.check_images import require_readable
from .data.example import Example
from .data.image_file import to_rgb
from .data.loading.device_augment import training_images
from .data.loading.images import ImageSet, eval_transform, in_order, loader
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
        """Return a fitted classifier from an adapter; its labels are the class names.

        Args:
            path: the adapter file, or a run's folder.
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
        self._adopt(loaded, np.array(names), list(names), info.template)
        return self

    def fit(self, images: Sequence[Any], labels: Sequence[Any]) -> FewShotClassifier:
        """Train on all images given; where this fails, an earlier fit stays as it was.

        Args:
            images: a list of paths, PIL images or uint8 arrays [H, W] or [H, W, 3]; a single image
                is refused.
            labels: one per image, [N]: class names or indices into `class_names`, not bools.

        Returns:
            The classifier itself.

        Raises:
            ValueError: images and labels do not fit together, two classes have one prompt, or a
                parameter has a wrong value.
        """
        if self.config is not None and self.settings is not None:
            raise ValueError(
                "config and settings are two names of one parameter; give config only."
            )
        images, labels = image_list(images), label_list(labels)
        if len(images) != len(labels) or not images:
            raise ValueError(f"there are {len(images)} images and {len(labels)} labels.")
        template = self.template
        classes = classes_of(labels, self.class_names, template)
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
        tokens = loaded.class_tokens(classes.names, template)
        require_different_prompts(loaded, classes.names, template)
        examples = [_example(image, i) for image, i in zip(images, classes.indices, strict=True)]
        require_readable(examples, quiet=self.quiet)
        shown = training_images(loaded.model, examples, train)
        Trainer(loaded.model, tokens, shown, train, quiet=self.quiet).fit()
        self._adopt(loaded, classes.values, classes.names, template, train.precision)
        return self

    def predict_proba(self, images: Sequence[Any], fusion: str = "probabilities") -> np.ndarray:
        """Return the probabilities [N, C] from both features.

        Args:
            images: as in `fit`.
            fusion: "probabilities" mixes them as the paper writes, "logits" as the released code
                does.
        """
        check_is_fitted(self, "model_")
        examples = [_example(image, 0) for image in image_list(images)]
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
        return save_adapter(self.model_, path, class_names=self._names, template=self._template)

    def _adopt(
        self,
        loaded: LoadedModel,
        classes: np.ndarray,
        names: list[str],
        template: str,
        precision: str = "fp32",
    ) -> None:
        """Take over a model and all that belongs to it; what fails before that changes nothing."""
        tokens = loaded.class_tokens(names, template)
        classifier = build_classifier(loaded.model, tokens, precision, names)
        self.model_, self.classes_, self._classifier = loaded.model, classes, classifier
        self._names, self._template, self._precision = names, template, precision


def _example(image: Any, label: int) -> Example:
    """Return an example from a path, a PIL image or an array."""
    if isinstance(image, str | Path):
        return Example(image=Path(image), label=label, upright=True)
    if isinstance(image, torch.Tensor):
        image = image.numpy()
    if not isinstance(image, np.ndarray):
        image = np.asarray(to_rgb(image, upright=True))
    return Example(image=image, label=label)
