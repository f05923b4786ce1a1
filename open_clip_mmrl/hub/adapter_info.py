"""The header of an adapter file as a value: checked once when it is read, then passed on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..config import MMRLConfig
from ..data.more_prompts import MorePrompts
from ..errors import UsageError
from ..utils.digest import json_digest
from .adapter_header import (
    FORMAT_VERSION,
    READABLE_VERSIONS,
    WITH_PROMPTS,
    HeldBack,
    check_header,
    parse_json,
)

_OWN = "header_sha256"


@dataclass(frozen=True)
class Fingerprint:
    """What distinguishes one set of base weights from another; see `base_fingerprint`.

    Attributes:
        sha256: digest of sampled values of every frozen tensor, except position embeddings.
        dtype: the dtypes of these tensors, "float32" or "float16+float32".
        means: mean magnitude of the samples of each tensor.
        positions: digest of the position embeddings, by name and number of rows.
    """

    sha256: str
    dtype: str
    means: list[float]
    positions: dict[str, str]


@dataclass(frozen=True)
class BaseInfo:
    """What has to agree before an adapter may be used, and how the base was run.

    Attributes:
        model: open_clip's name of the base; None where it was not known.
        pretrained: its tag, or the path of its checkpoint; None where it was not known.
        quick_gelu: whether the towers ran QuickGELU.
        shape: widths and depths of the towers, by name.
        fingerprint: of the base weights.
        image_size: height and width in pixels.
        context_length: tokens per prompt.
        preprocess: open_clip's preprocessing config, or None.
    """

    model: str | None
    pretrained: str | None
    quick_gelu: bool
    shape: dict[str, int]
    fingerprint: Fingerprint
    image_size: list[int]
    context_length: int
    preprocess: dict[str, Any] | None


@dataclass(frozen=True)
class Calibration:
    """What held-back images tell of how sure to be; see `evaluation.calibration`.

    It holds for the adapter's own classes, alpha and beta.

    Attributes:
        held_back: what the images are: "shots" that were not trained on, or "val".
        temperature: by the fusion of the scores that it divides.
        true_probability: of every image's true class, by fusion, at temperature 1.
        max_softmax: of every image, of the cosines at temperature 1, ascending.
        image_means: see `evaluation.mean_image`; None in older files.
    """

    held_back: HeldBack
    temperature: dict[str, float]
    true_probability: dict[str, list[float]]
    max_softmax: list[float]
    image_means: dict[str, list[float]] | None = None

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> Calibration:
        """Return the values of a header that was checked.

        Raises:
            ValueError: by their digest, they are not those that were saved.
        """
        if json_digest(header, "sha256") != header["sha256"]:
            raise ValueError("whose calibration is damaged: it does not have its digest")
        return cls(**{f.name: header[f.name] for f in fields(cls) if f.name in header})

    def to_header(self) -> dict[str, Any]:
        """Return the fields and their digest."""
        own = {name: value for name, value in asdict(self).items() if value is not None}
        return {**own, "sha256": json_digest(own, "sha256")}


@dataclass(frozen=True)
class AdapterInfo:
    """The header of the adapter file at `path`; a path itself wherever one is taken.

    Attributes:
        path: the file it was read from.
        config: the method's config.
        base: the base model it belongs to.
        class_names: the classes of the training.
        template: their prompt, with {} for the class name.
        prompts: what is written for classes besides the template.
        settings: how it was trained, for the record.
        scores: how it was scored, for the record.
        tensors_sha256: digest of the tensors, see `tensors_digest`; None in files of version 1.
        calibration: of training with `--calibrate`; else None.
        provenance: version of this package ("open_clip_mmrl") and, of a run, its digest ("run"),
            that of what was trained on ("train_images", as in run.json), "seed" and
            "environment"; empty in older files.
        header_sha256: digest over all other fields; None in older files.
        unedited: whether the header has this digest; None where there is none to compare.
    """

    path: str | Path
    config: MMRLConfig
    base: BaseInfo
    class_names: list[str]
    template: str
    prompts: MorePrompts | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    tensors_sha256: str | None = None
    calibration: Calibration | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    header_sha256: str | None = None
    unedited: bool | None = None

    def __fspath__(self) -> str:
        return str(self.path)

    @classmethod
    def parse(cls, path: str | Path, text: str) -> AdapterInfo:
        """Read the JSON text of a file's header, and check all of it.

        Raises:
            ValueError: it is damaged, or of another format version.
        """
        try:
            header = parse_json(text)
        except ValueError as error:
            raise ValueError(f"{path} has a header {error}: train again.") from error
        version = header.get("format_version")
        if type(version) is not int or version not in READABLE_VERSIONS:
            raise ValueError(
                f"{path} has adapter format {str(version)[:40]}, this version of open_clip_mmrl "
                f"reads {', '.join(map(str, READABLE_VERSIONS))}: install the version that "
                "wrote it or a newer one."
            )
        try:
            config = check_header(header)
            calibration = header.get("calibration")
            calibration = calibration and Calibration.from_header(calibration)
            prompts = MorePrompts.from_json(header.get("prompts"))
        except UsageError as error:
            raise ValueError(
                f"{path} has a config that cannot be used: {error} A newer version of "
                "open_clip_mmrl may read it."
            ) from error
        except ValueError as error:
            raise ValueError(f"{path} has a header {error}: train again.") from error
        base = header["base"]
        known: dict[str, Any] = {f.name: base.get(f.name) for f in fields(BaseInfo)}
        prints = {f.name: base["fingerprint"][f.name] for f in fields(Fingerprint)}
        known["fingerprint"] = Fingerprint(**prints)
        return cls(
            path=path,
            config=config,
            base=BaseInfo(**known),
            class_names=header["class_names"],
            template=header["template"],
            prompts=prompts,
            settings=header.get("settings", {}),
            scores=header.get("scores", {}),
            tensors_sha256=header["tensors_sha256"] if version >= 2 else None,
            calibration=calibration,
            provenance=header.get("provenance", {}),
            header_sha256=(digest := header.get(_OWN)),
            unedited=None if digest is None else digest == json_digest(header, _OWN),
        )

    @property
    def image_means(self) -> dict[str, list[float]] | None:
        """Return those of the calibration, if it has any."""
        return None if self.calibration is None else self.calibration.image_means

    def trained_classes(self) -> list[str]:
        """Return the names of the classes trained on.

        Raises:
            ValueError: it names none.
        """
        if not self.class_names:
            raise ValueError(f"{self.path} names no classes: it was saved without class_names.")
        return self.class_names

    def to_dict(self) -> dict[str, Any]:
        """Return the header as it is in the file."""
        header = {
            "format_version": 1 if self.tensors_sha256 is None else FORMAT_VERSION,
            "config": self.config.to_dict(),
            "base": asdict(self.base),
            "class_names": list(self.class_names),
            "template": self.template,
            "settings": self.settings,
            "scores": self.scores,
        }
        if self.prompts is not None:
            header |= {"format_version": WITH_PROMPTS, "prompts": self.prompts.to_json()}
        if self.tensors_sha256 is not None:
            header["tensors_sha256"] = self.tensors_sha256
        if self.calibration is not None:
            header["calibration"] = self.calibration.to_header()
        if self.provenance:
            header["provenance"] = self.provenance
        if self.header_sha256 is not None:
            header[_OWN] = self.header_sha256
        return header

    def signed(self) -> dict[str, Any]:
        """Return the header of a new file, with the digest over it."""
        header = self.to_dict()
        return {**header, _OWN: json_digest(header, _OWN)}
