"""The model card of a shared adapter: README.md with metadata that the hub reads.

What is written comes from the adapter's header and from the results of runs. Every text of data is
escaped: a class may be called `<b>` or `[a](b)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from statistics import mean
from typing import Any

from ..data.dataset import dataset_name
from ..data.more_prompts import wording
from ..data.prompts import DEFAULT_TEMPLATE
from ..utils.text import listing, markdown_text
from .adapter_info import AdapterInfo
from .card_scores import (
    ScoredRun,
    certainty_section,
    columns,
    get,
    line,
    run_of_header,
    scores_section,
    words,
)
from .names import ModelName

_MAX_CLASSES = 1000
"""Named in the card; a page of the hub is no place for more."""
_LOCAL = "local-dir:"
_FOLDED = 50
"""Classes from which on their list is folded."""
_SOURCES = {
    "custom": "as given to the command that trained it; what was not given is the default",
    "fixed": "one set for all data sets, the default",
    "paper": "the paper's for this data set, which its authors chose on *test* images",
    "demo": "those of the package's demo",
    "validation": "chosen for each run on a quarter of its own training images",
}


def model_card(
    info: AdapterInfo,
    runs: Sequence[ScoredRun] = (),
    *,
    repo: str | None = None,
    license: str | None = None,
) -> str:
    """Return the text of README.md.

    Args:
        info: header of the adapter.
        runs: results of the adapter's run and of runs that differ in nothing but the seed; without
            any, what the header says.
        repo: "user/name" on the hub, where it is known.
        license: its identifier on the hub, as "mit"; None leaves the choice to whoever shares it.
    """
    runs = runs or run_of_header(info)
    name = str(ModelName(_base_name(info), info.config.variant))
    title = f"{runs[0].dataset}, {name}" if runs else name
    parts = {
        "How to load it": _loading(name, repo or "USER/NAME"),
        "Scores": scores_section(runs),
        f"Classes ({len(info.class_names):,})": _classes(info),
        "Data and training": _training(info, runs),
        "Settings": _settings(info),
        "How sure it is": certainty_section(info, runs),
        "Limits": _limits(info, runs),
        "License": _license(license),
    }
    lines = ["---", _metadata(info, runs, title, license), "---", ""]
    lines += [f"# {markdown_text(title)}", "", _opening(info)]
    for head, body in parts.items():
        lines += ["", f"## {head}", "", *body]
    return "\n".join(lines) + "\n"


def base_repository(info: AdapterInfo) -> str | None:
    """Return the repository of the base weights on the hub, where open_clip knows one."""
    from open_clip.pretrained import get_pretrained_cfg

    base = info.base.model or ""
    if base.startswith("hf-hub:"):
        return base.removeprefix("hf-hub:")
    known: Any = get_pretrained_cfg(base, info.base.pretrained or "")
    return known.get("hf_hub", "").rpartition("/")[0] or None


def _metadata(info: AdapterInfo, runs: Sequence[ScoredRun], title: str, license: str | None) -> str:
    """Return the YAML, written by huggingface_hub, which escapes it."""
    from huggingface_hub import EvalResult, ModelCardData

    seeds = "" if len(runs) < 2 else f", mean of {len(runs)} seeds"
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=runs[0].dataset,
            dataset_name=runs[0].dataset,
            dataset_split=runs[0].test_split,
            metric_type="accuracy",
            metric_name=f"{words(key)} in %{seeds}",
            metric_value=round(mean(values), 2),
        )
        for key, values in columns(runs, "metrics").items()
    ]
    base = base_repository(info)
    data = ModelCardData(
        license=license,
        library_name="open_clip_mmrl",
        tags=["open_clip", "clip", info.config.variant, "few-shot", "adapter"],
        pipeline_tag="image-classification",
        base_model=base,
        base_model_relation="adapter" if base else None,
        model_name=title,
        eval_results=results or None,
    )
    return data.to_yaml()


def _opening(info: AdapterInfo) -> str:
    base, weights = _base_name(info), _weights(info)
    method = {"mmrl": "MMRL", "mmrl++": "MMRL++"}[info.config.variant]
    return (
        f"A few-shot adapter ({method}) for open_clip's {markdown_text(base)} ({weights}): learned "
        "tokens in the upper layers of both towers of a frozen CLIP. This repository holds what "
        "was trained, and nothing of the base, which is loaded on first use. It needs the Python "
        "package open_clip_mmrl."
    )


def _base_name(info: AdapterInfo) -> str:
    """Return the name of the base; of a local folder without the way to it."""
    name = info.base.model or "a base without a name"
    return _LOCAL + PurePath(name).name if name.startswith(_LOCAL) else name


def _is_file(info: AdapterInfo) -> bool:
    source = info.base.pretrained or ""
    return PurePath(source).name != source and not source.startswith("hf-hub:")


def _weights(info: AdapterInfo) -> str:
    """Return the base weights in words; of a file its name, not where it lay."""
    name = info.base.pretrained or "without a name"
    if _is_file(info):
        return f"weights from the file {markdown_text(PurePath(name).name)}"
    return f"weights {markdown_text(name)}"


def _loading(name: str, repo: str) -> list[str]:
    return [
        "```python",
        "from open_clip_mmrl import FewShotClassifier",
        "",
        "# The name of the repository, or the path of this folder.",
        f'classifier = FewShotClassifier.from_pretrained("{repo}")',
        'classifier.predict(["photo.jpg"])',
        'classifier.add_classes(["okapi"])  # by name alone, without training',
        "```",
        "",
        "As an open_clip model:",
        "",
        "```python",
        "import open_clip",
        "import open_clip_mmrl  # without it, open_clip cannot build this model",
        "",
        f'model, _, preprocess = open_clip.create_model_and_transforms("hf-hub:{repo}")',
        f'tokenizer = open_clip.get_tokenizer("{name}")',
        "```",
        "",
        "On the command line:",
        "",
        "```bash",
        f"open-clip-mmrl predict --adapter hf-hub:{repo} photos",
        "```",
        "",
        'A revision is added with an at sign, as in "user/name@v1".',
    ]


def _classes(info: AdapterInfo) -> list[str]:
    if not info.class_names:
        return ["The adapter names none: it was saved without class names."]
    names = f"Names: {markdown_text(listing(info.class_names, _MAX_CLASSES))}."
    if len(info.class_names) > _FOLDED:
        names = f"<details><summary>All names</summary>\n\n{names}\n\n</details>"
    prompt = info.template or DEFAULT_TEMPLATE
    return [f'Prompt: "{markdown_text(wording(prompt, info.prompts))}"', "", names]


def _training(info: AdapterInfo, runs: Sequence[ScoredRun]) -> list[str]:
    settings, train = info.settings, get(info.settings, "train", dict) or {}
    data = get(settings, "data", str)
    facts = {
        "data set": dataset_name(data) if data else runs[0].dataset if runs else None,
        "kind of data": data.partition(":")[0] if data and ":" in data else None,
        "images per class": get(settings, "shots", int) or get(settings, "shots", str),
        "classes trained on": {
            "all": "all of the data set",
            "base": "the first half of the data set's (base)",
        }.get(get(settings, "classes", str) or ""),
        "seed": get(train, "seed", int),
        **{name: value for name, value in train.items() if name != "seed"},
        "written with": _versions(info),
    }
    known = {name: value for name, value in facts.items() if value is not None}
    return _table(known) if known else ["Not recorded in the adapter."]


def _versions(info: AdapterInfo) -> str | None:
    own, others = info.provenance, get(info.provenance, "environment", dict) or {}
    packages = ("open_clip_mmrl", "open_clip_torch", "torch")
    found = {name: own.get(name) or others.get(name) for name in packages}
    return ", ".join(f"{name} {value}" for name, value in found.items() if value) or None


def _settings(info: AdapterInfo) -> list[str]:
    source = get(info.settings, "settings_source", str)
    given = get(info.settings, "settings", dict) or {}
    where = _SOURCES.get(source or "", "not recorded")
    if source == "custom" and given:
        where += f"; given: {listing(given)}"
    return [f"Where they come from: {where}.", "", *_table(info.config.to_dict())]


def _limits(info: AdapterInfo, runs: Sequence[ScoredRun]) -> list[str]:
    return [f"- {text}" for text in _limit_texts(info, runs)]


def _limit_texts(info: AdapterInfo, runs: Sequence[ScoredRun]) -> Iterator[str]:
    main = "hm" if "hm" in columns(runs, "metrics") else "accuracy"
    ours, frozen = (columns(runs, kind).get(main, []) for kind in ("metrics", "zero_shot"))
    if ours and frozen and mean(ours) <= mean(frozen):
        yield "**It is no better than frozen CLIP on these images.**"
    if not runs:
        yield "How good it is was not recorded: score it (`open-clip-mmrl eval`) before use."
    elif len(runs) == 1:
        yield "The scores are of one seed: how much they vary is not known."
    if runs:
        yield "The scores hold for images like those tested; on others it may do worse."
    if "novel" not in columns(runs, "metrics"):
        yield (
            "Classes that are added by name are scored by the class feature alone; how good it is "
            "for them was not measured."
        )
    if info.calibration is None:
        yield "It always answers with one of its classes, also for images of none of them."
    if get(info.settings, "settings_source", str) == "paper":
        yield "Its settings were chosen on test images, so its scores are optimistic."
    if (info.base.model or "").startswith(_LOCAL):
        yield (
            "Its base is a folder that is not in this repository: it loads only where that folder "
            "lies at the same path."
        )
    elif _is_file(info):
        yield (
            f"Its base has {_weights(info)}, which is not in this repository: give its place "
            "(`--pretrained`, `pretrained=`)."
        )
    yield (
        "It works on this base only, which is recognized by its weights; what the base has learned "
        "to confuse or to prefer, it keeps."
    )


def _license(license: str | None) -> list[str]:
    if license:
        return [f"{markdown_text(license)}. The base weights have their own."]
    return ["Not given by whoever shares this adapter. The base weights have their own."]


def _table(values: Mapping[str, object]) -> list[str]:
    rows = ([markdown_text(name), markdown_text(str(value))] for name, value in values.items())
    return [line(["name", "value"]), line(["---", "---"]), *map(line, rows)]
