"""Where videos come from: paths, folders, globs and fsspec URLs, found by name and read as streams.

A *source* is the string everything else knows a video by: the absolute path of a local file, or a URL. It is always
valid Unicode, so that it can be stored: a local name that is not UTF-8 becomes a percent-encoded ``file://`` URL.
"""
# os.path, for it answers False where pathlib raises: names too long, folders that may not be read.
# ruff: noqa: PTH109, PTH110, PTH112, PTH116, PTH118, PTH120, PTH122, PTH123, PTH207

from __future__ import annotations

import contextlib
import glob
import hashlib
import logging
import os
import re
import stat
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from reelspace.errors import CannotOpen, InvalidArgument, MissingExtra, ReelspaceError

__all__ = [
    "VIDEO_SUFFIXES",
    "SourceStat",
    "content_id",
    "find_videos",
    "open_source",
    "source_names",
    "source_stat",
]

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".3gpp", ".amv", ".asf", ".av1", ".avc", ".avi", ".dav", ".divx", ".dv",
    ".dvr-ms", ".f4v", ".flv", ".gif", ".h264", ".h265", ".hevc", ".insv", ".ivf", ".lrv", ".m1v", ".m2p",
    ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mk3d", ".mkv", ".mod", ".mov", ".mp2v", ".mp4",
    ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nsv", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm",
    ".rmvb", ".tod", ".tp", ".trp", ".ts", ".vc1", ".vob", ".webm", ".wmv", ".wtv", ".xvid", ".y4m",
})
# fmt: on
"""What a folder's files must end in, in any case, to be taken."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(::[A-Za-z][A-Za-z0-9+.\-]*)*://")
_MAGIC = re.compile(r"[*?[]")
_ANY_DEPTH = re.compile(r"(?:^|(?<=/))\*\*(?:/|$)")
_EXTRAS = {"s3": "s3", "s3a": "s3"}
_BLOCK_BYTES, _BLOCKS_KEPT = 1 << 21, 16  # 32 MiB per open URL: room for a file whose tracks lie far apart

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceStat:
    """What can be told of a source without reading it. While it stays equal, the bytes need not be read again.

    Attributes:
        size_bytes: None when the store does not say.
        modified_ns: time of the last change, in nanoseconds since 1970; None when the store does not say.
        etag: the object store's own mark of this version of the bytes; None for local files.
    """

    size_bytes: int | None
    modified_ns: int | None
    etag: str | None


def find_videos(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    exclude: Iterable[str | os.PathLike[str]] = (),
) -> list[str]:
    """Sources of all videos that ``paths`` name, each once, in the order of the arguments.

    A file is taken whatever its name. A folder gives its files that end in `VIDEO_SUFFIXES`, at any depth, sorted;
    files and folders whose names begin with a dot are left out, and a folder reached again through links is walked
    once. A glob (``*``, ``?``, ``[ab]``, ``**`` for any depth) gives, of what it matches, what a folder would give
    and the files whose suffix it spells out; a file or folder that bears the very name wins over the pattern. URLs
    (``s3://bucket/prefix``, ``memory://``, ``file://``) may be files, folders and globs as well.

    Args:
        paths: one or many paths, globs and URLs.
        exclude: folders that are never entered, such as a library's own.

    Raises:
        InvalidArgument: naming every path that is not there and every pattern that matches nothing.
        MissingExtra: for a URL whose file system is not installed.
        CannotOpen: when a place is there but cannot be listed.
    """
    asked = [paths] if isinstance(paths, str | os.PathLike) else paths
    excluded = [place if _is_remote(place) else _local_path(place) for place in map(os.fsdecode, exclude)]
    found: dict[str, None] = {}
    missing: list[str] = []
    for place in map(os.fsdecode, asked):
        sources = _find_remote(place, excluded) if _is_remote(place) else _find_local(place, excluded)
        if sources is None:
            missing.append(place)
        else:
            found.update(dict.fromkeys(map(_storable, sources)))
    if missing:
        names = ", ".join(map(repr, missing))
        raise InvalidArgument(f"nothing is at {names}; give files, folders, globs or URLs that exist")
    return list(found)


@contextlib.contextmanager
def open_source(source: str) -> Iterator[str | BinaryIO]:
    """What a decoder opens: the absolute path of a local file, or a seekable stream of a URL's bytes.

    An absolute path cannot be mistaken for a protocol or an option, as ``a:b.mp4`` or ``-x.mp4`` can. A URL is read
    in blocks as they are needed; the last 32 MiB stay in memory. The stream is closed on every way out.

    Raises:
        CannotOpen: when there is no such file, it may not be read, or it is empty or not a regular file.
        MissingExtra: for a URL whose file system is not installed.
    """
    if _is_remote(source):
        with _open_remote(source) as stream:
            yield stream
        return
    with _clear_reasons(source):
        path = _local_path(source)
        local = os.stat(path)
        if stat.S_ISDIR(local.st_mode):
            raise CannotOpen(source, "a folder, not a file")
        if not stat.S_ISREG(local.st_mode):  # opening a pipe would wait for ever
            raise CannotOpen(source, "a pipe or device, not a file")
        if local.st_size == 0:
            raise CannotOpen(source, "empty file")
        os.close(os.open(path, os.O_RDONLY))  # whether it may be read is known only by trying
    yield path


def source_stat(source: str) -> SourceStat:
    """Size and time of last change, without reading the file.

    Raises:
        CannotOpen: when there is no such file or it may not be looked at.
        MissingExtra: for a URL whose file system is not installed.
    """
    with _clear_reasons(source):
        if not _is_remote(source):
            local = os.stat(_local_path(source))
            return SourceStat(local.st_size, local.st_mtime_ns, None)
        file_system, path = _file_system(source)
        info: dict[str, Any] = file_system.info(path)
    modified = next((info[key] for key in ("LastModified", "mtime", "updated", "created") if info.get(key)), None)
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    etag = info.get("ETag") or info.get("etag")
    return SourceStat(
        info.get("size"),
        round(modified * 1e9) if isinstance(modified, int | float) else None,
        str(etag) if etag else None,
    )


def content_id(source: str) -> str:
    """SHA-256 of the bytes as 64 hex digits, what ``sha256sum`` prints; streamed.

    Raises:
        CannotOpen: as `open_source`, and when reading fails half-way.
        MissingExtra: for a URL whose file system is not installed.
    """
    with open_source(source) as opened, _clear_reasons(source):
        if not isinstance(opened, str):
            return hashlib.file_digest(opened, "sha256").hexdigest()  # type: ignore[arg-type] # fsspec files do
        with open(opened, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


# ── names ──


def source_names(place: str | os.PathLike[str]) -> set[str]:
    """What a file is called as a source, or how all below a folder begins; neither need be there."""
    name = os.fsdecode(place)
    if _is_remote(name):
        file_system, below = _file_system(name)
        return {name.rstrip("/"), file_system.unstrip_protocol(below).rstrip("/")}
    path = _local_path(name)
    return {_storable(path), "file://" + urllib.parse.quote(os.fsencode(path))}


def _is_remote(place: str) -> bool:
    """Whether fsspec reads it; ``file://`` is but another way to write a local path."""
    return bool(_URL.match(place)) and not place.startswith(("file://", "local://"))


def _local_path(place: str) -> str:
    """Absolute path of a local path or ``file://`` URL (RFC 8089, or with its percent signs meant literally).

    ``..`` is resolved on the disk, for behind a link it is not the folder written before it; all other links keep
    their names.
    """
    if _URL.match(place):
        literal = place.partition("://")[2]
        place = literal if os.path.lexists(literal) else os.fsdecode(urllib.parse.unquote_to_bytes(literal))
    parts = os.path.join(os.getcwd(), place).split("/")
    if ".." in parts:
        last = len(parts) - parts[::-1].index("..")
        parts = [os.path.realpath("/".join(parts[:last])), *parts[last:]]
    return "/" + os.path.normpath("/".join(parts)).lstrip("/")


def _storable(source: str) -> str:
    try:
        source.encode()
    except UnicodeEncodeError:
        return "file://" + urllib.parse.quote(os.fsencode(source))
    return source


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _is_within(place: str, folders: list[str]) -> bool:
    return any(place == folder or place.startswith(folder.rstrip("/") + "/") for folder in folders)


def _wanted_by(pattern: str, name: str) -> bool:
    """Whether a glob wants the file: a video by its suffix, or of the suffix the pattern spells out."""
    suffix = _suffix(name)
    return suffix in VIDEO_SUFFIXES or (suffix != "" and pattern.lower().endswith(suffix))


# ── local files ──


def _find_local(place: str, excluded: list[str]) -> list[str] | None:
    """Files at a path or glob, or None when nothing is there."""
    if not place or "\0" in place:
        return None
    path = _local_path(place)
    if os.path.isdir(path):
        return _videos_below(path, excluded)
    if os.path.exists(path):
        return [path]
    root = path
    while not os.path.exists(root):  # folders that are there are no patterns, whatever their names
        root = os.path.dirname(root)
    pattern = os.path.relpath(path, root)
    matches = _glob(root, pattern, excluded) if _MAGIC.search(pattern) else []
    if not matches:
        return None
    found: list[str] = []
    for match in matches:
        if os.path.isdir(match):
            found += _videos_below(match, excluded)
        elif _wanted_by(pattern, match) and not _is_within(match, excluded):
            found.append(match)
    return found


def _glob(root: str, pattern: str, excluded: list[str]) -> list[str]:
    """Paths below ``root`` that match, sorted; ``**`` goes through `_walk`, for the glob module follows loops."""
    head, *tail = _ANY_DEPTH.split(pattern, maxsplit=1)
    if not tail:
        return sorted(os.path.join(root, name) for name in glob.glob(pattern, root_dir=root))
    folders = (
        [os.path.normpath(os.path.join(root, name)) for name in glob.glob(head, root_dir=root)] if head else [root]
    )
    if tail == [""]:
        return sorted(folders)
    matches = _matcher(f"**/{tail[0]}")
    return sorted(
        path for folder in folders for path in _walk(folder, excluded) if matches(os.path.relpath(path, folder))
    )


def _matcher(pattern: str) -> Callable[[str], object]:
    from fsspec.utils import glob_translate

    try:
        return re.compile(glob_translate(pattern)).match
    except ValueError as error:
        raise InvalidArgument(f"'**' stands for whole folders, got {pattern!r}; use '*' inside a name") from error


def _videos_below(folder: str, excluded: list[str]) -> list[str]:
    return sorted(path for path in _walk(folder, excluded) if _suffix(path) in VIDEO_SUFFIXES)


def _walk(root: str, excluded: list[str]) -> Iterator[str]:
    """Files below ``root``: no hidden ones, every folder once, the real ones before those reached through links."""
    folders, links, seen = [root], list[str](), set[tuple[int, int]]()
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        if _is_within(folder, excluded):
            continue
        try:
            place = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            if folder == root:
                raise CannotOpen(root, _reason(error)) from error
            _log.warning("left out %s: %s", folder, _reason(error))
            continue
        if (place.st_dev, place.st_ino) in seen:
            continue
        seen.add((place.st_dev, place.st_ino))
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append(entry.path)
            elif entry.is_file() or entry.is_symlink():  # a broken link is reported; a pipe or socket is no video
                yield entry.path


# ── URLs ──


def _file_system(url: str) -> tuple[Any, str]:
    """The file system behind a URL, by fsspec, and the path in it."""
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0].rpartition("::")[2]
    try:
        file_system, path = url_to_fs(url)
    except ImportError as error:
        if protocol in _EXTRAS:
            raise MissingExtra(f"the file system of {protocol}://", extra=_EXTRAS[protocol]) from error
        raise InvalidArgument(f"{url}: {error}") from error
    except ValueError as error:
        raise InvalidArgument(f"{url}: {error}; give a path or a URL that fsspec knows") from error
    return file_system, path


