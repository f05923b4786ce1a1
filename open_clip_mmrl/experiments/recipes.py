"""Settings with their sources: functions that return full configs.

paper       per data set, as the authors chose them. MMRL's lambda is the maximum of Table 8, which
            holds accuracies on *test* images, so results with it flatter the method. That MMRL++'s
            lambda and beta were chosen on test images too is an inference from the released
            configuration files, which have one value per data set; it is not stated.
fixed       one setting for all data sets
validation  the fixed ones, unless others are better beyond chance: lambda, beta and alpha are
            chosen for each run by cross-validation over its own training images (see `tune`)
demo        the demo's, for the shipped tiny CLIP

To reproduce the paper's tables (three seeds, ViT-B/16 with OpenAI's weights), with COMMON for
`--model ViT-B-16 --pretrained openai --data-root DATA --settings paper --precision amp_fp16
--methods mmrl --output runs`:

    open-clip-mmrl run base-to-novel COMMON
        Table 1, average of eleven: base 85.68, novel 77.16, HM 81.20
    open-clip-mmrl run few-shot COMMON
        Tables 10 and 11, average of eleven: 72.67, 75.90, 79.20, 81.47, 84.34
        (1, 2, 4, 8, 16 shots)
    open-clip-mmrl run cross-dataset COMMON
        Table 2: ImageNet 72.03, average of ten targets 67.25
    open-clip-mmrl run domain-generalization COMMON
        Table 3: ImageNetV2 64.47, -Sketch 49.17, -A 51.20, -R 77.53

All released runs were trained in mixed precision and tested in float32. The default here is
float32 for both; `--precision amp_fp16` trains as the authors did, and tests in that precision too.
`environment.precision` in results.json records it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..config import (
    PEERS,
    PROTOCOLS,
    SOURCES,
    VARIANTS,
    Method,
    MMRLConfig,
    Shots,
    Sweep,
    TrainConfig,
)
from ..errors import UsageError
from ..hub.base_place import base_config
from ..hub.names import ModelName
from ..models.base_config import depths, lowest_start_layer
from ..peers.methods import PEER_METHODS

CHOSEN_BY_VALIDATION = ("reg_weight", "beta", "alpha")
"""What "validation" chooses for every run."""


class Recipe(NamedTuple):
    """What a run needs besides model and data.

    Attributes:
        method: overrides of MMRLConfig.
        train: the whole TrainConfig.
    """

    method: dict[str, Any]
    train: TrainConfig


class _PaperSettings(NamedTuple):
    """The authors' choice for one data set."""

    mmrl: float
    """lambda of MMRL: the maximum of the data set's column in Table 8 of the paper."""
    mmrlpp: float
    """lambda of MMRL++: its released configuration files."""
    beta: float
    """beta of MMRL++: its released configuration files."""
    target_beta: float | None
    """beta when the data set is the target of a model trained elsewhere."""


_PAPER = {
    "imagenet": _PaperSettings(0.5, 0.2, 0.9, None),
    "caltech101": _PaperSettings(0.5, 3, 0.6, 0.6),
    "oxford_pets": _PaperSettings(0.2, 0.01, 0.7, 0.6),
    "stanford_cars": _PaperSettings(7, 6, 0.7, 0.3),
    "oxford_flowers": _PaperSettings(4, 7, 0.4, 0.4),
    "food101": _PaperSettings(5, 1, 0.1, 0.3),
    "fgvc_aircraft": _PaperSettings(6, 2, 0.9, 0.9),
    "sun397": _PaperSettings(6, 3, 0.5, 0.7),
    "dtd": _PaperSettings(6, 7, 0.9, 0.5),
    "eurosat": _PaperSettings(0.01, 0.01, 0.2, 0.3),
    "ucf101": _PaperSettings(3, 3, 0.9, 0.9),
}
_SHIFTED_TARGET_BETA = {
    "imagenetv2": 0.9,
    "imagenet_r": 0.9,
    "imagenet_a": 0.8,
    "imagenet_sketch": 0.7,
}


