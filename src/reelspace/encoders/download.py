"""One file over HTTP: resumed where it was cut, and never taken for whole before it is."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cache
from http.client import HTTPException, HTTPMessage
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from reelspace.errors import CheckpointError

__all__ = ["OnBytes", "Unreachable", "download", "get_json"]

OnBytes = Callable[[int, int | None], None]
"""Told of the bytes that are there, and of how many there will be where the server says so."""

_TIMEOUT_SECONDS = 20.0  # of connecting, and of silence in between
_CHUNK_BYTES = 1 << 20
_TRIES = 4  # in a row that bring nothing new
_PAUSE_SECONDS = 0.2  # before the second try; doubled before each further one
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


class Unreachable(CheckpointError):
    """Nothing answers at that address: no network, no such host, nobody listening."""


def download(url: str, part: Path, *, token: str | None = None, on_bytes: OnBytes | None = None) -> bool:
    """Streams a file to ``part``, going on where an earlier call was cut if the server's file is still the same.

    Args:
        url: ``http`` or ``https``.
        part: grows while it comes; beside it ``<part>.tag`` keeps the server's mark of the version.
        token: sent to that host alone, never to one it redirects to.
        on_bytes: hears of progress.

    Returns:
        Whether the server has such a file.

    Raises:
        Unreachable: when nothing answers.
        CheckpointError: when the server refuses, or the connection is cut again and again.
    """
    tries, pause = _TRIES, _PAUSE_SECONDS
    answered = False
    while True:
        before = _size(part)
        try:
            response = _open(url, token, _resuming(part))
            if response is None:
                return False
            answered = True
            with response:
                why = _append(response, part, on_bytes)
        except urllib.error.HTTPError as error:
            why = _retried(error, url, part)
        except Unreachable as error:
            if not answered:  # waiting is of use only where it was there a moment ago
                raise
            why = str(error)
        if why is None:
            part.with_name(f"{part.name}.tag").unlink(missing_ok=True)
            return True
        if _size(part) > before:
            tries, pause = _TRIES, _PAUSE_SECONDS
        tries -= 1
        if not tries:
            raise CheckpointError(
                f"{url}: {why}, {_TRIES} times in a row; {_size(part)} bytes are kept, and the same command goes "
                "on from there"
            )
        time.sleep(pause)
        pause *= 2


def get_json(url: str, *, token: str | None = None) -> Any:
    """The JSON document at a URL; None where there is none.

    Raises:
        Unreachable: when nothing answers.
        CheckpointError: when the server refuses, or what it sends is no JSON.
    """
    try:
        response = _open(url, token, {})
        if response is None:
            return None
        with response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        raise CheckpointError(f"{url}: {_refusal(error)}") from error
    except (ValueError, HTTPException, OSError) as error:
        raise CheckpointError(f"{url}: what came is no JSON document: {error}") from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and takes the token along only to the host it was meant for."""

    def redirect_request(  # noqa: PLR0917 # as urllib calls it
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """The request that follows."""
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if following is not None and token and urlsplit(newurl)[:2] == urlsplit(req.full_url)[:2]:
            following.add_unredirected_header("Authorization", token)
        return following


def _open(url: str, token: str | None, headers: dict[str, str]) -> Any:
    """The response; None for 404."""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise CheckpointError(f"weights come from http and https addresses, got {url!r}")
    request = urllib.request.Request(url, headers={"User-Agent": "reelspace", **headers})  # noqa: S310 # checked
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(_Redirects, urllib.request.HTTPSHandler(context=_certificates()))
    try:
        return opener.open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        error.close()
        return None
    except urllib.error.URLError as error:
        raise Unreachable(f"{urlsplit(url).netloc} does not answer ({error.reason})") from error
    except (HTTPException, OSError) as error:
        raise Unreachable(f"{urlsplit(url).netloc} does not answer ({error})") from error


@cache
def _certificates() -> ssl.SSLContext:
    """Those the system trusts, and certifi's where it is installed: some Pythons come with none."""
    context = ssl.create_default_context()
    if find_spec("certifi"):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _resuming(part: Path) -> dict[str, str]:
    """The headers that ask for the rest of the same file."""
    tag = part.with_name(f"{part.name}.tag")
    if not (_size(part) and tag.is_file()):
        return {}
    return {"Range": f"bytes={_size(part)}-", "If-Range": tag.read_text()}


def _append(response: Any, part: Path, on_bytes: OnBytes | None) -> str | None:
    """Writes what comes; None when the file is whole, else why it is not."""
    resumed = response.status == 206
    if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {_size(part)}-"):
        part.unlink()
        return "the server sent another part than was asked for"
    length = response.headers.get("Content-Length")
    done = _size(part) if resumed else 0
    total = done + int(length) if length is not None else None
    _keep_tag(response.headers, part)
    with part.open("ab" if resumed else "wb") as file:
        while True:
            try:
                chunk = response.read(_CHUNK_BYTES)
            except (HTTPException, OSError) as error:
                return f"cut after {done} of {total or 'so many'} bytes ({error})"
            if not chunk:
                break
            file.write(chunk)
            done += len(chunk)
            if on_bytes is not None:
                on_bytes(done, total)
    return None if total is None or done == total else f"cut after {done} of {total} bytes"


def _keep_tag(headers: HTTPMessage, part: Path) -> None:
    etag = headers.get("ETag", "")
    mark = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    tag = part.with_name(f"{part.name}.tag")
    if mark:
        tag.write_text(mark)
    else:
        tag.unlink(missing_ok=True)


def _retried(error: urllib.error.HTTPError, url: str, part: Path) -> str | None:
    """Why to try again after this answer, None where nothing is missing; raises where that is no use."""
    with error:
        if error.code == 416:
            if error.headers.get("Content-Range") == f"bytes */{_size(part)}":
                return None  # an earlier call had all of it, and was ended before it said so
            part.unlink(missing_ok=True)  # more is there than the file has: it is another file by now
        elif error.code not in _BUSY:
            raise CheckpointError(f"{url}: {_refusal(error)}") from error
    return _refusal(error)


def _refusal(error: urllib.error.HTTPError) -> str:
    said = f"the server says {error.code} {error.reason}"
    if error.code in {401, 403}:
        said += "; if its licence has to be accepted, do so on its page, and name your token in HF_TOKEN"
    return said


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
