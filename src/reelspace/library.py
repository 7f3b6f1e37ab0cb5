"""A folder that knows your footage: what is in it, what shows the same, and where."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from reelspace.core.clips import Mode
from reelspace.core.compact import Precision
from reelspace.core.embeddings import ClipSequence, Embeddings
from reelspace.core.results import CopyGroup, CopyMatch, CopySegment, Hit
from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.space import Space
from reelspace.core.time import Span
from reelspace.encoders.catalog import find
from reelspace.encoders.encoder import FrameEncoder, TextEncoder
from reelspace.encoders.load import Dtype, TorchEncoder
from reelspace.encoders.pictures import PictureEncoder
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument, MediaError, UnknownName
from reelspace.extract.contract import require_contract
from reelspace.extract.encode import encode_videos
from reelspace.extract.events import Event, Report
from reelspace.extract.fingerprint import fingerprint
from reelspace.extract.models import Model, as_clips, rows_of
from reelspace.extract.pipeline import extract
from reelspace.extract.plan import Plan, default_plan
from reelspace.extract.stamps import missing, stamp_of
from reelspace.media.sources import find_videos, source_names
from reelspace.models import named_output, open_model, open_models
from reelspace.store.rows import LedgerEntry, StoredVideo, Summary
from reelspace.store.store import Store
from reelspace.store.tables import frame_table_name
from reelspace.tasks import copies as copying
from reelspace.tasks import search as searching
from reelspace.tasks.calibration import (
    DEFAULT_SAMPLE,
    Calibration,
    calibrate,
    read_calibration,
    write_calibration,
)

if TYPE_CHECKING:
    from reelspace.alignment.tmk_scores import TmkStack

__all__ = ["INDEX_ABOVE_ROWS", "Library", "TmkPair", "default_place"]

INDEX_ABOVE_ROWS = 6_000_000
"""Stored frames (300 hours and more) from which candidates come from LanceDB's index instead of a product with
every row. Below, the exact product is also the quicker one, for a query is looked at in about a hundred ways."""


_COPY_ENCODERS = frozenset(encoder.space.name for encoder in default_plan().encoders)


@dataclass(frozen=True, slots=True)
class TmkPair:
    """Two whole videos whose TMK hashes agree.

    Attributes:
        query: path or URL.
        reference: path or URL.
        level1: cosine of the average features, in [-1, 1].
        level2: the best of all shifts in time.
        offset_seconds: what happens at t of the reference happens at t + offset of the query.
    """

    query: str
    reference: str
    level1: float
    level2: float
    offset_seconds: float


def default_place() -> Path:
    """Where a library lies when nobody says: ``$REELSPACE_LIBRARY``, else ``.reelspace`` in the working folder."""
    return Path(os.environ.get("REELSPACE_LIBRARY") or ".reelspace")


class Library:
    """One folder of stored fingerprints, and the questions they answer.

    Several processes may use, and extend, one library at once; readers always see whole files.

    Args:
        path: the folder; None for `default_place`.
        create: make an empty library where there is none.
        fast: read files quickly instead of exactly (see `media.open_video`). None keeps to what the library holds;
            a new one is exact.
        tmk: also keep a TMK hash of every file that is added.
        frame_precision: what a new library keeps its frames in: ``float16``, or ``int8`` at half the size. None
            keeps to what the library holds; a new one holds float16.

    Raises:
        NotALibrary: when there is none and ``create`` is off, or the folder holds something else.
        SpaceMismatch: when ``fast`` is not how the library was made.
        InvalidArgument: when ``frame_precision`` is not how the library was made.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        create: bool = True,
        fast: bool | None = None,
        tmk: bool = True,
        frame_precision: Precision | None = None,
    ) -> None:
        place = Path(path) if path is not None else default_place()
        self._store = Store.create(place, frame_precision=frame_precision) if create else Store(place)
        if frame_precision is not None:
            self._store.require_precision(frame_precision)
        held = self._store.spaces()
        made_fast = any(space.parameters.get("decoding") == "fast" for space in held.values())
        read_fast = made_fast if fast is None else fast
        plan = default_plan(fast=read_fast, tmk=tmk)
        outdated: list[FrameEncoder] = []
        for index, encoder in enumerate(plan.encoders):
            wanted = plan.encoder_space(index)
            here = held.get(frame_table_name(wanted), wanted)
            if here.parameters.get("decoding") != wanted.parameters.get("decoding"):
                here.require(wanted, where=f"{place}")
            elif here != wanted:
                outdated.append(encoder)
        self.outdated = tuple(encoder.space.name for encoder in outdated)
        """Encoders whose rows here were made by another version of them: neither used nor added to."""
        self._plan = replace(plan, encoders=tuple(e for e in plan.encoders if e not in outdated))

    @property
    def path(self) -> Path:
        """The folder."""
        return self._store.place

    @property
    def fast(self) -> bool:
        """Whether files are read quickly instead of exactly."""
        return self._plan.fast

    @property
    def _frame_spaces(self) -> list[Space]:
        return [self._plan.encoder_space(index) for index in range(len(self._plan.encoders))]

    # What is in it

    def find(self, paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
        """The video files meant by paths, folders, globs and URLs, without those inside the library itself.

        Raises:
            InvalidArgument: naming every path that is not there.
        """
        return find_videos(paths, exclude=[self.path])

    def add(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        encoders: Sequence[str | EncoderSpec | Model] = (),
        windows: Mode = "tiled",
        device: str = "auto",
        dtype: Dtype = "float32",
        compiled: bool = False,
        batch: int | None = None,
        workers: int | None = None,
        retry_failed: bool = False,
        keep_partial: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> Report:
        """Indexes files, folders, globs or URLs; files that are done and have not changed are left alone.

        Args:
            paths: one or many.
            encoders: models whose vectors are wanted besides what finds copies: names of the catalog,
                ``NAME:OUTPUT``, ``hf:ORG/NAME``, rows, or what `open_model` gave. Files that are done get only what
                they lack.
            windows: how they read a video, see `ClipSpec`.
            device: see `load_encoder`.
            dtype: likewise.
            compiled: likewise.
            batch: clips computed at a time; None for what suits the device.
            workers: decoding processes; None for one per core.
            retry_failed: try files again that failed before.
            keep_partial: index what decodes of truncated files instead of failing them.
            on_event: told of every file and its progress.

        Raises:
            InvalidArgument: naming every path that is not there.
            SpaceMismatch: when the library was made with other settings.
            UnknownName, MissingExtra, CheckpointError, FormatError: see `load_encoder`; also when a model does not
                give the vectors it gave before (`extract.contract`).
        """
        sources = self.find(paths)
        opened = [
            *(encoder for encoder in encoders if isinstance(encoder, Model)),
            *open_models(
                (encoder for encoder in encoders if not isinstance(encoder, Model)),
                windows=windows,
                device=device,
                dtype=dtype,
                compiled=compiled,
            ),
        ]
        light = [model.encoder.frame_encoder for model in opened if isinstance(model.encoder, PictureEncoder)]
        plan = replace(
            self._plan, encoders=tuple(dict.fromkeys((*self._plan.encoders, *light))), keep_partial=keep_partial
        )
        models = [model for model in opened if not isinstance(model.encoder, PictureEncoder)]
        for model in models:
            require_contract(model.encoder)
        report = extract(
            sources,
            store=self._store,
            plan=plan,
            models=models,
            batch=batch,
            workers=workers,
            retry_failed=retry_failed,
            on_event=on_event,
        )
        if report.indexed:
            for space in self._copy_spaces():
                if self._store.row_count(space) > INDEX_ABOVE_ROWS:
                    self._store.build_index(space)
            for space in (space for model in models for space in model.spaces(decoding=plan.decoding)):
                if self._store.row_count(space) > searching.SEARCH_INDEX_ABOVE_ROWS:
                    self._store.build_index(space)
        return report

    def status(self) -> Summary:
        """How many files are indexed, how many failed and why, seconds of footage, bytes on disk."""
        return self._store.summary()

    def files(self) -> list[LedgerEntry]:
        """The ledger: every file the library knows of, by path."""
        return [entry for _, entry in sorted(self._store.ledger().items())]

    def spaces(self) -> dict[str, Space]:
        """The identity of the vectors in each table."""
        return self._store.spaces()

    def missing(self) -> list[str]:
        """The files of the ledger that are not there any more: moved or deleted since."""
        return missing(self._store.ledger())

    def forget(self, paths: Iterable[str | os.PathLike[str]]) -> int:
        """Takes files, and all of folders, out of the library; returns how many files it knew.

        The files themselves are not touched, and need not be there any more.
        """
        wanted = {name for path in paths for name in source_names(path)}
        folders = tuple(f"{name}/" for name in wanted)
        return self._store.forget({s for s in self._store.ledger() if s in wanted or s.startswith(folders)})

    def forget_vectors(self, encoder: str) -> str:
        """Drops the vectors of a model, so that it may be indexed again with other weights or settings.

        Args:
            encoder: ``NAME`` or ``NAME:OUTPUT``; also reelprint or pdqf-views, whose rows `add` makes
                anew once the library is opened again.

        Returns:
            the name of the space that is gone.

        Raises:
            InvalidArgument: when the library holds none of that model, or several.
        """
        rows = self._store.spaces().get(frame_table_name(encoder))
        space = rows if rows is not None and encoder in _COPY_ENCODERS else self._model_space(encoder)
        self._store.remove_space(space)
        return str(space)

    def export(self, output: str | os.PathLike[str], *, what: str = "frames") -> int:
        """Writes what the library holds to a ``.npz`` or ``.parquet`` file, with its space.

        Args:
            output: the file.
            what: ``frames`` (of reelprint), ``pdqf-views``, ``signatures`` (TMK) or ``videos``.

        Returns:
            How many rows.

        Raises:
            UnknownName: for another ``what`` or suffix.
            InvalidArgument: when the folder of ``output`` is not there.
        """
        from reelspace.store.export import export

        return export(
            self._store,
            Path(output),
            what=what,
            frames={"frames" if s.name == "reelprint" else s.name: s for s in self._frame_spaces},
            signatures=self._plan.signer_space(0) if self._plan.signers else None,
        )

    # What means the same

    def embeddings(self, encoder: str | None = None) -> Embeddings:
        """The vectors of one of the models that the library was indexed with, memory-mapped.

        Args:
            encoder: ``NAME`` or ``NAME:OUTPUT``; None where there is only one.

        Raises:
            InvalidArgument: when the library holds none, or several and none is named.
        """
        return self._store.embeddings(self._model_space(encoder))

    def search(
        self,
        text: str,
        *,
        encoder: str | None = None,
        k: int = 10,
        against: Sequence[str] = (),
        among: Callable[[StoredVideo], bool] | None = None,
        gap_seconds: float | None = 0.0,
        device: str = "auto",
        dtype: Dtype = "float32",
    ) -> list[Hit]:
        """The moments that show what a sentence says, best first.

        Args:
            text: the sentence.
            encoder: a model with a text tower that the library was indexed with; None where there is only one.
            k: how many moments at most.
            against: sentences for what must not be there, see `tasks.search`.
            among: which videos to search, such as a `tasks.search.VideoFilter`; None for all.
            gap_seconds: windows of one video at most so far apart are one moment; None for single windows.
            device: see `load_encoder`.
            dtype: likewise.

        Returns:
            hits whose ``video`` is a path or URL.

        Raises:
            InvalidArgument: when the library holds no vectors of such a model, or of several and none is named.
            SpaceMismatch: when the model is not what it was when the library was indexed.
        """
        model, space = self._text_model(encoder, device=device, dtype=dtype)
        rows, index = self._store.indexed(space)
        vectors = _read_by(model, [text, *against])
        (hits,) = searching.search(
            rows,
            vectors[:1],
            k=k,
            against=vectors[1:] if against else None,
            distance=model.spec.distance,
            videos=self._ids(among),
            nearest=index,
            gap_seconds=gap_seconds,
        )
        return self._with_sources(hits)

    def text_scores(
        self, texts: Sequence[str], *, encoder: str | None = None, device: str = "auto", dtype: Dtype = "float32"
    ) -> tuple[NDArray[np.float32], list[str]]:
        """How like each sentence the likest moment of each video is: float32 (sentences, videos), and the videos.

        Raises:
            InvalidArgument, SpaceMismatch: see `search`.
        """
        model, space = self._text_model(encoder, device=device, dtype=dtype)
        rows = self._store.embeddings(space)
        places = self._store.sources_by_video()
        vectors = _read_by(model, texts)
        scores = searching.similarity_matrix(vectors, rows, distance=model.spec.distance)
        return scores, [places[video_id][0] for video_id in rows.video_ids]

    def similar(
        self,
        query: str | os.PathLike[str],
        *,
        span: Span | None = None,
        encoder: str | None = None,
        k: int = 10,
        by: Literal["best", "mean"] = "best",
        among: Callable[[StoredVideo], bool] | None = None,
        gap_seconds: float | None = 0.0,
        device: str = "auto",
        dtype: Dtype = "float32",
    ) -> list[Hit]:
        """The moments of other videos that are most like a video, or like a moment of it; best first.

        Like in meaning: who shows the same footage, `match` says.

        Args:
            query: path or URL. A video that the library holds is not decoded again.
            span: the moment of it; None for all of it.
            encoder: a model that the library was indexed with; None where there is only one.
            k: how many moments at most.
            by: see `tasks.search.similar`.
            among: which videos to search; None for all.
            gap_seconds: windows of one video at most so far apart are one moment; None for single windows.
            device: see `load_encoder`.
            dtype: likewise.

        Raises:
            MediaError: when the query cannot be read.
            InvalidArgument: when the library holds no vectors of such a model, or nothing lies in ``span``.
        """
        sources = self.find(query)
        if len(sources) != 1:
            raise InvalidArgument(f"similar takes one video, {os.fspath(query)!r} is {len(sources)}")
        space = self._model_space(encoder)
        video_id, clips = self._clips(sources[0], space, device=device, dtype=dtype)
        if span is not None:
            inside = (clips.starts_seconds < span.end) & (clips.ends_seconds > span.start)
            if not inside.any():
                last = float(clips.ends_seconds[-1])
                raise InvalidArgument(f"{sources[0]} has nothing from {span.start:g} s on; it ends at {last:g} s")
            clips = ClipSequence(
                clips.starts_seconds[inside], clips.ends_seconds[inside], clips.vectors[inside], clips.space
            )
        rows, index = self._store.indexed(space)
        wanted = self._ids(among)
        others = set(rows.video_ids if wanted is None else wanted) - {video_id}
        hits = searching.similar(
            rows,
            clips,
            k=k,
            by=by,
            distance=space.parameters.get("distance", "cosine"),
            videos=others,
            nearest=index,
            gap_seconds=gap_seconds,
        )
        return self._with_sources(hits)

    def _model_space(self, encoder: str | None, *, text: bool = False) -> Space:
        """The space of the vectors of a model in this library; of one with a text tower, with ``text``."""
        held = [space for space in self._store.spaces().values() if "encoder" in space.parameters]
        if encoder is not None:
            row, output = named_output(encoder)
            if text:
                _require_text(row, output)
            if any(space.name == row.name for space in self._store.spaces().values()):
                raise InvalidArgument(
                    f"{row.name} knows the same footage, not what is alike: ask `reelspace match` or `copies`"
                )
            held = [
                space
                for space in held
                if space.parameters["encoder"] == row.name and output in (None, space.parameters["output"])
            ]
        if text:
            held = [space for space in held if space.parameters.get("text")]
        if encoder is not None and len(held) > 1:  # of one model, the output that its name alone means
            tiled = [space for space in held if space.name == f"{row.name}.{row.default_output}"]
            held = tiled or held
        if len(held) == 1:
            return held[0]
        which = f"of {encoder}" if encoder else "of a model that reads text" if text else "of a model"
        if not held:
            advice = "`reelspace models --text` lists them" if text else "`reelspace models` lists them"
            raise InvalidArgument(
                f"{self.path} holds no vectors {which}; add them with: reelspace index FOLDER --encoder NAME "
                f"--library {self.path} ({advice})"
            )
        names = ", ".join(f"{s.parameters['encoder']}:{s.parameters['output']}" for s in held)
        raise InvalidArgument(f"{self.path} holds vectors of several models; choose one with --encoder: {names}")

    def _text_model(self, encoder: str | None, *, device: str, dtype: Dtype) -> tuple[TextEncoder, Space]:
        space = self._model_space(encoder, text=True)
        model = self._reopened(space, device=device, dtype=dtype).encoder
        if not isinstance(model, TextEncoder):
            raise InvalidArgument(f"{space.parameters['encoder']} has no text tower")
        return model, space

    def _reopened(self, space: Space, *, device: str, dtype: Dtype) -> Model:
        """The model that vectors of this library were made with."""
        known = space.parameters
        model = open_model(
            find(known["encoder"]),
            outputs=(known["output"],),
            windows=known["clip"]["mode"],
            device=device,
            dtype=dtype,
        )
        made = model.space(known["output"], decoding=self._plan.decoding)
        space.require(made, where=f"{self.path}")
        return model

    def _clips(self, source: str, space: Space, *, device: str, dtype: Dtype) -> tuple[str | None, ClipSequence]:
        """Content id (when known) and clip vectors of a file, from the store where it has them."""
        known = self._store.find([source]).get(source)
        if known and known.video_id and known.outcome == "indexed" and known.stamp == stamp_of(source):
            with contextlib.suppress(UnknownName):  # it was indexed without this model
                return known.video_id, self._store.clips(space, known.video_id)
        model = self._reopened(space, device=device, dtype=dtype)
        (made,) = encode_videos([source], [model], fast=self._plan.fast)
        if isinstance(made, MediaError):
            raise made
        rows = rows_of(
            model,
            made.made[0],
            model.outputs[0],
            decoding=self._plan.decoding,
            duration_seconds=made.duration_seconds,
        )
        return known.video_id if known else None, as_clips(rows)

    def _ids(self, among: Callable[[StoredVideo], bool] | None) -> set[str] | None:
        if among is None:
            return None
        return {video_id for video_id, video in self._store.videos().items() if among(video)}

    def _with_sources(self, hits: Sequence[Hit]) -> list[Hit]:
        places = self._store.sources_by_video()
        return [replace(hit, video=places[hit.video][0]) for hit in hits]

    # What shows the same

    @property
    def threshold(self) -> float:
        """The lowest score of a copied segment that is reported where no other is asked for.

        That of `calibrate` where it looked at the rows copies are found by now, else `copies.DEFAULT_THRESHOLD`.

        Raises:
            FormatError: when what is kept is no calibration.
        """
        kept = read_calibration(self.path)
        holds = kept is not None and kept.holds_for(space.fingerprint for space in self._copy_spaces())
        return kept.threshold if kept is not None and holds else copying.DEFAULT_THRESHOLD

    def calibrate(
        self,
        *,
        false_positives: float = 0.01,
        noise: Library | None = None,
        sample: int = DEFAULT_SAMPLE,
        seed: int = 0,
    ) -> Calibration:
        """Finds the threshold for a wanted false-positive rate, and keeps it with the library.

        Args:
            false_positives: wanted share, in (0, 1), of queries without a copy for which something is reported.
            noise: a library of videos that share nothing with this one: they are queries, too.
            sample: how many videos, of the library and of the noise set each, are queries.
            seed: of the sample.

        Raises:
            InvalidArgument: for a rate outside (0, 1), an empty library, or too few strangers: at least 8 videos
                need some, unless there is a noise set.
            SpaceMismatch: when the noise set was indexed with other settings.
        """
        self._require_current()
        spaces = self._copy_spaces()
        if not spaces:
            raise InvalidArgument(f"{self.path} holds no videos yet; add some with: reelspace index FOLDER")
        if noise is not None:
            noise._store.require(frames=spaces)  # noqa: SLF001
        matrices = [self._store.frame_matrix(space) for space in spaces]
        found = calibrate(
            matrices,
            noise=[noise._store.frame_matrix(space) for space in spaces] if noise is not None else (),  # noqa: SLF001
            false_positives=false_positives,
            sample=sample,
            seed=seed,
            nearest=[self._index_of(matrix) for matrix in matrices],
        )
        write_calibration(self.path, found)
        return found

    def copies(self, *, against: Library | None = None, threshold: float | None = None) -> list[CopyGroup]:
        """Groups of files that share footage, the group with the most certain pair first.

        Args:
            against: look for this library's footage in that one instead of within this one.
            threshold: lowest score of a segment; None for the library's own, of two libraries the higher one.

        Raises:
            SpaceMismatch: when the two libraries were made with different settings.
        """
        other = self if against is None else against
        self._require_current()
        mine, theirs = self._copy_spaces(), other._copy_spaces()  # noqa: SLF001
        other._store.require(frames=mine)  # noqa: SLF001
        spaces = [space for space in mine if space in theirs]
        videos, others = self._store.videos(), other._store.videos()  # noqa: SLF001
        if threshold is None:
            threshold = max(self.threshold, other.threshold)
        found = copying.merged(self._copies_by(space, other, threshold=threshold) for space in spaces)
        same_bytes = [
            match
            for id_ in (videos if other is self else videos.keys() & others.keys())
            for match in _same_bytes(videos[id_], others[id_])
        ]
        matches = [
            _named(segments, videos[query].sources[0], others[reference].sources[0])
            for (query, reference), segments in found.items()
            if query != reference
        ]
        lengths = {s: v.duration_seconds for v in (*videos.values(), *others.values()) for s in v.sources}
        return _groups([*matches, *same_bytes], lengths)

    def _copies_by(
        self, space: Space, other: Library, *, threshold: float
    ) -> dict[tuple[str, str], tuple[CopySegment, ...]]:
        """The pairs that share footage by the rows of one space: content ids, and where."""
        here = self._store.frame_matrix(space)
        there = here if other is self else other._store.frame_matrix(space)
        nearest = other._index_of(there)
        found = copying.find_copies(here, None if other is self else there, threshold=threshold, nearest=nearest)
        return {(here.video_ids[q], there.video_ids[r]): segments for q, r, segments in found}

    def match(self, query: str | os.PathLike[str], *, threshold: float | None = None) -> list[CopyMatch]:
        """Where in the library the footage of one video is, best first; parts of it, too.

        The query itself is left out. A query that the library holds is not decoded again.

        Raises:
            MediaError: when the query cannot be read.
        """
        source = self.find(query)
        if len(source) != 1:
            raise InvalidArgument(f"match takes one video, {os.fspath(query)!r} is {len(source)}")
        self._require_current()
        if not self._copy_encoders():
            return []
        video_id, sequences = self._sequences(source[0])
        if threshold is None:
            threshold = self.threshold
        opinions = []
        for sequence in sequences:
            matrix = self._store.frame_matrix(sequence.space)
            found = copying.match(
                sequence,
                matrix,
                itself=matrix.video_ids.index(video_id) if video_id in matrix.video_ids else None,
                threshold=threshold,
                nearest=self._index_of(matrix),
            )
            opinions.append({(video_id, matrix.video_ids[index]): segments for index, segments in found})
        videos = self._store.videos()
        twins = [s for s in videos[video_id].sources if s != source[0]] if video_id in videos else []
        matches = [_whole(source[0], twin, videos[video_id].duration_seconds) for twin in twins]
        for (_, reference), segments in copying.merged(opinions).items():
            matches += [_named(segments, source[0], s) for s in videos[reference].sources]
        return sorted(matches, key=lambda m: -m.score)

    def tmk_copies(self, *, against: Library | None = None, threshold: float | None = None) -> list[TmkPair]:
        """Pairs of whole videos whose TMK hashes agree on both levels, as ThreatExchange finds them.

        Args:
            against: compare with that library instead of within this one.
            threshold: for both levels; None for ThreatExchange's 0.7.

        Raises:
            UnknownName: when a library keeps no TMK hashes.
        """
        from reelspace.alignment.tmk_scores import tmk_matches

        least = 0.7 if threshold is None else threshold
        ids, blocks = self._tmk_blocks()
        other = against or self
        other_ids, other_blocks = other._tmk_blocks() if against else (ids, None)  # noqa: SLF001
        places, other_places = self._store.sources_by_video(), other._store.sources_by_video()  # noqa: SLF001
        found = tmk_matches(blocks, other_blocks, minimum_level1=least, minimum_level2=least)
        pairs = [
            TmkPair(
                places[ids[m.query]][0],
                other_places[other_ids[m.reference]][0],
                m.level1,
                m.level2,
                m.offset_seconds,
            )
            for m in found
        ]
        return sorted(pairs, key=lambda pair: -pair.level2)

    def _index_of(self, matrix: FrameMatrix) -> copying.Nearest | None:
        """How candidates are searched in a matrix of this library: None for every row, the index for very many."""
        if len(matrix.vectors) <= INDEX_ABOVE_ROWS:
            return None

        def nearest(vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            found = self._store.nearest(matrix.space, vectors, k=k, exact=False)
            return found.rows, found.scores

        return nearest

    def _copy_encoders(self) -> list[tuple[FrameEncoder, Space]]:
        """What copies are found by, as far as the library holds it."""
        held = set(self._store.spaces().values())
        wanted = zip(self._plan.encoders, self._frame_spaces, strict=True)
        return [(encoder, space) for encoder, space in wanted if space in held]

    def _require_current(self) -> None:
        if self.outdated and not self._plan.encoders:
            raise InvalidArgument(
                f"{self.path} was made with other versions of {' and '.join(self.outdated)}; drop their rows with: "
                f"reelspace forget --encoder {self.outdated[0]} --library {self.path}, and index its videos again"
            )

    def _copy_spaces(self) -> list[Space]:
        return [space for _, space in self._copy_encoders()]

    def _sequences(self, source: str) -> tuple[str, list[FrameSequence]]:
        """Content id and frame vectors of a file, one sequence for each space that copies are found by.

        From the store where it has them; what it lacks is made in one decode pass.
        """
        known = self._store.find([source]).get(source)
        video_id: str | None = None
        sequences: list[FrameSequence] = []
        missing: list[FrameEncoder] = []
        if known and known.video_id and known.outcome == "indexed" and known.stamp == stamp_of(source):
            video_id = known.video_id
        for encoder, space in self._copy_encoders():
            try:
                if video_id is None:
                    missing.append(encoder)
                else:
                    sequences.append(self._store.sequence(space, video_id))
            except UnknownName:  # it was indexed without this encoder
                missing.append(encoder)
        if missing or video_id is None:
            made = fingerprint(source, Plan(encoders=tuple(missing), fast=self._plan.fast), video_id=video_id)
            return made.video_id, [*sequences, *made.sequences]
        return video_id, sequences

    def _tmk_blocks(self) -> tuple[tuple[str, ...], Sequence[TmkStack]]:
        from reelspace.tasks.signatures import SignatureBlocks

        matrix = self._store.signatures(self._plan.signer_space(0) if self._plan.signers else "tmk")
        return matrix.video_ids, SignatureBlocks(matrix)


def _require_text(row: EncoderSpec, output: str | None) -> None:
    if row.text_output is None:
        raise InvalidArgument(f"{row.name} has no text tower; `reelspace models --text` lists those that do")
    if output not in {None, row.text_output}:
        raise InvalidArgument(f"{row.name} reads text in the space of {row.name}:{row.text_output}, got {output}")


def _read_by(model: TextEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """The vectors of texts; those that the model cannot read a word of would be searched for nothing."""
    if isinstance(model, TorchEncoder) and (unread := model.unread(texts)):
        raise InvalidArgument(f"{model.spec.name} knows no word of {unread[0]!r}; say it in other words")
    return model.encode_text(list(texts))


def _named(segments: Sequence[CopySegment], query: str, reference: str) -> CopyMatch:
    return CopyMatch(query, reference, tuple(segments), segments[0].score)


def _whole(query: str, reference: str, duration_seconds: float) -> CopyMatch:
    """The match of two files with the same bytes."""
    whole = Span(0.0, duration_seconds)
    return _named([CopySegment(whole, whole, 1.0, 1.0)], query, reference)


def _same_bytes(video: StoredVideo, other: StoredVideo) -> list[CopyMatch]:
    """Pairs of files that hold the very same bytes, each against the first."""
    first = other.sources[0]
    return [_whole(source, first, video.duration_seconds) for source in video.sources if source != first]


def _groups(matches: Sequence[CopyMatch], lengths: dict[str, float]) -> list[CopyGroup]:
    """Connected components of the pairs; each group's files longest first, its pairs and the groups best first."""
    parent: dict[str, str] = {}

    def root(file: str) -> str:
        while parent.setdefault(file, file) != file:
            parent[file] = parent[parent[file]]
            file = parent[file]
        return file

    for match in matches:
        parent[root(match.query)] = root(match.reference)
    members: dict[str, list[str]] = {}
    for file in parent:
        members.setdefault(root(file), []).append(file)
    pairs: dict[str, list[CopyMatch]] = {}
    for match in sorted(matches, key=lambda m: (-m.score, m.query, m.reference)):
        pairs.setdefault(root(match.query), []).append(match)
    return [
        CopyGroup(tuple(sorted(members[key], key=lambda file: (-lengths[file], file))), tuple(found))
        for key, found in pairs.items()
    ]
