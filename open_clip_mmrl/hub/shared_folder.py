"""The folder in which an adapter is shared, here or on the hub: written, uploaded, found.

It holds three files: the adapter; `open_clip_config.json`, by which
`open_clip.create_model("hf-hub:user/name")` or `("local-dir:folder")` finds it once this package is
imported; and the model card, README.md. `MMRLCLIP`, `FewShotClassifier` and the command `share` all
come here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import UsageError
from ..utils.files import is_dir, is_file, json_bytes, new_folder
from .adapter_path import ADAPTER, adapter_path
from .adapter_reading import read_adapter
from .card_scores import ScoredRun
from .hub_repository import PREFIX, HubName, download, upload
from .model_card import model_card
from .shared_config import CONFIG, config_content

CARD = "README.md"
FILES = (ADAPTER, CONFIG, CARD)

Write = Callable[[Path], object]
"""Write the adapter file to a path."""


def save_folder(
    folder: str | Path,
    write: Write,
    *,
    runs: Sequence[ScoredRun] = (),
    license: str | None = None,
    repo: str | None = None,
) -> Path:
    """Write the folder, all of it or nothing; one of an earlier call is replaced.

    Args:
        folder: its path; if it is there, it may hold nothing but these three files.
        write: writes the adapter.
        runs: for the scores in the model card; by default those in the adapter's header.
        license: of the adapter, for the model card.
        repo: "user/name" to load it from, for the model card.

    Returns:
        The folder.

    Raises:
        UsageError: the folder holds other files, or the adapter does not name its base.
        OSError: it cannot be written.
    """
    with new_folder(folder, replace=FILES) as new:
        write(new / ADAPTER)
        info = read_adapter(new / ADAPTER)
        (new / CONFIG).write_bytes(json_bytes(config_content(info)))
        card = model_card(info, runs, repo=repo, license=license)
        (new / CARD).write_text(card, encoding="utf-8")
    return Path(folder)


def push_folder(
    repo: str,
    write: Write,
    *,
    private: bool | None = None,
    token: str | None = None,
    message: str = "Upload an adapter",
    runs: Sequence[ScoredRun] = (),
    license: str | None = None,
) -> str:
    """Write the folder, upload it, return its address; see `save_folder` and `upload`."""
    name = HubName.parse(repo)
    with TemporaryDirectory() as place:
        folder = save_folder(
            Path(place) / "shared", write, runs=runs, license=license, repo=name.repo
        )
        return upload(folder, name, private=private, token=token, message=message)


def find_shared(
    where: str | Path, *, token: str | None = None, cache_dir: str | None = None
) -> Path:
    """Return the adapter file of a folder, a file, or a repository, which is downloaded.

    Args:
        where: a path that exists; else "user/name", "user/name@revision", or these after "hf-hub:".
        token: as huggingface_hub takes it.
        cache_dir: of downloads; None takes huggingface_hub's.

    Raises:
        UsageError: it is neither.
        ValueError: it cannot be downloaded.
    """
    if is_file(where) or is_dir(where):
        return adapter_path(where)
    try:
        return download(HubName.parse(str(where)), ADAPTER, token=token, cache_dir=cache_dir)
    except UsageError as error:
        if str(where).startswith(PREFIX):
            raise
        raise UsageError(f"There is no folder {where} here. {error}") from error