def _find_remote(url: str, excluded: list[str]) -> list[str] | None:
    """URLs of the files at a URL, which may be a file, a folder or a glob; None when nothing is there."""
    with _clear_reasons(url):
        file_system, path = _file_system(url)
        magic = _MAGIC.search(path)
        try:
            matches, pattern = {path: file_system.info(path)}, ""
        except FileNotFoundError:
            matches, pattern = (file_system.glob(path, detail=True), path) if magic else ({}, "")
        if "::" in url and matches:
            if pattern or matches[path]["type"] == "directory":
                raise InvalidArgument(f"a chained URL names one file, got {url}; name its files one by one")
            return [url]
        shown = path[: magic.start()].rpartition("/")[0] if pattern and magic else path
        names: list[str] = []
        for name, info in sorted(matches.items()):
            if info["type"] == "directory":
                names += [below for below in sorted(file_system.find(name)) if _suffix(below) in VIDEO_SUFFIXES]
            elif not pattern or _wanted_by(pattern, name):
                names.append(name)
        urls = [
            file_system.unstrip_protocol(name)
            for name in names
            if not any(part.startswith(".") for part in name.removeprefix(shown).split("/"))
        ]
    return [found for found in urls if not _is_within(found, excluded)] if matches else None


@contextlib.contextmanager
def _open_remote(url: str) -> Iterator[BinaryIO]:
    with _clear_reasons(url):
        file_system, path = _file_system(url)
        info = file_system.info(path)
        if info["type"] == "directory":
            raise CannotOpen(url, "a folder, not a file")
        if info.get("size") == 0:
            raise CannotOpen(url, "empty file")
        stream: BinaryIO = file_system.open(
            path,
            "rb",
            block_size=_BLOCK_BYTES,
            cache_type="blockcache",
            cache_options={"maxblocks": _BLOCKS_KEPT},
        )
    with stream:
        if not stream.seekable():
            raise CannotOpen(url, "the server gives no random access; download the file first")
        yield stream


# ── reasons ──

_REASONS: dict[type[BaseException], str] = {
    FileNotFoundError: "no such file",
    PermissionError: "permission denied",
    IsADirectoryError: "a folder, not a file",
}


def _reason(error: BaseException) -> str:
    """One short phrase a user understands."""
    if type(error) in _REASONS:
        return _REASONS[type(error)]
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return f"cannot open: {str(text).splitlines()[0]}"


@contextlib.contextmanager
def _clear_reasons(source: str) -> Iterator[None]:
    """Turns whatever the file system raises into `CannotOpen`."""
    try:
        yield
    except ReelspaceError:
        raise
    except Exception as error:  # file systems behind fsspec raise kinds of their own, with no common base
        raise CannotOpen(source, _reason(error)) from error
