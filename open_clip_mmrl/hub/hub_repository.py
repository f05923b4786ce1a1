"""Repositories on the Hugging Face hub: their names, files from and into them, clear errors.

All of it through huggingface_hub, which knows the endpoint (HF_ENDPOINT), the token (HF_TOKEN or
`hf auth login`), its cache and HF_HUB_OFFLINE. It is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError

PREFIX = "hf-hub:"
_LOGIN = "log in (hf auth login), or give a token (HF_TOKEN=..., or token= in Python)"
_PATIENCE = 5
"""Seconds to wait for an answer of the hub, before anything is downloaded."""


@dataclass(frozen=True)
class HubName:
    """The name of a repository, read once; `str()` returns "user/name@revision".

    Attributes:
        repo: "user/name".
        revision: a branch, a tag or a commit; None for the default branch.
    """

    repo: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Read "user/name", "user/name@revision", or either after "hf-hub:".

        Raises:
            UsageError: it is no such name.
        """
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id

        repo, at, revision = text.removeprefix(PREFIX).partition("@")
        try:
            validate_repo_id(repo)
        except HFValidationError:
            repo = ""
        if repo.count("/") != 1 or (at and not revision):
            raise UsageError(
                f"{text!r} is no name of a repository on the hub: write USER/NAME, of letters, "
                "digits, '-', '_' and '.', or USER/NAME@REVISION."
            )
        return cls(repo, revision or None)

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def is_hub_name(source: object) -> bool:
    """Return whether a text or path begins with "hf-hub:"."""
    return isinstance(source, str | Path) and str(source).startswith(PREFIX)


def download(
    name: HubName, file: str, *, token: str | None = None, cache_dir: str | None = None
) -> Path:
    """Return a file of a repository in huggingface_hub's cache, fetched if it is not there.

    What is cached is compared with the hub's version, where that can be reached.

    Raises:
        UsageError: no such repository, revision or file.
        ValueError: it cannot be fetched.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    where = {"revision": name.revision, "cache_dir": cache_dir}
    with _hub_errors(name, file):
        if not isinstance(try_to_load_from_cache(name.repo, file, **where), str):
            require_reachable(f"{name} is not in the cache, and")
        return Path(hf_hub_download(name.repo, file, token=token, **where))


def upload(
    folder: Path, name: HubName, *, private: bool | None, token: str | None, message: str
) -> str:
    """Put the files of a folder into a repository, in one commit; return its address.

    The repository is created if there is none; one that is there stays private or public.

    Args:
        folder: its files replace those of the same name.
        name: without a revision.
        private: whether a new repository is private; None leaves it to the account.
        token: as huggingface_hub takes it.
        message: of the commit.

    Raises:
        UsageError: no token, or one that may not write there; or a public repository is there
            where a private one was wanted.
        ValueError: it cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi

    if name.revision is not None:
        raise UsageError(f"{name}: a repository is given without @{name.revision} to write to it.")
    api = HfApi(token=token)
    with _hub_errors(name, "the files"):
        require_reachable("")
        url = api.create_repo(name.repo, private=private, exist_ok=True)
        if private and not api.model_info(name.repo).private:
            raise UsageError(
                f"{name} is there already, and public: nothing was uploaded. Make it private in "
                "its settings on the hub, or choose another name."
            )
        api.upload_folder(repo_id=name.repo, folder_path=folder, commit_message=message)
        return str(url)


def require_weights(place: str, *, cache_dir: str | None = None) -> None:
    """Raise ValueError at once where weights are neither in the cache nor to be had.

    Args:
        place: "organization/name/file" as in open_clip's tags; without a file its default ones.
        cache_dir: of downloads; None takes huggingface_hub's.
    """
    if cached_weights(place, cache_dir=cache_dir) is None:
        require_reachable(
            f"the weights {place.rpartition('/')[0]} are not in the cache (a file of them can be "
            "given instead), and"
        )


def cached_weights(place: str, *, cache_dir: str | None = None) -> str | None:
    """Return the file of weights in huggingface_hub's cache, see `require_weights`, or None."""
    from huggingface_hub import try_to_load_from_cache
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    repo, _, file = place.rpartition("/")
    names = [f"{Path(file).stem}.safetensors", file] if file else []
    for name in names or [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]:
        found = try_to_load_from_cache(repo, name, cache_dir=cache_dir)
        if isinstance(found, str):
            return found
    return None


def require_reachable(start: str) -> None:
    """Raise ValueError where the hub does not answer.

    A look without retries: huggingface_hub waits 23 seconds for each file before it gives up.

    Args:
        start: of the message.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    endpoint, off = constants.ENDPOINT, constants.HF_HUB_OFFLINE
    reason = "HF_HUB_OFFLINE is set"
    if not off:
        try:
            get_session().head(endpoint, timeout=_PATIENCE)
            return
        except Exception as error:  # of requests or httpx, by the version of huggingface_hub
            reason = str(error) or type(error).__name__
    remedy = "unset HF_HUB_OFFLINE" if off else "check the connection, a proxy, and HF_ENDPOINT"
    text = f"{start} {endpoint} cannot be reached ({reason:.200}): {remedy}."
    raise ValueError(text.strip())


@contextmanager
def _hub_errors(name: HubName, what: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub into one line: what was given, why not, what to do."""
    from huggingface_hub import constants, errors

    place = f"{name.repo} on {constants.ENDPOINT}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise UsageError(
            f"{place} is open to some only: ask there for access, then {_LOGIN}."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UsageError(
            f"There is no repository {place}, or it is private and not yours: check the name, or "
            f"{_LOGIN}."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UsageError(
            f"{place} has no revision {name.revision or 'main'!r}: give a branch, a tag or a "
            "commit of it."
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise _not_transferred(what, place, error) from error
    except errors.EntryNotFoundError as error:
        is_model = what == "open_clip_config.json"
        kind = "model of open_clip" if is_model else "adapter that was shared with open_clip_mmrl"
        raise UsageError(
            f"{place} holds no {what}: it is no {kind}. Check the name and the revision."
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            why = "without a token" if status == 401 else "with this token"
            raise UsageError(
                f"{place} does not let you do this {why}: {_LOGIN} that may write."
            ) from error
        raise ValueError(
            f"{place} answered with an error ({_short(error)}): try again later."
        ) from error
    except Exception as error:  # of requests or httpx, by the version of huggingface_hub; a disk
        if type(error) in (ValueError, UsageError):
            raise
        raise _not_transferred(what, place, error) from error


def _not_transferred(what: str, place: str, error: Exception) -> ValueError:
    return ValueError(f"{what} of {place} could not be transferred ({_short(error)}): try again.")


def _short(error: BaseException) -> str:
    cause = error.__cause__ or error  # the first does not say what happened
    return f"{type(cause).__name__}: {' '.join(str(cause).split()):.300}"
