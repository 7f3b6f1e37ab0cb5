"""Where checkpoints come from, and that they are what they were: the only place that downloads.

A store on this machine holds a folder for each checkpoint, shared by all processes: its files under the names of
the row, and ``manifest.json``, which says of each its size, SHA-256, commit, where it came from and when. What
nobody published is recorded there when a file first comes, and anything else is refused ever after, but for what
the user imports. For a warm store no request is made and no file is read: size and time of change stand for the
content.

Nothing is unpickled here.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from reelspace.encoders import hub
from reelspace.encoders.download import Unreachable, download
from reelspace.encoders.file_kinds import require_kind
from reelspace.encoders.hub import Commit
from reelspace.encoders.spec import WeightFile, Weights
from reelspace.errors import CheckpointError, InvalidArgument

__all__ = [
    "Checkpoint",
    "OnProgress",
    "OnReplaced",
    "checkpoint_of",
    "commit_of",
    "import_files",
    "is_here",
    "models_store",
]

OnProgress = Callable[[str, int, int | None], None]
"""Told a file's name, how many of its bytes are there, and how many there will be where the server says so."""

OnReplaced = Callable[[str, str, str], None]
"""Told a file's name, the SHA-256 of the one that was there, and that of the one in its place."""

_IMPORTED = "imported"  # stands for the commit of files that came without the network


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on this machine, verified.

    Attributes:
        files: path by the file's name in its row; those of one checkpoint lie in one folder.
        digest: SHA-256 over the sorted lines ``name sha256`` of all files, 64 hex digits.
    """

    files: Mapping[str, Path]
    digest: str

    @property
    def folder(self) -> Path:
        """The folder that the names of the files start from: what `from_pretrained` takes."""
        name, path = next(iter(self.files.items()))
        return path.parents[len(PurePosixPath(name).parts) - 1]


def checkpoint_of(
    weights: Weights, *, name: str | None = None, download: bool = True, on_progress: OnProgress | None = None
) -> Checkpoint:
    """The checkpoint on this machine, fetched first where it is missing, and verified.

    Args:
        weights: of a row.
        name: the row's, for messages.
        download: False to take only what is here.
        on_progress: hears of bytes as they come.

    Raises:
        CheckpointError: when a file is not here and cannot be fetched (saying what to run), or when what came, or
            what is here, is not what the row or the manifest says.
    """
    if not weights.files:
        return Checkpoint({}, _digest({}))
    asked = _Asked(weights, name, download, on_progress)
    if weights.folder is not None:
        return _in_place(asked, Path(weights.folder).expanduser().absolute())
    revision = _known_revision(weights)
    if revision is not None or weights.repo is None:
        shelf = _Shelf.of(weights, revision)
        if shelf.complete(weights):
            return shelf.checkpoint(weights)
    if weights.repo is not None and revision is None:
        revision = asked.commit().revision
    shelf = _Shelf.of(weights, revision)
    with _locked(shelf.folder):
        shelf.reread()
        for file in weights.files:
            if not shelf.has(file):
                _fetch(file, shelf, asked, revision)
    return shelf.checkpoint(weights)


def is_here(weights: Weights) -> bool:
    """Whether the checkpoint is on this machine: no request is made, and no file is read."""
    if weights.folder is not None:
        folder = Path(weights.folder).expanduser()
        return all((folder / file.name).is_file() for file in weights.files if not file.optional)
    revision = _known_revision(weights)
    if weights.repo is not None and revision is None:
        return not weights.files
    return _Shelf.of(weights, revision).complete(weights)


def import_files(
    weights: Weights,
    paths: Sequence[str | os.PathLike[str]],
    *,
    name: str | None = None,
    on_replaced: OnReplaced | None = None,
) -> Checkpoint:
    """Copies files that were brought here by other means into the store, verified as if they had been fetched.

    Where the row itself names no sum, they take the place of other files that came before: what was recorded of
    those guards against a change behind the user's back, and this is the user's own act.

    Args:
        weights: of a row.
        paths: matched with the row's files by name; the one file of a row may have any name. Of a folder, the
            row's files in it are taken.
        name: the row's, for messages.
        on_replaced: hears of each file that took the place of another.

    Raises:
        InvalidArgument: for a file that is not of this checkpoint, or weights that are not in the store.
        CheckpointError: when a file is not what the row or its own name says, or others are still missing.
    """
    if weights.folder is not None or not weights.files:
        raise InvalidArgument(f"{name or 'that encoder'} takes no files: its weights are in place")
    given = {_matching(weights, path): path for place in paths for path in _in(Path(place), weights)}
    revision = _known_revision(weights)
    if revision is None and weights.repo is not None:
        revision = _IMPORTED
    shelf = _Shelf.of(weights, revision)
    with _locked(shelf.folder):
        shelf.reread()
        for file, path in given.items():
            part = shelf.part_of(file)
            shutil.copyfile(path, part)
            replaced = shelf.admit(file, part, source=str(path.absolute()), revision=revision, may_replace=True)
            if replaced is not None and on_replaced is not None:
                on_replaced(file.name, *replaced)
        if revision == _IMPORTED and weights.repo is not None:
            _write_json(_ref_path(weights.repo, _IMPORTED), {"revision": revision, "files": [], "when": _now()})
        for file in weights.files:
            if file.optional and not shelf.has(file):
                shelf.leave_out(file)
    missing = [file.name for file in weights.files if not shelf.has(file)]
    if missing:
        raise CheckpointError(f"imported, but {name or 'the checkpoint'} also needs {', '.join(missing)}")
    return shelf.checkpoint(weights)


def commit_of(repo: str, ref: str = "main", *, name: str | None = None) -> Commit:
    """The commit of a repository on the hub: asked for once, then recorded and used ever after.

    Raises:
        CheckpointError: when it is not recorded, and the hub cannot be asked.
    """
    return _Asked(Weights(repo=repo), name or f"hf:{repo}").commit(ref)


def models_store() -> Path:
    """The folder of all checkpoints: ``$REELSPACE_MODELS_CACHE``, else ``reelspace/models`` in the user's cache."""
    if chosen := os.environ.get("REELSPACE_MODELS_CACHE"):
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "reelspace" / "models"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What `checkpoint_of` was asked for."""

    weights: Weights
    name: str | None
    download: bool = True
    on_progress: OnProgress | None = None

    def commit(self, ref: str = "main") -> Commit:
        """The commit of the repository, recorded when it is first learned."""
        repo = self.weights.repo or ""
        known = _recorded_commit(repo, ref)
        if known is not None:
            return known
        if self.may_ask:
            try:
                found = hub.commit_at(repo, ref)
            except Unreachable as error:
                raise self.cold(f"the commit of {repo}", str(error)) from error
        else:
            cached = hub.cached_commit(repo, ref)
            if cached is None:
                raise self.cold(f"the commit of {repo}")
            found = cached
        _write_json(_ref_path(repo, ref), {**found._asdict(), "when": _now()})
        return found

    @property
    def may_ask(self) -> bool:
        return self.download and not hub.offline()

    def cold(self, what: str, why: str | None = None) -> CheckpointError:
        """What to do about a file that is not here and cannot be fetched now."""
        name = self.name or (f"hf:{self.weights.repo}" if self.weights.repo else "NAME")
        if self.weights.page is not None:
            return CheckpointError(
                f"{name}: {what} is not on this machine, and no program can fetch it. Get it at "
                f"{self.weights.page}, then run: reelspace models import {name} FILE..."
            )
        if why is None:
            why = "HF_HUB_OFFLINE forbids to fetch it" if hub.offline() else "it was not to be fetched"
        mirror = "; HF_ENDPOINT names a mirror of the hub" if self.weights.repo else ""
        return CheckpointError(
            f"{name}: {what} is not on this machine, and {why}. Where there is internet, run: reelspace models "
            f"pull {name}. With the files at hand: reelspace models import {name} FILE...{mirror}"
        )


@dataclass(frozen=True, slots=True)
class _Record:
    """What the manifest says of one file; its stamp, size and time of change, stands for its content."""

    size_bytes: int
    sha256: str
    modified_ns: int
    source: str
    revision: str | None
    recorded: str

    @classmethod
    def of(cls, path: Path, *, source: str, revision: str | None = None) -> _Record:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        stat = path.stat()
        return cls(stat.st_size, sha256, stat.st_mtime_ns, source, revision, _now())

    def stamped(self, path: Path) -> bool:
        """Whether the file is, by its stamp, the one that was recorded."""
        try:
            stat = path.stat()
        except FileNotFoundError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.size_bytes, self.modified_ns)


class _Shelf:
    """The folder of one checkpoint in the store, and its manifest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reread()

    @classmethod
    def of(cls, weights: Weights, revision: str | None) -> _Shelf:
        """Rows with the same repository and commit share a folder; files from elsewhere have one for each row."""
        elsewhere = sorted((file.name, file.url) for file in weights.files if file.url or weights.repo is None)
        if not elsewhere:
            return cls(_repo_folder(weights.repo or "") / (revision or "main"))
        identity = json.dumps([weights.repo, revision, weights.page, elsewhere])
        stem = PurePosixPath(elsewhere[0][0]).stem
        return cls(models_store() / "files" / f"{stem}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}")

    def reread(self) -> None:
        manifest = _read_json(self.folder / "manifest.json") or {}
        self._records = {name: _Record(**record) for name, record in manifest.get("files", {}).items()}
        self._absent = set(manifest.get("absent", ()))

    def complete(self, weights: Weights) -> bool:
        return all(self._settled(file) for file in weights.files)

    def has(self, file: WeightFile) -> bool:
        """Whether the file is here, reading it again where its stamp has changed."""
        if self._settled(file):
            return True
        path, known = self.path_of(file), self._records.get(file.name)
        if known is None or not path.is_file():
            return False
        found = _Record.of(path, source=known.source, revision=known.revision)
        self._require(file, found, known, where=f"{path} was changed", remedy=f"delete {path} and pull it again")
        self._write(file, found)
        return True

    def checkpoint(self, weights: Weights) -> Checkpoint:
        there = [file for file in weights.files if file.name not in self._absent]
        for file in there:  # a row may have learned better since the file came
            self._require(
                file,
                self._records[file.name],
                self._records[file.name],
                where=f"{self.path_of(file)} is not what the row names",
                remedy=f"delete {self.folder} and pull it again",
            )
        sums = {file.name: self._records[file.name].sha256 for file in there}
        return Checkpoint({file.name: self.path_of(file) for file in there}, _digest(sums))

    def path_of(self, file: WeightFile) -> Path:
        inside = PurePosixPath(file.name)
        if inside.is_absolute() or ".." in inside.parts:
            raise InvalidArgument(f"a file of a checkpoint lies in its folder, got {file.name!r}")
        return self.folder / inside

    def part_of(self, file: WeightFile) -> Path:
        """Where the file grows."""
        path = self.path_of(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f"{path.name}.part")

    def admit(
        self, file: WeightFile, part: Path, *, source: str, revision: str | None, may_replace: bool = False
    ) -> tuple[str, str] | None:
        """Puts a verified file in its place.

        Args:
            file: of the row.
            part: where it lies so far.
            source: where it came from.
            revision: the commit it is of.
            may_replace: whether it may be another file than came before.

        Returns:
            The SHA-256 of the file that was replaced by another, and of that one.

        Raises:
            CheckpointError: when it is not what the row or its name says, or what came before; then it is gone.
        """
        found = _Record.of(part, source=source, revision=revision)
        before = self._records.get(file.name)
        try:
            self._require(
                file,
                found,
                None if may_replace else before,
                where=f"{source} is not what it should be",
                remedy="it was replaced, or damaged on its way: pull it again, or import one from somewhere you "
                f"trust; where a new version is what you want, delete {self.folder} first",
            )
            require_kind(part, file.name, source=source)
        except CheckpointError:
            part.unlink()
            raise
        _flush(part)
        part.replace(self.path_of(file))
        self._write(file, found)
        return (before.sha256, found.sha256) if before is not None and before.sha256 != found.sha256 else None

    def leave_out(self, file: WeightFile) -> None:
        """Remembers that this checkpoint does without that file, so that its digest stays what it is."""
        self._absent.add(file.name)
        self._save()

    def _settled(self, file: WeightFile) -> bool:
        if file.optional and file.name in self._absent:
            return True
        known = self._records.get(file.name)
        return known is not None and known.stamped(self.path_of(file))

    def _require(self, file: WeightFile, found: _Record, known: _Record | None, *, where: str, remedy: str) -> None:
        for expected, got, unit in (
            (file.sha256, found.sha256, "SHA-256"),
            (file.size_bytes, found.size_bytes, "bytes"),
            (known and known.sha256, found.sha256, "SHA-256"),
        ):
            if expected is not None and expected != got:
                recorded = f" as recorded {known.recorded}" if known is not None else ""
                raise CheckpointError(
                    f"{where}: {file.name} should have {unit} {expected}{recorded}, got {got}; {remedy}"
                )

    def _write(self, file: WeightFile, record: _Record) -> None:
        self._records[file.name] = record
        self._absent.discard(file.name)
        self._save()

    def _save(self) -> None:
        files = {name: asdict(record) for name, record in sorted(self._records.items())}
        _write_json(self.folder / "manifest.json", {"files": files, "absent": sorted(self._absent)})


