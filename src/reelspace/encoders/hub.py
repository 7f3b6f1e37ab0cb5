"""The Hugging Face hub as far as weights need it: addresses, commits, the token, and its own cache on this machine.

Its documented HTTP routes and cache layout are used, so nothing has to be installed for it. The environment means
what it means there: HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN, HF_HOME, HF_HUB_CACHE.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from reelspace.encoders.download import get_json
from reelspace.errors import CheckpointError

__all__ = ["Commit", "cached_commit", "cached_file", "commit_at", "file_url", "offline", "token"]

_YES = frozenset({"1", "ON", "YES", "TRUE"})


class Commit(NamedTuple):
    """One state of a repository.

    Attributes:
        revision: 40 hex digits.
        files: the names of its files, as far as they are known.
    """

    revision: str
    files: tuple[str, ...]


def offline() -> bool:
    """Whether the environment forbids requests."""
    return any(os.environ.get(name, "").upper() in _YES for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def file_url(repo: str, revision: str, name: str) -> str:
    """Where a file of a repository is."""
    return f"{_endpoint()}/{repo}/resolve/{quote(revision, safe='')}/{quote(name)}"


def commit_at(repo: str, ref: str) -> Commit:
    """The commit that a branch, tag or commit is at now: one request.

    Raises:
        Unreachable: when the hub does not answer.
        CheckpointError: when there is no such repository or ref.
    """
    found = get_json(f"{_endpoint()}/api/models/{repo}/revision/{quote(ref, safe='')}", token=token())
    if found is None or "sha" not in found:
        raise CheckpointError(f"{_endpoint()} has no model {repo!r} at {ref!r}; look its name up there")
    return Commit(found["sha"], tuple(sorted(file["rfilename"] for file in found.get("siblings", ()))))


def cached_commit(repo: str, ref: str) -> Commit | None:
    """The same as the hub's own cache on this machine knows it."""
    folder = _cached_repo(repo)
    mark = folder / "refs" / ref
    revision = mark.read_text("utf-8").strip() if mark.is_file() else ref
    snapshot = folder / "snapshots" / revision
    if not snapshot.is_dir():
        return None
    names = (path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file())
    return Commit(revision, tuple(sorted(names)))


def cached_file(repo: str, revision: str, name: str) -> Path | None:
    """A file that another program fetched already."""
    path = _cached_repo(repo) / "snapshots" / revision / name
    return path.resolve() if path.is_file() else None


def token() -> str | None:
    """What the user signed in with."""
    given = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")
    kept = Path(os.environ.get("HF_TOKEN_PATH") or _home() / "token").expanduser()
    if given is None and kept.is_file():
        given = kept.read_text("utf-8")
    return (given or "").strip() or None


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _home() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(os.environ.get("HF_HOME") or cache / "huggingface").expanduser()


def _cached_repo(repo: str) -> Path:
    cache = Path(os.environ.get("HF_HUB_CACHE") or _home() / "hub").expanduser()
    return cache / f"models--{repo.replace('/', '--')}"
