"""Parameters within parameters, as scikit-learn names them: `config__reg_weight`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

from ..config import MMRLConfig, TrainConfig
from ..errors import UsageError
from ..utils.text import did_you_mean

if TYPE_CHECKING:
    from typing_extensions import Self

Given = Mapping[str, Any] | MMRLConfig | TrainConfig | None

_KINDS: dict[str, type[MMRLConfig | TrainConfig]] = {"config": MMRLConfig, "train": TrainConfig}
_GIVEN = (Mapping, MMRLConfig, TrainConfig)
_FIELDS = {name: [field.name for field in fields(kind)] for name, kind in _KINDS.items()}


def given_fields(given: Given) -> dict[str, Any]:
    """Return the fields that a config, a dict of fields or None sets.

    Raises:
        UsageError: something else is given.
    """
    if isinstance(given, MMRLConfig | TrainConfig):
        return given.to_dict()
    if given is not None and not isinstance(given, Mapping):
        raise UsageError(f"config or train is {given!r}; give a dict of fields, or a whole config.")
    return dict(given or {})


class NestedParams(BaseEstimator):
    """An estimator whose `config` and `train` are dicts of fields, whole configs, or None.

    Every field is a parameter of its own as well; None stands for its default.
    """

    config: Mapping[str, Any] | MMRLConfig | None
    settings: Mapping[str, Any] | MMRLConfig | None
    train: Mapping[str, Any] | TrainConfig | None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; `deep`: the fields of `config` and `train` too."""
        params = super().get_params(deep=deep)
        if deep:
            for name, known in _FIELDS.items():
                given = params[self._holder(name)]
                fields_given = given_fields(given) if isinstance(given, _GIVEN) else {}
                params |= {f"{name}__{field}": fields_given.get(field) for field in known}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, also single fields: `set_params(config__reg_weight=3.0)`.

        Raises:
            ValueError: no such parameter.
        """
        nested: dict[str, dict[str, Any]] = {}
        for key in list(params):
            name, _, field = key.partition("__")
            if name not in _KINDS or not field:
                continue
            if field not in _FIELDS[name]:
                raise UsageError(
                    f"Invalid parameter {key!r}: {_KINDS[name].__name__} has no field {field!r}."
                    f"{did_you_mean(field, _FIELDS[name])} Fields: {', '.join(_FIELDS[name])}."
                )
            nested.setdefault(name, {})[field] = params.pop(key)
        super().set_params(**params)
        for name, changes in nested.items():
            holder = self._holder(name)
            setattr(self, holder, _changed(getattr(self, holder), changes))
        return self

    def _config(self) -> Mapping[str, Any] | MMRLConfig | None:
        """Return `config`, under whichever of its names it was given."""
        if self.config is not None and self.settings is not None:
            raise ValueError(
                "config and settings are two names of one parameter; give config only."
            )
        return self.settings if self.config is None else self.config

    def _holder(self, name: str) -> str:
        """Return the parameter that has the fields: `settings` is an older name of `config`."""
        of_old_name = name == "config" and self.config is None and self.settings is not None
        return "settings" if of_old_name else name


def _changed(given: Given, changes: Mapping[str, Any]) -> Given:
    """Return what was given with some fields changed, of the same kind; None removes a field."""
    merged = {**given_fields(given), **changes}
    kept = {name: value for name, value in merged.items() if value is not None}
    if isinstance(given, MMRLConfig | TrainConfig):
        return type(given).from_dict(kept)
    return kept or (None if given is None else kept)