def _fetch(file: WeightFile, shelf: _Shelf, asked: _Asked, revision: str | None) -> None:
    """One file into its place: from the hub's own cache on this machine, else from the network."""
    repo = asked.weights.repo or ""
    if file.url is None and revision == _IMPORTED:
        raise CheckpointError(
            f"{asked.name or repo}: {file.name} is missing, and the others were imported without their commit; "
            f"import it as well, or delete {_repo_folder(repo)} and pull all of them"
        )
    if file.url is None and _taken_over(file, shelf, asked, revision):
        return
    by_hand = file.url is None and asked.weights.repo is None
    if by_hand or not asked.may_ask:
        if not file.optional:
            raise asked.cold(file.name)
        shelf.leave_out(file)
        return
    url = file.url or hub.file_url(repo, revision or "", file.name)
    on_progress = asked.on_progress
    on_bytes = None if on_progress is None else lambda done, total: on_progress(file.name, done, total)
    try:
        there = download(url, shelf.part_of(file), token=None if file.url else hub.token(), on_bytes=on_bytes)
    except Unreachable as error:
        raise asked.cold(file.name, str(error)) from error
    if there:
        shelf.admit(file, shelf.part_of(file), source=url, revision=None if file.url else revision)
    elif file.optional:
        shelf.leave_out(file)
    else:
        raise CheckpointError(f"{asked.name or 'the row'}: there is nothing at {url}; correct the row")


