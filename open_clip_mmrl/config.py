"""Settings of the method and of one training run: frozen, keyword-only, validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from .errors import UsageError
from .utils.text import did_you_mean

if TYPE_CHECKING:
    from typing_extensions import Self

Variant = Literal["mmrl", "mmrl++"]
Peer = Literal["tip_adapter", "tip_adapter_f", "coop", "clip_lora"]
Method = Literal["zeroshot", "linear_probe", Peer, "mmrl", "mmrl++"]
Precision = Literal["fp32", "amp_bf16", "amp_fp16", "bf16", "fp16"]
Augment = Literal["classic", "device"]
Fusion = Literal["logits", "probabilities"]
Engine = Literal["local", "slurm", "ray"]
Protocol = Literal[
    "base-to-novel", "few-shot", "cross-dataset", "domain-generalization", "ablation"
]
SettingsSource = Literal["paper", "fixed", "validation", "demo"]
Sweep = Literal[
    "variant", "rep_dim", "start_layer", "num_rep_tokens", "alpha", "reg_weight", "regularizer"
]
TokenSides = Literal["both", "image", "text"]
Space = Literal["shared", "independent", "text_to_image"]
Regularizer = Literal["cosine", "l1", "mse"]
Shots = int | Literal["all"]
"""Images per class."""

VARIANTS: tuple[Variant, ...] = get_args(Variant)
PEERS: tuple[Peer, ...] = get_args(Peer)
"""Methods of others that can be run next to ours; see `peers`."""
METHODS: tuple[Method, ...] = get_args(Method)
USUAL_METHODS: tuple[Method, ...] = tuple(method for method in METHODS if method not in PEERS)
"""Run where none is named."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
AUGMENTS: tuple[Augment, ...] = get_args(Augment)
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
SOURCES: tuple[SettingsSource, ...] = get_args(SettingsSource)
SWEEP_NAMES: tuple[Sweep, ...] = get_args(Sweep)
TOKEN_SIDES: tuple[TokenSides, ...] = get_args(TokenSides)
SPACES: tuple[Space, ...] = get_args(Space)
REGULARIZERS: tuple[Regularizer, ...] = get_args(Regularizer)
CACHE_GB = 4.0
"""Default bound of the decoded training images kept in memory, in 10^9 bytes; an image of
500 x 375 pixels takes 0.56 * 10^6."""

NORM_TERMS = ("norm_weight", "sequence_weight")
LOSS_TERMS = (*NORM_TERMS, "margin_weight", "margin_variance_weight", "moment_weight")
"""Fields of MMRLConfig: weights of terms that the method's own loss has not."""
_LATER = (*LOSS_TERMS, "text_cache")
"""Fields that earlier versions did not write."""
FREE_FIELDS = ("alpha", "beta", "reg_weight", *LOSS_TERMS)
"""Those that may be chosen again for a learner that is there; all others are part of its shape."""

_MAX = 1e30
"""Of factors and rates: float32 still holds them."""
_RANGE = f"a number from 0 to {_MAX:g}"
_MAX_TOKENS = 1_024
"""Per layer; attention takes memory by their square. The paper tries up to 9."""
_MAX_WIDTH = 65_536
"""Of what is learned; a small file must not make us build more."""


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise UsageError(f"{name} is {value!r:.200}, but it has to be {allowed}.")


def _is_int(value: object, low: int, high: int = 2**63 - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_real(value: object, low: float = 0.0, high: float = _MAX) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and low <= value <= high


@dataclass(frozen=True, kw_only=True)
class _Config:
    """What both configs share: from a mapping, to a dict, unknown names with a suggestion."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping of fields.

        Raises:
            UsageError: an unknown field (the message names the nearest one) or a wrong value.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise UsageError(
                    f"{cls.__name__} has no field {key!r}.{did_you_mean(key, known)} "
                    f"Fields: {', '.join(known)}."
                )
        return cls(**values)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values in some fields, checked too."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; `_LATER` only where they are used."""
        usual = {f.name: f.default for f in fields(self) if f.name in _LATER}
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: v for k, v in values.items() if k not in usual or v != usual[k]}