def recipe(variant: str, protocol: str, dataset: str = "", source: str = "fixed") -> Recipe:
    """Return the settings of one run.

    The module's docstring has the commands that use them, and the scores to expect.

    Args:
        variant: "mmrl" or "mmrl++".
        protocol: one of `PROTOCOLS`; an ablation trains as base-to-novel does.
        dataset: short name of the data set trained on, e.g. "dtd".
        source: one of `SOURCES`.

    Raises:
        UsageError: a word that is not known, or "paper" for a data set that is not the paper's.
    """
    if variant not in VARIANTS:
        raise UsageError(f"method is {variant!r}; it has to be one of {VARIANTS}.")
    if protocol not in PROTOCOLS:
        raise UsageError(f"protocol is {protocol!r}; it has to be one of {PROTOCOLS}.")
    if source not in SOURCES:
        raise UsageError(f"settings is {source!r}; it has to be one of {SOURCES}.")
    if source == "demo":
        return demo(variant)
    train = _training(variant, protocol, dataset)
    if protocol in ("cross-dataset", "domain-generalization"):
        # The released configuration files; one setting whatever the source.
        reg = {"mmrl": {"reg_weight": 0.2}, "mmrl++": {"reg_weight": 0.1, "beta": 0.9}}
        return Recipe(reg[variant], train)
    if source != "paper":
        return Recipe({}, train)
    chosen = _paper_settings(dataset)
    if variant == "mmrl":
        # d_r 2048 for EuroSAT: appendix A of the paper.
        wide = {"rep_dim": 2048} if dataset == "eurosat" else {}
        return Recipe({"reg_weight": chosen.mmrl, **wide}, train)
    return Recipe({"reg_weight": chosen.mmrlpp, "beta": chosen.beta}, train)


def target_beta(dataset: str, source: str) -> float | None:
    """Return MMRL++'s beta for a target of transfer; None keeps the one trained with.

    From its released configuration files; used with "paper" settings alone.
    """
    if source != "paper":
        return None
    if dataset in _SHIFTED_TARGET_BETA:
        return _SHIFTED_TARGET_BETA[dataset]
    return _PAPER[dataset].target_beta if dataset in _PAPER else None


def _training(variant: str, protocol: str, dataset: str) -> TrainConfig:
    """Return how a protocol is trained: Appendix A of the MMRL paper, with two differences.

    Few-shot batches outside ImageNet are 32, as in the released configuration files; Appendix A
    says 4. MMRL++'s few-shot learning rate and epochs are from its configuration files.
    """
    imagenet = dataset == "imagenet"
    if protocol in ("base-to-novel", "ablation"):
        if imagenet:
            return TrainConfig(lr=1e-3, batch_size=32, epochs=5)
        return TrainConfig(lr=1e-3, batch_size=4, epochs=10)
    if protocol == "few-shot":
        if imagenet:
            return TrainConfig(lr=1e-3, batch_size=32, epochs=5)
        if variant == "mmrl":
            return TrainConfig(lr=1e-3, batch_size=32, epochs=50)
        return TrainConfig(lr=2e-3, batch_size=32, epochs=100)
    return TrainConfig(lr=1e-3, batch_size=32, epochs=1)


def _paper_settings(dataset: str) -> _PaperSettings:
    if dataset not in _PAPER:
        raise UsageError(
            f"there are no paper settings for {dataset!r}, only for {', '.join(_PAPER)}: use "
            "--settings fixed, or --settings validation."
        )
    return _PAPER[dataset]


def demo(variant: str) -> Recipe:
    """Return the demo's settings: the tiny CLIP of printed characters on handwritten digits.

    The same for all seeds, and but for beta for both methods, chosen on the validation split of
    the digits. MMRL++'s beta: of 0.3, 0.6, 0.9 and 1, the harmonic means over seeds 11 to 14 are
    76.4, 77.0, 78.2 and 80.2; that of 1 is the highest with each of these seeds.
    """
    beta = {"beta": 1.0} if variant == "mmrl++" else {}
    shared = {"start_layer": 2, "rep_dim": 64, "reg_weight": 3.0, **beta}
    train = TrainConfig(lr=2e-3, batch_size=16, epochs=30, flip=False)
    return Recipe(shared, train)