def _taken_over(file: WeightFile, shelf: _Shelf, asked: _Asked, revision: str | None) -> bool:
    """Whether the hub's own cache on this machine had the file, and it is in its place now."""
    cached = hub.cached_file(asked.weights.repo or "", revision or "", file.name)
    if cached is None:
        return False
    part = shelf.part_of(file)
    part.unlink(missing_ok=True)
    try:
        os.link(cached, part)
    except OSError:  # another file system
        shutil.copyfile(cached, part)
    try:
        shelf.admit(file, part, source=str(cached), revision=revision)
    except CheckpointError:
        if asked.may_ask:
            return False
        raise
    return True


def _in_place(asked: _Asked, folder: Path) -> Checkpoint:
    """The files of a user's own row where they lie: read once, and again when they have changed."""
    notes = models_store() / "folders" / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}.json"
    known = {name: _Record(**record) for name, record in ((_read_json(notes) or {}).get("files", {})).items()}
    found: dict[str, _Record] = {}
    for file in asked.weights.files:
        path = folder / file.name
        if not path.is_file():
            if file.optional:
                continue
            raise CheckpointError(f"{asked.name or 'the row'}: there is no {file.name} in {folder}")
        record = known.get(file.name)
        if record is None or not record.stamped(path):
            record = _Record.of(path, source=str(path))
        for expected, got, unit in (
            (file.sha256, record.sha256, "SHA-256"),
            (file.size_bytes, record.size_bytes, "bytes"),
        ):
            if expected is not None and expected != got:
                raise CheckpointError(f"{path} should have {unit} {expected} by its row, got {got}; correct either")
        found[file.name] = record
    if any(known.get(name) != record for name, record in found.items()):
        files = {name: asdict(record) for name, record in (known | found).items()}
        with suppress(OSError):  # without a place for notes it is read again next time
            _write_json(notes, {"folder": str(folder), "files": files})
    return Checkpoint(
        {name: folder / name for name in found}, _digest({name: record.sha256 for name, record in found.items()})
    )


