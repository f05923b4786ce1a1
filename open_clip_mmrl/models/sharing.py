"""How models and classifiers are shared: `save_pretrained`, `from_pretrained`, `push_to_hub`.

What they do is in `hub.shared_folder`, which is imported by its name when one of them is called,
since a room below must not need one above.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from typing_extensions import Self


class Shareable:
    """Something with `save` and `load`, as a classifier, and the methods of the hub's libraries."""

    if TYPE_CHECKING:
        save: Callable[..., Path]
        load: Callable[..., Any]

    def save_pretrained(
        self, folder: str | Path, *, license: str | None = None, **adapter: Any
    ) -> Path:
        """Write a folder to share: the adapter, a config for open_clip, a model card.

        Args:
            folder: its path; one of an earlier call is replaced, one with other files refused.
            license: of the adapter, for the model card, as "mit".
            adapter: of a model, arguments of `save_adapter`: `class_names`, `template`, `scores`,
                ...; a classifier knows its own.

        Returns:
            The folder.

        Raises:
            ValueError: the adapter cannot be written, or the name of its base is not known.

        Example:
            >>> import open_clip, open_clip_mmrl
            >>> model = open_clip.create_model("mmrl-ViT-Ti-8-glyphs", pretrained="printed")
            >>> folder = model.save_pretrained("shared", class_names=["cat", "dog"])
            >>> sorted(path.name for path in folder.iterdir())
            ['README.md', 'adapter.safetensors', 'open_clip_config.json']
            >>> model = open_clip_mmrl.MMRLCLIP.from_pretrained(folder)
        """
        write = partial(self._write_adapter, **adapter)
        return _hub("shared_folder").save_folder(folder, write, license=license)

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        message: str = "Upload an adapter",
        license: str | None = None,
        **adapter: Any,
    ) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face hub.

        Args:
            repo: "user/name"; created if there is none.
            private: whether a new repository is private; None leaves it to the account.
            token: None takes that of HF_TOKEN or `hf auth login`.
            message: of the commit.
            license: as in `save_pretrained`.
            adapter: as in `save_pretrained`.

        Returns:
            The repository's address.

        Raises:
            ValueError: as `save_pretrained`; or the hub cannot be reached, or refuses.
        """
        return _hub("shared_folder").push_folder(
            repo,
            partial(self._write_adapter, **adapter),
            private=private,
            token=token,
            message=message,
            license=license,
        )

    @classmethod
    def from_pretrained(
        cls,
        where: str | Path,
        *,
        pretrained: str | None = None,
        device: str | None = None,
        token: str | None = None,
        cache_dir: str | None = None,
    ) -> Self:
        """Return what a folder, an adapter file or a repository on the hub holds.

        Args:
            where: a path; or "user/name" or "user/name@revision", which is downloaded.
            pretrained: the base weights, where those named in the adapter are not found.
            device: "cpu", "cuda", ...; by default the CPU for a model, the best for a classifier.
            token: for a private repository; None takes that of HF_TOKEN or `hf auth login`.
            cache_dir: of downloads; None takes huggingface_hub's.

        Raises:
            ValueError: there is none, or it cannot be used; the message says why.
        """
        path = _hub("shared_folder").find_shared(where, token=token, cache_dir=cache_dir)
        return cls._of_adapter(path, pretrained, device)

    def _write_adapter(self, path: Path, **adapter: Any) -> Path:
        return self.save(path, **adapter)

    @classmethod
    def _of_adapter(cls, path: Path, pretrained: str | None, device: str | None) -> Any:
        return cls.load(path, pretrained=pretrained, device=device)


class ShareableModel(Shareable):
    """The same of `MMRLCLIP`."""

    def _write_adapter(self, path: Path, **adapter: Any) -> Path:
        return _hub("adapter_file").save_adapter(self, path, **adapter)

    @classmethod
    def _of_adapter(cls, path: Path, pretrained: str | None, device: str | None) -> Any:
        place = torch.device(device or "cpu")
        return (
            _hub("load").build_from_adapter(path, base_pretrained=pretrained, device=place)[0].model
        )


def _hub(module: str) -> Any:
    return importlib.import_module(f"...hub.{module}", __name__)
