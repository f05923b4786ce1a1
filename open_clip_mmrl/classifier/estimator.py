"""A few-shot image classifier with scikit-learn's contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ..config import MMRLConfig, TrainConfig
from ..data import DEFAULT_TEMPLATE
from ..data.check_images import require_readable
from ..data.loading.device_augment import training_images
from ..data.more_prompts import as_given, given_prompts, require_prompts
from ..evaluation.choose_features import require_different
from ..experiments import recipes
from ..hub.load import LoadedModel, build_for_training, resolve_name
from ..models.sharing import Shareable
from ..training.trainer import Trainer
from ..utils.devices import pick_device
from .class_changes import added_classes, remaining_classes
from .classes import classes_of
from .fitted import Fitted, fitted, of_file, unpack
from .images import examples_of, image_list
from .labels import label_list
from .nested import NestedParams, given_fields

if TYPE_CHECKING:
    from sklearn.utils import Tags
    from typing_extensions import Self


class FewShotClassifier(ClassifierMixin, Shareable, NestedParams):
    """Adapt an open_clip model to a few labeled images.

    Images (`X`) are a list of paths, PIL images, arrays or tensors, or one array or tensor of
    several. An array is [H, W] or [H, W, 3], a tensor [H, W] or [3, H, W] (or as an array), of
    uint8, or of floats from 0 (black) to 1 (white); not normalized, which the model does itself.
    A single image is refused: `[image]`.

    Labels (`y`), one per image, are names, or whole numbers that `class_names` has names for.
    Tools of scikit-learn that encode labels by themselves (VotingClassifier, StackingClassifier,
    cross_val_predict for probabilities, CalibratedClassifierCV, ...) give `fit` numbers, which
    count the labels in sorted order. Numbers from such a tool are taken only where that is the
    order of `class_names` too, and refused otherwise.

    Args:
        model: an open_clip model, with the method's prefix ("mmrl-ViT-B-16") or without. The
            command line's default is another: the shipped tiny one, "mmrl-ViT-Ti-8-glyphs".
        pretrained: its weights, a tag or a checkpoint file; not needed for the shipped model.
        class_names: a list of names, into which labels that are numbers are indices; or a mapping
            from labels to names, {"n01440764": "tench"} or {1: "one"}; None where labels are names.
        template: the prompt, {} for the class name; or several, of which the mean counts.
        prompts: in place of templates, {"tench": ["a fish", ...], ...}, for all classes of the fit.
        method: "mmrl" or "mmrl++"; by default the one in the model's name.
        config: fields of MMRLConfig to change, e.g. {"reg_weight": 3.0}, or a whole MMRLConfig.
            Each is a parameter too: `set_params(config__reg_weight=3.0)`, for GridSearchCV.
        settings: an older name of `config`.
        train: fields of TrainConfig to change, e.g. {"epochs": 30}, or a whole TrainConfig; as
            parameters `train__epochs` and so on.
        device: "cpu", "cuda", ...; by default the best available.
        quiet: show no progress bar.
        warm_start: let `fit` continue from the fit before, or from the adapter loaded: with its
            weights, its classes and those of the new images. Images are not kept, so give those
            of earlier classes again, or some of these classes will be forgotten.

    Attributes:
        classes_: the labels, sorted, in the order of the columns of `predict_proba`.
        class_names_: the name of each of them.
        model_: the adapted MMRLCLIP.

    Pickled (joblib, copies), it is its adapter and the name of its base, which is loaded again.

    How sure it is, by other libraries, from held-back images. Never from those of the training,
    on which it is surer than on others. For calibrated probabilities scikit-learn 1.8:
    `CalibratedClassifierCV(FrozenEstimator(classifier), method="temperature").fit(X, y)`. For sets
    that hold the true class as often as wanted MAPIE, with X as an array (`np.array(paths)`):
    `SplitConformalClassifier(classifier, confidence_level=0.9, conformity_score="lac",
    prefit=True).conformalize(X, y).predict_set(X_new)`, or "aps", "raps". These take the
    classifier as it is: a temperature before APS and RAPS can make their sets larger. The
    temperature in an adapter of `train --calibrate` is applied to its own classes, and kept.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from open_clip_mmrl import FewShotClassifier
        >>> digits = load_digits(n_class=2)
        >>> images = digits.images / 16
        >>> classifier = FewShotClassifier("mmrl-ViT-Ti-8-glyphs", class_names=["zero", "one"])
        >>> classifier = classifier.fit(images[:8], digits.target[:8])
        >>> classifier.score(images[8:40], digits.target[8:40]) > 0.8
        True
        >>> classifier.add_classes(["two"]).classes_.tolist()
        [0, 1, 2]
    """

    def __init__(
        self,
        model: str = "ViT-B-16",
        pretrained: str | None = None,
        *,
        class_names: Sequence[str] | Mapping[str, str] | Mapping[int, str] | None = None,
        template: str | Sequence[str] = DEFAULT_TEMPLATE,
        prompts: Mapping[str, Sequence[str]] | None = None,
        method: str | None = None,
        config: Mapping[str, Any] | MMRLConfig | None = None,
        settings: Mapping[str, Any] | MMRLConfig | None = None,
        train: Mapping[str, Any] | TrainConfig | None = None,
        device: str | None = None,
        quiet: bool = True,
        warm_start: bool = False,
    ) -> None:
        self.model = model
        self.pretrained = pretrained
        self.class_names = class_names
        self.template = template
        self.prompts = prompts
        self.method = method
        self.config = config
        self.settings = settings
        self.train = train
        self.device = device
        self.quiet = quiet
        self.warm_start = warm_start

    @classmethod
    def load(
        cls, path: str | Path, *, pretrained: str | None = None, device: str | None = None
    ) -> Self:
        """Return the classifier that `save` wrote; of a run's adapter, as `from_adapter`.

        Args:
            path: the adapter file, or a run's folder.
            pretrained: the base weights, where those named in the file are not found.
            device: "cpu", "cuda", ...; by default the best available.

        Raises:
            ValueError: the file cannot be used, names no classes, or its base is not found.
        """
        return cls._of_file(path, pretrained, device, stored=True)

    @classmethod
    def from_adapter(
        cls, path: str | Path, *, pretrained: str | None = None, device: str | None = None
    ) -> Self:
        """Return a fitted classifier whose labels are the names of the training; see `load`."""
        return cls._of_file(path, pretrained, device, stored=False)

    @classmethod
    def _of_file(
        cls, path: str | Path, pretrained: str | None, device: str | None, *, stored: bool
    ) -> Self:
        new, info = of_file(path, pretrained, device, stored=stored)
        weights, names = pretrained or info.base.pretrained, new.trained
        name = new.loaded.name
        prompts = as_given(info.template, info.prompts)
        self = cls(name, weights, class_names=names, device=device, **prompts)
        self._base = self._given_base()
        return self._adopt(new)

    def fit(self, X: Sequence[Any], y: Sequence[Any]) -> Self:
        """Train on all images given; where this fails, an earlier fit stays as it was.

        Args:
            X: images; see the class.
            y: one label per image, [N]; see the class.

        Raises:
            ValueError: X and y do not fit together, two classes have one prompt, or a parameter
                has a wrong value.
        """
        config = self._config()
        images, labels = image_list(X), label_list(y)
        if len(images) != len(labels) or not images:
            raise ValueError(f"there are {len(images)} images and {len(labels)} labels.")
        template, more = given_prompts(self.template, self.prompts)
        earlier = self._fitted if self.warm_start and hasattr(self, "model_") else None
        known = {} if earlier is None else earlier.names
        classes = classes_of(labels, self.class_names, template, known)
        trained = classes.names
        if earlier is not None:  # classes that were added keep the class feature without images
            seen = earlier.seen | {classes.names[i] for i in classes.indices}
            trained = [name for name in classes.names if name in seen]
        changes = {"seed": 1, **given_fields(self.train)}
        loaded = self._start(config, changes["seed"], earlier)
        recipe = recipes.recipe(loaded.model.config.variant, "few-shot")
        train = recipes.changed(recipe.train, **changes)
        require_prompts(more, classes.names)
        tokens = loaded.class_prompts(trained, template, more)
        require_different(classes.names, partial(loaded.readings, template=template))
        examples = examples_of(images, [trained.index(classes.names[i]) for i in classes.indices])
        require_readable(examples, quiet=self.quiet)
        shown = training_images(loaded.model, examples, train)
        Trainer(loaded.model, tokens, shown, train, quiet=self.quiet).fit()
        if earlier is not None:
            trained = list(dict.fromkeys([*earlier.trained, *trained]))
        new = fitted(loaded, classes.by_label(), trained, template, train.precision, more)
        self._base = self._given_base()
        return self._adopt(new)

    def add_classes(self, classes: Sequence[str] | Mapping[str, str] | Mapping[int, str]) -> Self:
        """Add classes by name, without images and without training.

        They are scored by the class feature, those of the training by both, in one ranking; of an
        adapter of `train --calibrate` all by both, less what the mean of its held-back images
        scores. A class of the training that was removed counts as one of the training again.

        Args:
            classes: names (labels are these, or the next numbers); or a mapping, label to name.

        Raises:
            ValueError: the model would read two names alike, or there is such a label already.
        """
        check_is_fitted(self, "model_")
        names = added_classes(self._fitted.names, classes)
        return self._adopt(self._fitted.with_names(names))

    def remove_classes(self, classes: Sequence[Any]) -> Self:
        """Remove classes, by label or name, from those to choose among; two have to remain."""
        check_is_fitted(self, "model_")
        names = remaining_classes(self._fitted.names, classes)
        return self._adopt(self._fitted.with_names(names))

    def predict_proba(self, X: Sequence[Any], fusion: str = "probabilities") -> np.ndarray:
        """Return the probabilities [N, C] of the classes: the softmax, of sigmoid models too.

        Args:
            X: images; see the class.
            fusion: "probabilities" mixes both features as the paper writes, "logits" as the
                released code does. With classes that were added, always the latter.
        """
        check_is_fitted(self, "model_")
        examples = examples_of(image_list(X))
        require_readable(examples, quiet=self.quiet)
        return self._fitted.probabilities(examples, fusion)

    def predict(self, X: Sequence[Any]) -> np.ndarray:
        """Return the most probable label of every image, [N]."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def save(self, path: str | Path) -> Path:
        """Write the adapter file; see `save_adapter`.

        Its class names are those of the training; other labels and classes are kept for `load`.
        """
        check_is_fitted(self, "model_")
        return self._fitted.save(path)

    def __sklearn_tags__(self) -> Tags:
        # pyrefly: ignore[missing-attribute]  # it has stubs of a scikit-learn before 1.6
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # a table of numbers
        tags.input_tags.one_d_array = tags.input_tags.three_d_array = True
        tags.input_tags.string = True  # paths
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if state.pop("model_", None) is not None:
            state["_fitted"] = self._fitted.pack()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_fitted" in state:
            self._adopt(unpack(state["_fitted"], self.device))

    def _start(
        self, config: Mapping[str, Any] | MMRLConfig | None, seed: int, earlier: Fitted | None
    ) -> LoadedModel:
        """Return the model to train: a new one, or that of an earlier fit."""
        if earlier is None:
            return build_for_training(
                self.model,
                self.pretrained,
                method=self.method,
                settings=config,
                device=pick_device(self.device),
                seed=seed,
            )
        if self._base != self._given_base():
            raise ValueError(
                f"warm_start=True continues on the base of the fit before, {self._base}, not on "
                f"{self._given_base()}."
            )
        return earlier.model_to_train(given_fields(config))

    def _given_base(self) -> tuple[str, str | None]:
        return str(resolve_name(self.model, self.method)), self.pretrained

    def _adopt(self, new: Fitted) -> Self:
        """Take over all of a fit; what fails before that changes nothing."""
        self._fitted, self.model_ = new, new.loaded.model
        self.classes_ = np.array(list(new.names))
        self.class_names_ = np.array(list(new.names.values()))
        return self