@dataclass(frozen=True, kw_only=True)
class MMRLConfig(_Config):
    """The method's settings. Defaults are the paper's where it has one value for all data sets.

    The two variants differ only in their maps and in the default of `beta`. `token_sides`, `space`
    and `regularizer` make the variants of the paper's ablation (tables 4 and 9); their defaults
    are the method itself.

    Raises:
        UsageError: a value that is not allowed; the message names it and what is allowed.

    Example:
        >>> MMRLConfig(variant="mmrl++", reg_weight=3.0).beta
        0.9
        >>> MMRLConfig.from_dict({"rep_dimm": 64})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        open_clip_mmrl.errors.UsageError: MMRLConfig has no field 'rep_dimm'. Did you mean ...
    """

    variant: Variant = "mmrl"
    """"mmrl": a full map per layer; "mmrl++": one shared map per tower, low-rank residuals."""
    num_rep_tokens: int = 5
    """K, representation tokens per layer."""
    rep_dim: int = 512
    """d_r, width of the representation space; ignored where `space` is not "shared"."""
    start_layer: int = 6
    """J, first layer of the *text* tower with tokens, 1-based. The image tower gets as many
    token layers, counted from its top, so towers of different depth work."""
    alpha: float = 0.7
    """Weight of the class feature against the representation feature, in loss and fusion."""
    beta: float | None = None
    """Share of a layer's tokens against the previous layer's output tokens; 1 replaces those.
    None becomes 1 for "mmrl" and 0.9 (the released ImageNet setting) for "mmrl++"."""
    reg_weight: float = 0.5
    """lambda, weight of the regularization towards frozen CLIP. 0.5 has the best mean over the
    eleven data sets in the paper's Table 8. Published values are for a logit scale of 100, that of
    OpenAI's weights. Here the scale is the model's own, and where it is not 100 the cross-entropies
    differ, so the same lambda weighs more or less."""
    residual_rank: int = 4
    """r, rank of each layer's residual; used by "mmrl++"."""
    proj_rank: int = 64
    """Rank of the residual of the representation feature's projection; used by "mmrl++"."""
    token_sides: TokenSides = "both"
    """Which towers get tokens. "image" is the paper's `w/o L`: text features stay frozen CLIP's.
    "text" is its `w/o V`: the only image feature is frozen CLIP's class feature, and `alpha` is
    not used."""
    space: Space = "shared"
    """Where tokens come from. "shared": maps of one space. "independent" is `w/o RS`: separate
    parameters in every tower and layer. "text_to_image" is `MMRL-dagger`: free in the text
    tower, and mapped from there to the image tower layer by layer."""
    regularizer: Regularizer = "cosine"
    """Distance to frozen CLIP: "cosine", "l1" or "mse"."""
    norm_weight: float = 0.0
    """Of a term of the loss that aligns the lengths of the two image features (published: 0.1).
    For this and the next four see `MMRLLoss`; 0, the method itself, is not written to files."""
    sequence_weight: float = 0.0
    """Of the same for token and class rows in every layer. With `beta` 1 it costs time."""
    margin_weight: float = 0.0
    margin_variance_weight: float = 0.0
    moment_weight: float = 0.0

    def __post_init__(self) -> None:
        aliases = {"mmrlpp": "mmrl++"}
        object.__setattr__(self, "variant", aliases.get(self.variant, self.variant))
        _require(self.variant in VARIANTS, "variant", self.variant, f"one of {VARIANTS}")
        if self.beta is None:
            object.__setattr__(self, "beta", 1.0 if self.variant == "mmrl" else 0.9)
        for name in ("num_rep_tokens", "rep_dim", "start_layer", "residual_rank", "proj_rank"):
            value = getattr(self, name)
            high = _MAX_TOKENS if name == "num_rep_tokens" else _MAX_WIDTH
            _require(_is_int(value, 1, high), name, value, f"a whole number from 1 to {high:,}")
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            _require(_is_real(value, 0, 1), name, value, "a number from 0 to 1")
        for name in ("reg_weight", *LOSS_TERMS):
            _require(_is_real(getattr(self, name)), name, getattr(self, name), _RANGE)
        words = {"token_sides": TOKEN_SIDES, "space": SPACES, "regularizer": REGULARIZERS}
        for name, allowed in words.items():
            value = getattr(self, name)
            _require(value in allowed, name, value, f"one of {allowed}")
        if self.variant != "mmrl":
            _require(self.space == "shared", "space", self.space, "'shared' with 'mmrl++'")
        if self.space == "text_to_image":
            sides = "'both' with space 'text_to_image', whose image tokens are made of text tokens"
            _require(self.token_sides == "both", "token_sides", self.token_sides, sides)
        if self.token_sides == "text":
            for name in NORM_TERMS:
                value = getattr(self, name)
                _require(value == 0, name, value, "0 without image tokens (token_sides 'text')")