def _in(place: Path, weights: Weights) -> list[Path]:
    """The file itself, or what a folder has of the checkpoint."""
    if not place.is_dir():
        return [place]
    found = [path for file in weights.files if (path := place / file.name).is_file()]
    if not found:
        names = ", ".join(file.name for file in weights.files)
        raise InvalidArgument(f"the folder {place} holds none of the files of this checkpoint: {names}")
    return found


def _matching(weights: Weights, path: Path) -> WeightFile:
    if not path.is_file():
        raise InvalidArgument(f"there is no file {path}")
    for file in weights.files:
        if path.name == PurePosixPath(file.name).name:
            return file
    if len(weights.files) == 1:
        return weights.files[0]
    names = ", ".join(file.name for file in weights.files)
    raise InvalidArgument(f"{path} is none of the files of this checkpoint: {names}; name it like the one it is")


def _known_revision(weights: Weights) -> str | None:
    if weights.repo is None or weights.revision is not None:
        return weights.revision
    recorded = _recorded_commit(weights.repo, _IMPORTED) or _recorded_commit(weights.repo, "main")
    return recorded and recorded.revision


def _recorded_commit(repo: str, ref: str) -> Commit | None:
    record = _read_json(_ref_path(repo, ref))
    return Commit(record["revision"], tuple(record["files"])) if record else None


def _ref_path(repo: str, ref: str) -> Path:
    return _repo_folder(repo) / "refs" / f"{ref.replace('/', '--')}.json"


def _repo_folder(repo: str) -> Path:
    return models_store() / "hub" / repo.replace("/", "--")


def _digest(sums: Mapping[str, str]) -> str:
    lines: Iterable[str] = (f"{name} {sha256}\n" for name, sha256 in sorted(sums.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; the system gives it back when its holder dies, however it dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # for as long as another process needs to fetch it
        yield


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read ({error}); delete it") from error


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    part.write_text(json.dumps(value, indent=1), "utf-8")
    _flush(part)
    part.replace(path)


def _flush(path: Path) -> None:
    """Onto the disk, before the name of the finished file says that it is whole."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
