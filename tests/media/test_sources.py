"""Finding videos by name and opening them, whatever they are called and wherever they lie."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import socket
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelspace.errors import CannotOpen, InvalidArgument, MissingExtra
from reelspace.media.sources import VIDEO_SUFFIXES, SourceStat, content_id, find_videos, open_source, source_stat
from reelspace.media.writer import VideoWriter


def touch(*paths: Path) -> list[str]:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return [str(path) for path in paths]


@pytest.fixture
def memory() -> Iterator[Any]:
    file_system = fsspec.filesystem("memory")
    yield file_system
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


class CountingFileSystem(AbstractFileSystem):
    """Remote bytes that count what is fetched."""

    protocol = "counting"
    cachable = False
    data = b""
    fetched_bytes = 0

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return {"name": path, "size": len(type(self).data), "type": "file"}

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> CountingFile:
        return CountingFile(self, path, mode, size=len(type(self).data), **kwargs)


class CountingFile(AbstractBufferedFile):
    def _fetch_range(self, start: int, end: int) -> bytes:
        data = CountingFileSystem.data[start:end]
        CountingFileSystem.fetched_bytes += len(data)
        return data


fsspec.register_implementation("counting", CountingFileSystem)


# ── folders ──


def test_a_folder_gives_its_videos_at_any_depth_sorted(tmp_path: Path) -> None:
    want = touch(tmp_path / "a.mp4", tmp_path / "b" / "c" / "d.MKV", tmp_path / "z.webm")
    touch(tmp_path / "notes.txt", tmp_path / "b" / "cover.jpg", tmp_path / "mp4")
    assert find_videos([tmp_path]) == want


def test_hidden_files_and_folders_are_left_out_below_a_folder_but_not_above_it(tmp_path: Path) -> None:
    root = tmp_path / ".cache"
    want = touch(root / "a.mp4")
    touch(root / "._a.mp4", root / ".reelspace" / "thumb.mp4")
    assert find_videos([root]) == want
    assert find_videos([root / "._a.mp4"]) == [str(root / "._a.mp4")]


def test_an_excluded_folder_is_never_entered(tmp_path: Path) -> None:
    want = touch(tmp_path / "library2" / "b.mp4", tmp_path / "z.mp4")
    touch(tmp_path / "library" / "a.mp4")
    assert find_videos([tmp_path], exclude=[tmp_path / "library"]) == want
    assert find_videos([tmp_path / "**" / "*.mp4"], exclude=[tmp_path / "library"]) == want
    assert find_videos([tmp_path / "*" / "*.mp4"], exclude=[tmp_path / "library"]) == want[:1]


def test_links_that_loop_end_and_give_every_file_once_under_its_real_name(tmp_path: Path) -> None:
    want = touch(tmp_path / "real" / "a.mp4", tmp_path / "real" / "deep" / "b.mp4")
    (tmp_path / "another").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "deep" / "up").symlink_to(tmp_path)
    (tmp_path / "real" / "self").symlink_to(".")
    assert find_videos([tmp_path]) == want
    assert find_videos([tmp_path / "**" / "*.mp4"]) == want


def test_a_folder_outside_that_is_linked_in_is_walked(tmp_path: Path) -> None:
    touch(tmp_path / "disk" / "a.mp4")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "link").symlink_to(tmp_path / "disk")
    assert find_videos([tmp_path / "mine"]) == [str(tmp_path / "mine" / "link" / "a.mp4")]


def test_pipes_and_sockets_in_a_folder_are_no_videos_but_broken_links_are_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.mp4"))
    (tmp_path / "broken.mp4").symlink_to("gone.mp4")
    assert find_videos([tmp_path]) == [str(tmp_path / "broken.mp4")]


def test_a_subfolder_that_may_not_be_read_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    want = touch(tmp_path / "a.mp4")
    touch(tmp_path / "lost+found" / "b.mp4")
    scandir = os.scandir

    def refuse(folder: str) -> Any:
        if folder.endswith("lost+found"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert find_videos([tmp_path]) == want
    assert "lost+found: permission denied" in caplog.text
    with pytest.raises(CannotOpen, match="permission denied"):
        find_videos([tmp_path / "lost+found"])


# ── files, globs, arguments ──


def test_a_named_file_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    want = touch(tmp_path / "clip.bin", tmp_path / "noext")
    assert find_videos(want) == want


def test_one_path_may_be_given_bare(tmp_path: Path) -> None:
    want = touch(tmp_path / "a.mp4")
    assert find_videos(want[0]) == want
    assert find_videos(tmp_path) == want


def test_a_file_named_twice_comes_once_in_the_order_of_the_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "b.mp4")
    monkeypatch.chdir(tmp_path)
    got = find_videos(
        ["b.mp4", ".", "./b.mp4", tmp_path / "b.mp4", f"file://{tmp_path}/b.mp4", f"/{tmp_path}/b.mp4"]
    )
    assert got == [str(tmp_path / "b.mp4"), str(tmp_path / "a.mp4")]


def test_dots_go_up_from_where_a_link_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want = touch(tmp_path / "far" / "a.mp4")
    touch(tmp_path / "a.mp4")
    (tmp_path / "far" / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "deep")
    monkeypatch.chdir(tmp_path)
    assert find_videos(["link/../a.mp4"]) == want
    monkeypatch.chdir(tmp_path / "far" / "deep")
    assert find_videos(["../a.mp4", "../*.mp4", ".."]) == want


def test_globs_match_as_in_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c, d = touch(*(tmp_path / name for name in ("a1.mp4", "a2.mkv", "s/b.mp4", "s/t/c.mp4")))
    touch(tmp_path / "a3.txt", tmp_path / ".h.mp4", tmp_path / "s/.h/x.mp4")
    monkeypatch.chdir(tmp_path)
    assert find_videos(["a?.mp4"]) == [a]
    assert find_videos(["a[2-9].*"]) == [b]
    assert find_videos(["**/*.mp4"]) == [a, c, d]
    assert find_videos(["s/**/c.mp4", "**/t/*"]) == [d]
    assert find_videos(["s/**"]) == [c, d]
    assert find_videos(["**"]) == [a, b, c, d]
    assert find_videos(["*"]) == [a, b, c, d]
    assert find_videos(["*.txt"]) == [str(tmp_path / "a3.txt")]


def test_a_name_with_the_signs_of_a_glob_wins_over_the_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, other = touch(tmp_path / "take[1].mp4", tmp_path / "take1.mp4")
    (inside,) = touch(tmp_path / "set [*]" / "a.mp4")
    assert find_videos([tmp_path / "take[1].mp4"]) == [named]
    assert find_videos([tmp_path / "take[12].mp4"]) == [other]
    monkeypatch.chdir(tmp_path / "set [*]")
    assert find_videos(["*.mp4"]) == [inside]
    assert find_videos([tmp_path / "set [*]" / "**" / "*.mp4"]) == [inside]


def test_everything_missing_is_named_in_one_error(tmp_path: Path) -> None:
    (there,) = touch(tmp_path / "there.mp4")
    with pytest.raises(InvalidArgument) as caught:
        find_videos([there, tmp_path / "gone.mp4", tmp_path / "no*.mp4", "", "nul\0.mp4", "x" * 5000])
    for name in ("gone.mp4", "no*.mp4", "''", "nul\\x00.mp4", "xxxx"):
        assert name in str(caught.value)
    assert "there.mp4" not in str(caught.value)


def test_two_stars_inside_a_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "b.mp4")
    with pytest.raises(InvalidArgument, match="whole folders"):
        find_videos([tmp_path / "**" / "a**b.mp4"])


def test_a_name_that_is_not_unicode_becomes_a_url_that_can_be_stored(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9 100%25.mp4"
    Path(os.fsdecode(path)).write_bytes(b"abc")
    (source,) = find_videos([tmp_path])
    assert source.encode() == f"file://{tmp_path}/caf%E9%20100%2525.mp4".encode()
    assert find_videos([source]) == [source]
    assert content_id(source) == hashlib.sha256(b"abc").hexdigest()
    assert source_stat(source).size_bytes == 3
    with open_source(source) as opened:
        assert opened == os.fsdecode(path)


def test_a_file_url_may_be_percent_encoded_or_literal(tmp_path: Path) -> None:
    spaced, percent = touch(tmp_path / "a b.mp4", tmp_path / "c%20d.mp4")
    assert find_videos([f"file://{tmp_path}/a%20b.mp4", f"file://{tmp_path}/c%20d.mp4"]) == [spaced, percent]


NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: name not in {".", ".."})


@given(name=NAMES, suffix=st.sampled_from(["", ".mp4", ".MP4"]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_a_disk_takes_is_found_and_opened(tmp_path: Path, name: str, suffix: str) -> None:
    folder = tmp_path / "fuzz"
    folder.mkdir(exist_ok=True)
    path = folder / (name + suffix)
    path.write_bytes(b"x")
    try:
        assert find_videos([path]) == [str(path)]
        assert find_videos([f"{os.path.relpath(folder)}/{name}{suffix}"]) == [str(path)]
        is_video = path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")
        assert find_videos([folder]) == [str(path)] * is_video
        with open_source(str(path)) as opened:
            assert opened == str(path)
    finally:
        path.unlink()


@given(text=st.text("ab/.*?[]!-\\:\0~%", max_size=12))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_words_name_something_or_are_refused(tmp_path: Path, text: str) -> None:
    (clip,) = touch(tmp_path / "a" / "b" / "b.mp4")
    with contextlib.suppress(InvalidArgument):
        assert set(find_videos([f"{tmp_path}/a/{text}"])) <= {clip} or ".." in text


# ── URLs ──


def test_urls_may_be_files_folders_and_globs(memory: Any) -> None:
    for name in ("/d/a.mp4", "/d/e/b.mkv", "/d/e/notes.txt", "/d/.h/x.mp4", "/d/e/take[1].mp4", "/other.mp4"):
        memory.pipe(name, b"x")
    assert find_videos(["memory://d/e/notes.txt"]) == ["memory:///d/e/notes.txt"]
    everything = ["memory:///d/a.mp4", "memory:///d/e/b.mkv", "memory:///d/e/take[1].mp4"]
    assert find_videos(["memory://d"]) == everything
    assert find_videos(["memory://d/", "memory:///d/a.mp4"]) == everything
    assert find_videos(["memory://d/*"]) == everything
    assert find_videos(["memory://d/**/*.mp4"]) == [everything[0], everything[2]]
    assert find_videos(["memory://d/e/take[1].mp4"]) == everything[2:]
    assert find_videos(["memory://d/e/*.txt"]) == ["memory:///d/e/notes.txt"]
    assert find_videos(["memory://d"], exclude=["memory:///d/e"]) == everything[:1]
    with pytest.raises(InvalidArgument, match=r"memory://gone\.mp4"):
        find_videos(["memory://d", "memory://gone.mp4"])
    with pytest.raises(InvalidArgument, match="nothing is at"):
        find_videos(["memory://d/*.avi"])


def test_a_url_opens_as_a_seekable_stream_that_is_closed_afterwards(memory: Any) -> None:
    memory.pipe("/a.mp4", b"0123456789")
    with open_source("memory://a.mp4") as stream:
        assert not isinstance(stream, str)
        stream.seek(4)
        assert stream.read(2) == b"45"
    assert content_id("memory://a.mp4") == hashlib.sha256(b"0123456789").hexdigest()
    stat = source_stat("memory://a.mp4")
    assert stat.size_bytes == 10
    assert stat.modified_ns is not None
    assert stat == source_stat("memory://a.mp4")


def test_a_file_inside_an_archive_opens_by_a_chained_url(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        archive.writestr("a/b.mp4", b"abc")
    url = f"zip://a/b.mp4::file://{tmp_path}/clips.zip"
    assert find_videos([url]) == [url]
    assert content_id(url) == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(InvalidArgument, match="one file"):
        find_videos([f"zip://a::file://{tmp_path}/clips.zip"])


def test_a_few_places_of_a_remote_file_cost_a_few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    CountingFileSystem.data = np.random.default_rng(0).bytes(40 << 20)
    CountingFileSystem.fetched_bytes = 0
    with open_source("counting://film.mp4") as stream:
        assert not isinstance(stream, str)
        for place in (0, 39 << 20, 100, 20 << 20, (39 << 20) + 5000, 200):
            stream.seek(place)
            assert stream.read(1000) == CountingFileSystem.data[place : place + 1000]
    assert CountingFileSystem.fetched_bytes <= 3 * (2 << 20)


def test_a_remote_video_decodes_without_being_fetched_twice(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "noise.mp4"
    with VideoWriter(path, 320, 240, Fraction(25), crf=10) as writer:
        for _ in range(40):
            writer.write(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
    CountingFileSystem.data = path.read_bytes()
    CountingFileSystem.fetched_bytes = 0
    assert len(CountingFileSystem.data) > 2 << 20
    with open_source("counting://noise.mp4") as stream, av.open(stream) as container:
        assert sum(1 for _ in container.decode(video=0)) == 40
    assert CountingFileSystem.fetched_bytes == len(CountingFileSystem.data)


def test_a_file_system_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(url: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    for act in (find_videos, content_id, source_stat):
        with pytest.raises(MissingExtra, match=r"pip install 'reelspace\[s3\]'"):
            act("s3://bucket/a.mp4")
    with pytest.raises(InvalidArgument, match="Install s3fs"):
        find_videos("gcs://bucket/a.mp4")


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="nosuch"):
        find_videos("nosuch://bucket/a.mp4")


# ── opening ──


def test_a_file_that_cannot_be_opened_gives_a_reason(tmp_path: Path, memory: Any) -> None:
    (tmp_path / "empty.mp4").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    memory.pipe("/empty.mp4", b"")
    memory.pipe("/d/a.mp4", b"x")
    for source, reason in (
        (tmp_path / "gone.mp4", "no such file"),
        (tmp_path, "a folder, not a file"),
        (tmp_path / "pipe.mp4", "a pipe or device, not a file"),
        (tmp_path / "empty.mp4", "empty file"),
        ("memory://gone.mp4", "no such file"),
        ("memory://d", "a folder, not a file"),
        ("memory://empty.mp4", "empty file"),
        ("nul\0.mp4", "cannot open: embedded null byte"),
    ):
        with pytest.raises(CannotOpen) as caught:
            content_id(str(source))
        assert caught.value.reason == reason
        assert caught.value.source == str(source)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = touch(tmp_path / "secret.mp4")

    def refuse(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CannotOpen, match="permission denied"), open_source(path):
        pass


def test_an_error_inside_the_with_block_is_not_dressed_up_as_an_opening_error(tmp_path: Path, memory: Any) -> None:
    memory.pipe("/a.mp4", b"x")
    for source in (*touch(tmp_path / "a.mp4"), "memory://a.mp4"):
        with pytest.raises(ZeroDivisionError), open_source(source):
            _ = 1 / 0


@pytest.mark.parametrize(
    "name",
    ["foo:bar.mp4", "-dash.mp4", "100%d.mp4", "pipe:", "concat:a|b.mp4", "a?b#c.mp4", "\n.mp4", "视频 é.mp4"],
)
def test_ffmpeg_does_not_misread_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with VideoWriter(tmp_path / "plain.mp4", 64, 48, Fraction(10)) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (source,) = find_videos([name])
    with open_source(source) as opened, av.open(opened) as container:
        assert container.streams.video[0].width == 64
    with open_source(name) as opened, av.open(opened) as container:
        assert container.streams.video[0].width == 64


def test_the_stat_of_a_local_file_changes_with_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"abc")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    assert source_stat(str(path)) == SourceStat(3, 1_700_000_000_123_456_789, None)
    path.write_bytes(b"abcd")
    assert source_stat(str(path)) != SourceStat(3, 1_700_000_000_123_456_789, None)


def test_content_ids_are_the_sha256_of_the_manifest(shared: Path) -> None:
    with (shared / "videos" / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["file"].startswith("natural/")][:8]
    for row in rows:
        assert content_id(str(shared / "videos" / row["file"])) == row["sha256"]


def test_the_odd_folder_gives_all_its_files(shared: Path) -> None:
    folder = shared / "videos" / "odd"
    assert find_videos([folder]) == sorted(map(str, folder.iterdir()))