def baseline_training(
    method: Method,
    shots: Shots,
    dataset: str,
    source: str,
    overrides: Mapping[str, Any],
    seed: int,
) -> TrainConfig:
    """Return how a baseline is trained: a peer as its paper says, whatever the source.

    Of what is given by hand a peer takes what is not of MMRL's optimizer; the others train nothing
    and take the precision alone. Images are not flipped where MMRL's are not.
    """
    taken, train = ("precision",), TrainConfig()
    if (peer := next((name for name in PEERS if name == method), None)) is not None:
        taken = ("precision", "epochs", "batch_size", "flip", "augment")
        train = PEER_METHODS[peer].recipe(shots, dataset)
        train = changed(train, flip=source != "demo")
    return changed(train, **{k: v for k, v in overrides.items() if k in taken}, seed=seed)


def changed(train: TrainConfig, **changes: Any) -> TrainConfig:
    """Return the same training with some fields changed; unknown names are a UsageError."""
    return TrainConfig.from_dict({**train.to_dict(), **changes})


SWEEPS: Mapping[Sweep, tuple[Any, ...]] = {
    "variant": ("full", "w/o L", "w/o V", "w/o DS1", "w/o DS2", "w/o RS", "MMRL-dagger"),
    "rep_dim": (32, 128, 256, 512, 1024, 2048),
    "start_layer": (1, 2, 4, 6, 8, 10, 12),
    "num_rep_tokens": (1, 3, 5, 7, 9),
    "alpha": (0.0, 0.3, 0.5, 0.7, 1.0),
    "reg_weight": (0.0, 0.01, 0.1, 0.2, 0.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 10.0),
    "regularizer": ("cosine", "l1", "mse"),
}
"""What the ablation varies, with the values of the paper's Tables 4, 5, 8 and 9; for J and K, which
the paper shows in a figure without a list, a range around the default."""
_ABLATED_PARTS: Mapping[str, dict[str, Any]] = {
    "full": {},
    "w/o L": {"token_sides": "image"},
    "w/o V": {"token_sides": "text"},
    "w/o DS1": {},
    "w/o DS2": {},
    "w/o RS": {"space": "independent"},
    "MMRL-dagger": {"space": "text_to_image"},
}
"""Of Table 4. DS1 and DS2 are trained as the full method; they differ in how classes are scored."""


def ablated(sweep: str, value: Any) -> dict[str, Any]:
    """Return the fields of MMRLConfig at one point of a sweep.

    Raises:
        UsageError: a sweep or variant that is not known, or a value of the wrong kind.
    """
    if sweep not in SWEEPS:
        raise UsageError(f"sweep is {sweep!r}; it has to be one of {', '.join(SWEEPS)}.")
    if sweep == "variant":
        if value not in _ABLATED_PARTS:
            raise UsageError(
                f"variant is {value!r}; it has to be one of {', '.join(_ABLATED_PARTS)}."
            )
        return _ABLATED_PARTS[value]
    MMRLConfig.from_dict({sweep: value})  # a wrong value is named before anything runs
    return {sweep: value}


def sweep_values(sweep: Sweep, variant: str, model: str) -> list[Any]:
    """Return the points of a sweep that this method and this model can have.

    MMRL++ always has a shared space, for example, and J has at most the number of layers.

    Raises:
        UsageError: a sweep or a model that is not known.
    """
    if sweep not in SWEEPS:
        raise UsageError(f"sweep is {sweep!r}; it has to be one of {', '.join(SWEEPS)}.")
    values = [value for value in SWEEPS[sweep] if _possible(variant, sweep, value)]
    if sweep != "start_layer":
        return values
    config = base_config(ModelName.parse(model))
    counted, image = depths(config) if config else (None, None)
    counted = counted or 12  # of timm's towers, which are not built here
    lowest = lowest_start_layer(counted, image or counted)
    return [value for value in values if lowest <= value <= counted]


def _possible(variant: str, sweep: str, value: Any) -> bool:
    try:
        MMRLConfig.from_dict({"variant": variant, **ablated(sweep, value)})
    except UsageError:
        return False
    return True
