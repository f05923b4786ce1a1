"""What a fit leaves: a model, the classes it chooses among, and those it was trained on.

Shapes: N images, C classes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from ..config import FREE_FIELDS, MMRLConfig
from ..data.example import Example
from ..data.loading.images import ImageSet, eval_transform, in_order, loader
from ..data.more_prompts import MorePrompts
from ..evaluation.answers import Ranking
from ..evaluation.certainty import Certainty
from ..evaluation.choose_features import require_different
from ..evaluation.predict import build_classifier
from ..hub.adapter_file import save_adapter
from ..hub.adapter_info import AdapterInfo, Calibration
from ..hub.class_tokens import usable_names
from ..hub.load import LoadedModel, build_from_adapter
from ..utils.devices import pick_device
from .labels import Label

_STORED = "classifier"
"""In the settings of an adapter's header: labels and classes, where they are not the training's."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model and its classes; made by `fitted`.

    Attributes:
        loaded: the model.
        names: the class names by label, in the order of the labels.
        trained: the names of the classes of the training, in the order of its file.
        template: the prompt.
        prompts: what is written for classes besides the template.
        ranking: of `names`: their text features, and which are scored by both features.
        calibration: of the adapter that was loaded, which holds for all classes of the training
            together; None for others.
    """

    loaded: LoadedModel
    names: dict[Label, str]
    trained: list[str]
    template: str
    ranking: Ranking
    prompts: MorePrompts | None = None
    calibration: Calibration | None = None

    def with_names(self, names: Mapping[Label, str]) -> Fitted:
        """Return the same model with other classes to choose among.

        Raises:
            ValueError: the model reads two of them alike, or a prompt is too long.
        """
        readings = partial(self.loaded.readings, template=self.template)
        require_different(list(names.values()), readings)
        precision, more = self.ranking.precision, self.prompts
        new = fitted(self.loaded, names, self.trained, self.template, precision, more)
        return new.with_calibration(self.calibration)

    def with_calibration(self, calibration: Calibration | None) -> Fitted:
        """Return the same with what held-back images told, if anything."""
        means = None if calibration is None else calibration.image_means
        ranking = self.ranking.with_mixed(means)
        return replace(self, calibration=calibration, ranking=ranking)

    @property
    def seen(self) -> set[str]:
        """The names of the classes that are scored by both features."""
        pairs = zip(self.ranking.names, self.ranking.seen, strict=True)
        return {name for name, seen in pairs if seen}

    def model_to_train(self, config: Mapping[str, Any]) -> LoadedModel:
        """Return the model with a copy of its learner, on the same base.

        Args:
            config: fields of MMRLConfig.

        Raises:
            ValueError: the fields are those of another kind of model.
        """
        MMRLConfig.from_dict(config)
        model = self.loaded.model
        ours = model.config
        changes = {k: v for k, v in config.items() if v is not None and v != getattr(ours, k)}
        other = [name for name in changes if name not in FREE_FIELDS]
        if other:
            raise ValueError(
                f"warm_start=True continues with the config of the fit before, but for "
                f"{', '.join(FREE_FIELDS)}; given are other values of {', '.join(other)}."
            )
        model = model.with_config(**changes)
        model.learner = copy.deepcopy(model.learner)
        return self.loaded._replace(model=model)

    def probabilities(self, examples: Sequence[Example], fusion: str) -> np.ndarray:
        """Return the probabilities of images, [N, C], with the temperature of the calibration."""
        if not examples:
            raise ValueError("there are no images to score.")
        ranking = self.ranking
        if self.calibration and not ranking.has_new and len(self.names) == len(self.trained):
            temperature = self.calibration.temperature.get(fusion, 1.0)
            ranking = replace(ranking, certainty=Certainty(temperature))
        shown = ImageSet(examples, eval_transform(self.loaded.model))
        batches = loader(shown, in_order(len(shown)))
        rows = [ranking.probabilities(images, fusion) for images, _ in batches]
        return torch.cat(rows).numpy()

    def save(self, path: str | Path) -> Path:
        """Write the adapter; its `class_names` are those of the training."""
        labels, names = list(self.names), list(self.names.values())
        as_trained = labels == names == sorted(self.trained)
        return save_adapter(
            self.loaded.model,
            path,
            class_names=self.trained,
            template=self.template,
            prompts=self.prompts,
            settings=None if as_trained else {_STORED: {"labels": labels, "class_names": names}},
            calibration=self.calibration,
        )

    def pack(self) -> dict[str, Any]:
        """Return plain values for `unpack`: the adapter, which names its base."""
        with TemporaryDirectory() as folder:
            adapter = self.save(Path(folder) / "adapter.safetensors").read_bytes()
        return {"adapter": adapter, "precision": self.ranking.precision}


def unpack(packed: Mapping[str, Any], device: str | None) -> Fitted:
    """Return what was packed, with the base loaded again.

    Raises:
        UsageError: no such device here.
        ValueError: it is damaged, or its base is not where it was.
    """
    pick_device(device)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        try:
            path.write_bytes(packed["adapter"])
            return of_file(path, None, device, precision=packed["precision"])[0]
        except (ValueError, TypeError, KeyError) as error:
            reason = str(error).replace(str(path), "its adapter")
            raise ValueError(
                f"a pickled classifier cannot be loaded: {reason} A base that has moved has to be "
                "put back for it; an adapter file, by save(), is loaded with another place of it."
            ) from error


def of_file(
    path: str | Path,
    pretrained: str | None,
    device: str | None,
    *,
    stored: bool = True,
    precision: str = "fp32",
) -> tuple[Fitted, AdapterInfo]:
    """Return the model of an adapter file and its header.

    Its classes are those that `Fitted.save` stored, or else those of the training, by their names.
    """
    loaded, info = build_from_adapter(path, base_pretrained=pretrained, device=pick_device(device))
    trained = info.trained_classes()
    names = stored_names(info) if stored else trained_names(info)
    new = fitted(loaded, names, trained, info.template, precision, info.prompts)
    return new.with_calibration(info.calibration), info


def fitted(
    loaded: LoadedModel,
    names: Mapping[Label, str],
    trained: Sequence[str],
    template: str,
    precision: str = "fp32",
    prompts: MorePrompts | None = None,
) -> Fitted:
    """Return the whole, checked.

    Args:
        loaded: the model.
        names: the class names by label, all labels being names or all numbers.
        trained: the names of the classes of the training.
        template: the prompt.
        precision: of the towers.
        prompts: what is written for classes besides the template.

    Raises:
        ValueError: a prompt is too long.
    """
    in_order_of_labels = {label: names[label] for label in sorted(names)}
    listed = list(in_order_of_labels.values())
    tokens = loaded.class_prompts(listed, template, prompts)
    of_training = {*loaded.readings(trained, template)}
    seen = tuple(reading in of_training for reading in loaded.readings(listed, template))
    classifier = build_classifier(loaded.model, tokens, precision, listed)
    ranking = Ranking(loaded.model, classifier, tuple(listed), seen, precision)
    return Fitted(loaded, in_order_of_labels, list(trained), template, ranking, prompts)


def trained_names(info: AdapterInfo) -> dict[Label, str]:
    """Return the class names of the training by label: each is its own."""
    return {name: name for name in info.class_names}


def stored_names(info: AdapterInfo) -> dict[Label, str]:
    """Return the class names by label that `Fitted.save` stored; of other files, the training's.

    Raises:
        ValueError: the header holds something else in their place.
    """
    stored = info.settings.get(_STORED)
    if stored is None:
        return trained_names(info)
    try:
        labels, names = stored["labels"], usable_names(stored["class_names"], "")
        found = dict(zip(labels, names, strict=True))
        if {type(label) for label in labels} not in ({str}, {int}) or len(found) < len(labels):
            raise ValueError("labels are different names, or different whole numbers")
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{info.path} has labels of a classifier that cannot be used ({error!r:.200}); "
            "from_adapter loads it without them."
        ) from error
    return found