def merged_config(
    stored: MMRLConfig | Mapping[str, Any], given: MMRLConfig | Mapping[str, Any] | None
) -> MMRLConfig:
    """Return a stored config with the fields that are given; a whole config replaces it.

    The other variant takes its own default of beta.
    """
    if isinstance(given, MMRLConfig):
        return given
    stored, given = as_config(stored), dict(given or {})
    if given.get("variant", stored.variant) != stored.variant:
        given = {"beta": None, **given}
    return MMRLConfig.from_dict({**stored.to_dict(), **given})


def as_config(value: MMRLConfig | Mapping[str, Any]) -> MMRLConfig:
    """Return a config, given one or a mapping of its fields."""
    return value if isinstance(value, MMRLConfig) else MMRLConfig.from_dict(value)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(_Config):
    """One few-shot training run: AdamW, a learning rate per epoch, the last model is kept.

    Raises:
        UsageError: a value that is not allowed; the message names it and what is allowed.

    Example:
        >>> TrainConfig(epochs=30, precision="amp_bf16").to_dict()["betas"]
        [0.9, 0.999]
    """

    epochs: int = 10
    batch_size: int = 4
    """Images per step. For few-shot runs the released configuration files say 32, the paper's
    Appendix A says 4 except on ImageNet; recipes take the files' value."""
    lr: float = 1e-3
    warmup_lr: float = 1e-5
    """Learning rate of epoch 0, when there is more than one epoch."""
    weight_decay: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    precision: Precision = "fp32"
    """"fp32"; autocast with "amp_bf16" / "amp_fp16"; or the frozen base kept and run in "bf16" /
    "fp16". What is trained is float32 in all of them. All released runs trained in mixed
    precision; the default here is fp32."""
    text_chunk_size: int | None = None
    """Prompts at a time, computed again in the backward pass: less memory, more time."""
    text_cache: bool = True
    """Keep what the frozen text layers below the tokens return for every class; False runs them
    again for every `text_chunk_size` prompts, in the precision of the step."""
    flip: bool = True
    """Random horizontal flips in training. Off for characters: mirrored, they are others."""
    augment: Augment = "classic"
    """Where random crops and flips are made: "classic", image by image while loading; "device",
    batch by batch on the device of the model, with the same draws."""
    seed: int = 1
    """Seeds the few-shot subset, the new parameters, the order and the augmentation."""

    def steps(self, images: int) -> int:
        """Return the steps of a training on so many images; an incomplete last batch is none."""
        return max(images // self.batch_size, 1) * self.epochs

    def __post_init__(self) -> None:
        is_pair = isinstance(self.betas, list | tuple) and len(self.betas) == 2
        if is_pair:
            object.__setattr__(self, "betas", tuple(self.betas))
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            _require(_is_int(value, 1), name, value, "a whole number from 1 up")
        chunk = self.text_chunk_size
        allowed = "a whole number from 1 up, or None"
        _require(chunk is None or _is_int(chunk, 1), "text_chunk_size", chunk, allowed)
        allowed = "True, or False where text_chunk_size is given"
        is_allowed = self.text_cache is True or (self.text_cache is False and chunk is not None)
        _require(is_allowed, "text_cache", self.text_cache, allowed)
        for name in ("lr", "warmup_lr", "weight_decay"):
            value = getattr(self, name)
            _require(_is_real(value), name, value, _RANGE)
        _require(
            is_pair and all(_is_real(b, 0, 1) and b < 1 for b in self.betas),
            "betas",
            self.betas,
            "two numbers from 0 to below 1",
        )
        _require(self.precision in PRECISIONS, "precision", self.precision, f"one of {PRECISIONS}")
        _require(self.augment in AUGMENTS, "augment", self.augment, f"one of {AUGMENTS}")
        _require(isinstance(self.flip, bool), "flip", self.flip, "True or False")
        _require(_is_int(self.seed, 0), "seed", self.seed, "a whole number from 0 to 2**63 - 1")
