"""How well copies are found and placed: variants, natural clips that must not match, and edits with known truth.

    python benchmarks/copies_quality.py [--videos ../shared/videos] [--half report|tune] [--method hough]
                                        [--encoder both|pdqf-views|reelprint|NAME] [--queries FOLDER]

NAME is any model of pictures in the catalog whose weights are here, such as sscd-disc-mixup or dinov2-base: two
pictures a second, scored as any encoder that no curve was fitted for.

Clips are split in two halves by the hash of their name: thresholds and the score's curve were fitted on the `tune`
half; figures are reported on the other. Every edit of a clip (benchmarks/copy_edits.py) is searched for among all
natural clips. With `--encoder both` a pair has the higher of its two scores. A pair is false when the query shows
nothing of the reference. With `--queries` the edited clips are kept in a folder, so that encoders are compared on
the very same files.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from functools import lru_cache, partial
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from copy_edits import EDITS, GEOMETRIC, Truth, load_clip, render, tuning_half
from reelspace.core.results import CopySegment
from reelspace.core.sequence import FrameMatrix, FrameSequence
from reelspace.core.space import Space
from reelspace.core.time import Span
from reelspace.encoders.encoder import FrameEncoder
from reelspace.encoders.models.pdqf_views import PdqfViews
from reelspace.encoders.models.reelprint import Reelprint
from reelspace.errors import MediaError
from reelspace.extract.encode import encode_videos
from reelspace.extract.models import Model, rows_of
from reelspace.media import open_video
from reelspace.models import open_model
from reelspace.tasks import copies
from reelspace.tasks.cohort import Cohort

ENCODERS: dict[str, FrameEncoder] = {"pdqf-views": PdqfViews(), "reelprint": Reelprint()}

HARD_NEGATIVES = {  # different footage of one place, by glob
    "people signing in one room": ("natural/asl_*", "odd/*asl*"),
    "toys on one table": ("natural/*_table.*",),
    "two takes of one skyline": ("natural/rooftop_skyline_360p.mp4", "odd/av1_10bit_hdr10_portrait_roof.mp4"),
}


@lru_cache(maxsize=1)
def model_of(name: str) -> Model:
    return open_model(name)


def described_by(name: str, path: Path) -> FrameSequence | None:
    model = model_of(name)
    (outcome,) = encode_videos([str(path)], [model], workers=1, keep_partial=True)
    if isinstance(outcome, MediaError):
        return None
    seconds = outcome.duration_seconds
    rows = rows_of(model, outcome.made[0], model.outputs[0], decoding="exact", duration_seconds=seconds)
    return rows if isinstance(rows, FrameSequence) else None


def describe(path: Path, encoder: FrameEncoder | str) -> FrameSequence | None:
    """The stored form of one video; None for one that cannot be read."""
    if isinstance(encoder, str):
        return described_by(encoder, path)
    times: list[float] = []
    pictures: list[np.ndarray] = []
    try:
        with open_video(path) as reader:
            duration = reader.video.duration_seconds
            for _, frame in reader.read([encoder.tap]):
                times.append(frame.time_seconds)
                pictures.append(frame.pixels)
    except MediaError:
        if not pictures:
            return None
    found = encoder.encode(np.stack(pictures))
    rows, views = np.nonzero(found.weights > 0)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.2
    return FrameSequence(
        np.array(times)[rows],
        found.vectors[rows, views].astype(np.float16),
        views.astype(np.uint8),
        found.weights[rows, views],
        encoder.space,
        duration if duration is not None else times[-1] + step,
    )


@dataclass(frozen=True)
class Answer:
    """What was found for one query."""

    edit: str
    truths: tuple[Truth, ...]
    found: tuple[tuple[str, tuple[CopySegment, ...]], ...]


@dataclass(frozen=True)
class Setting:
    """What every query is made from and searched in; handed to each worker once."""

    clips: dict[str, np.ndarray]
    libraries: tuple[FrameMatrix, ...]  # one per encoder
    cohorts: tuple[Cohort | None, ...]
    encoders: tuple[FrameEncoder | str, ...]
    method: str
    queries: Path | None


SETTING: list[Setting] = []


def answer(job: tuple[str, str]) -> Answer:
    """Renders one edit of one clip and searches for it."""
    name, edit = job
    setting = SETTING[0]
    with tempfile.TemporaryDirectory() as folder:
        folder_of_queries = setting.queries or Path(folder)
        path, truths = rendered(folder_of_queries, name, edit, setting.clips, list(setting.clips))
        described = [describe(path, encoder) for encoder in setting.encoders]
    best: dict[str, tuple[CopySegment, ...]] = {}
    for query, library, cohort in zip(described, setting.libraries, setting.cohorts, strict=True):
        if query is None:
            continue
        found = copies.match(query, library, threshold=0, k=10, method=setting.method, cohort=cohort)
        for name, segments in ((library.video_ids[f.reference], f.segments) for f in found):
            if name not in best or segments[0].score > best[name][0].score:
                best[name] = segments
    return Answer(edit, tuple(truths), tuple(best.items()))


def rendered(
    folder: Path, name: str, edit: str, clips: dict[str, np.ndarray], others: list[str]
) -> tuple[Path, list[Truth]]:
    """One query and its truth, rendered unless the folder has it."""
    stem = f"{Path(name).stem}-{edit}".replace(" ", "_").replace("%", "")
    path, beside = folder / f"{stem}.mp4", folder / f"{stem}.json"
    if not beside.exists():
        truths = render(path, name, edit, clips, others)
        beside.write_text(json.dumps([asdict(truth) for truth in truths]))
    return path, [
        Truth(t["name"], tuple(t["query"]), tuple(t["reference"]), t["speed"], t["mirrored"])
        for t in json.loads(beside.read_text())
    ]


def micro_average_precision(answers: Sequence[Answer]) -> float:
    """µAP over all (query, clip) pairs of the edited clips themselves, as in VSC2022."""
    ranked = sorted(
        (
            (segments[0].score, name == a.truths[0].name)
            for a in answers
            for name, segments in a.found
            if name == a.truths[0].name or name not in {t.name for t in a.truths}
        ),
        reverse=True,
    )
    right = np.array([r for _, r in ranked], dtype=float)
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float((precision * right).sum() / len(answers))


def edits_table(answers: Sequence[Answer]) -> None:
    threshold = copies.DEFAULT_THRESHOLD
    print(f"\nEdits: {len(answers)} queries; found and false at the default threshold {threshold}")
    print(f"{'edit':33s}   µAP  found  false   IoU  boundary error s (median, 90 %)  speed error  mirror right")
    for edit in (*dict.fromkeys(a.edit for a in answers), "all"):
        mine = [a for a in answers if edit in {a.edit, "all"}]
        placed: list[tuple[CopySegment, Truth]] = []
        false = 0
        for a in mine:
            for name, segments in a.found:
                if segments[0].score < threshold:
                    continue
                if name == a.truths[0].name:
                    span = Span(*map(float, a.truths[0].query))
                    placed.append((max(segments, key=lambda s: s.query.overlap(span)), a.truths[0]))
                elif name not in {t.name for t in a.truths}:
                    false += 1
        line = f"{edit:33s} {micro_average_precision(mine):5.3f}  {len(placed) / len(mine):5.3f}  {false:5d}"
        if placed:
            errors = [
                abs(got - true)
                for s, t in placed
                for got, true in zip(
                    (s.query.start, s.query.end, s.reference.start, s.reference.end),
                    chain(t.query, t.reference),
                    strict=True,
                )
            ]
            iou = np.mean([s.query.iou(Span(*map(float, t.query))) for s, t in placed])
            speed = np.median([abs(s.speed - t.speed) / t.speed for s, t in placed])
            mirror = np.mean([s.mirrored == t.mirrored for s, t in placed])
            line += f"  {iou:5.3f}  {np.median(errors):14.3f} {np.quantile(errors, 0.9):16.3f}"
            line += f"  {speed:11.3f}  {mirror:12.2f}"
        print(line)


def found_without_false(answers: Sequence[Answer]) -> float:
    """Share of the queries whose clip scores above every false pair of all queries."""
    false = max(
        (s[0].score for a in answers for name, s in a.found if name not in {t.name for t in a.truths}), default=0.0
    )
    right = [max((s[0].score for name, s in a.found if name == a.truths[0].name), default=0.0) for a in answers]
    return float(np.mean(np.array(right) > false))


def groups_table(answers: Sequence[Answer]) -> None:
    groups = {
        "geometric": [a for a in answers if a.edit in GEOMETRIC],
        "inserted + photometric + geometric": [a for a in answers if a.edit.startswith("inserted +")],
        "everything": list(answers),
    }
    print(f"\n{'edits':36s} queries    µAP  found without a single false pair")
    for name, mine in groups.items():
        if mine:
            print(
                f"{name:36s} {len(mine):7d}  {micro_average_precision(mine):5.3f}  {found_without_false(mine):5.3f}"
            )


def reliability_table(answers: Sequence[Answer]) -> None:
    """What the scores promise, and what holds: pairs of a query and a clip of which anything at all was found."""
    said, right = np.array(
        [
            (segments[0].score, name == a.truths[0].name)
            for a in answers
            for name, segments in a.found
            if name == a.truths[0].name or name not in {t.name for t in a.truths}
        ]
    ).T
    print("\nscore          pairs  share that is the same footage")
    for low, high in pairwise((0.0, 0.02, 0.1, 0.3, 0.6, 0.9, 1.0 + 1e-9)):
        inside = (said >= low) & (said < high)
        if inside.any():
            print(f"{low:4.2f} - {min(high, 1):4.2f}   {inside.sum():6d}  {right[inside].mean():.3f}")


def hard_negatives_table(strangers: dict[frozenset[str], float]) -> None:
    print("\nhard negatives: highest score of different footage")
    for what, patterns in HARD_NEGATIVES.items():
        worst = max(
            (
                (score, " / ".join(sorted(pair)))
                for pair, score in strangers.items()
                if all(any(fnmatch(name, pattern) for pattern in patterns) for name in pair)
            ),
            default=(0.0, "no pair came up"),
        )
        print(f"  {what:30s} {worst[0]:5.3f}  {worst[1]}")


def pairs_among(matrices: Sequence[FrameMatrix], method: str) -> dict[tuple[str, str], tuple[CopySegment, ...]]:
    """The pairs of files, query first, that share footage by any of the encoders, and where."""
    return copies.merged(
        {
            (matrix.video_ids[q], matrix.video_ids[r]): segments
            for q, r, segments in copies.find_copies(matrix, threshold=0.0, method=method)
        }
        for matrix in matrices
    )


def natural_table(videos: Path, matrices: Sequence[FrameMatrix], method: str) -> None:
    """All pairs of the real files: true overlaps, variants, and what must not match."""
    with (videos / "overlaps.csv").open() as lines:
        true = {
            frozenset((r["file_a"], r["file_b"])): True
            for r in csv.DictReader(lines)
            if "NOT" not in "".join(r.values())
        }
    with (videos / "variants.csv").open() as lines:
        source = {r["file"]: r["variant_of"] for r in csv.DictReader(lines)}
    parent = {frozenset(pair): pair for pair in source.items()}

    stored = [name for matrix in matrices for name in matrix.video_ids]
    families = {name: {name} for name in stored}
    for pair in (*true, *parent):  # files that show the same, directly or through one another
        together = set().union(*(families.get(name, {name}) for name in pair))
        families.update(dict.fromkeys(together, together))

    began = time.perf_counter()
    found = pairs_among(matrices, method)
    seconds = time.perf_counter() - began
    pairs = {frozenset(names): (names[0], segments[0]) for names, segments in found.items()}
    print(f"\n{len(set(stored))} files against one another: {seconds:.1f} s")
    print(f"\n{'variant':45s} score  query seconds   seconds of the original  speed")
    for pair, (variant, _) in parent.items():
        if pair not in pairs:
            print(f"{variant:45s} not found")
            continue
        query, s = pairs[pair]
        print(
            f"{variant:45s} {s.score:5.3f}  {s.query.start:5.2f} - {s.query.end:5.2f}   "
            f"{s.reference.start:5.2f} - {s.reference.end:5.2f}            {s.speed:5.2f}"
            f"{'  (the original is the query)' if query != variant else ''}"
        )
    threshold = copies.DEFAULT_THRESHOLD
    scores = {pair: segment.score for pair, (_, segment) in pairs.items()}
    kept = {pair for pair, score in scores.items() if score >= threshold}
    strangers = [p for p in pairs if not p <= families[min(p)]]
    worst = sorted(strangers, key=lambda p: -scores[p])[:6]
    natural = [p for p in strangers if all(name.startswith("natural/") for name in p)]
    print(f"\ntrue overlaps found: {len(kept & true.keys())} of {len(true)}")
    for pair in true.keys() - kept:
        missing = [name for name in pair if name not in stored]
        score = scores.get(pair, 0.0)
        why = f"not stored: {missing}" if missing else f"score {score:.3f}"
        print(f"  missed: {' / '.join(sorted(pair))} ({why})")
    print(f"variants found: {len(kept & parent.keys())} of {len(parent)}")
    print(
        f"false pairs among the natural clips: {len(kept.intersection(natural))}; among all files: "
        f"{len(kept.intersection(strangers))}"
    )
    for pair in worst:
        print(f"  highest score of strangers: {scores[pair]:.3f}  {' / '.join(sorted(pair))}")
    hard_negatives_table({pair: scores[pair] for pair in strangers})


def speed_table(space: Space, times_per_second: float = 5) -> None:
    """One 30 s query against 1,000 videos of 60 s, vectors by formula."""
    random = np.random.default_rng(0)
    count, frames = 1000, round(60 * times_per_second)

    def made_up(n: int) -> FrameSequence:
        vectors = np.cumsum(random.normal(size=(n, space.dimensions)), axis=0).astype(
            np.float32
        )  # neighbours alike
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        zeros = np.zeros(n, np.uint8)
        return FrameSequence(
            np.arange(n) / times_per_second,
            vectors.astype(np.float16),
            zeros,
            np.ones(n, np.float32),
            space,
            n / times_per_second,
        )

    library = FrameMatrix.concatenate([made_up(frames) for _ in range(count)], [str(i) for i in range(count)])
    whole = library.sequence(500)
    part = FrameSequence(
        whole.times_seconds[: frames // 2],
        whole.vectors[: frames // 2],
        whole.views[: frames // 2],
        whole.weights[: frames // 2],
        whole.space,
        30.0,
    )
    copies.match(part, library)
    began = time.perf_counter()
    found = copies.match(part, library)
    seconds = time.perf_counter() - began
    print(
        f"\n{space.name}, match: a 30 s query against {count} videos of 60 s ({len(library.vectors)} rows): "
        f"{seconds:.2f} s, "
        f"{len(library.vectors) / seconds:,.0f} rows/s, found video {found[0].reference}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[2] / "shared" / "videos"
    parser.add_argument("--videos", type=Path, default=here)
    parser.add_argument("--half", choices=["report", "tune"], default="report")
    parser.add_argument("--method", default="hough")
    parser.add_argument("--encoder", default="both")
    parser.add_argument("--queries", type=Path, help="folder in which edited clips are kept from run to run")
    parser.add_argument("--every", type=int, default=1, help="use every n-th query only")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()

    files = sorted(arguments.videos.glob("*/*"))
    names = [f"{p.parent.name}/{p.name}" for p in files]
    wanted = tuple(ENCODERS) if arguments.encoder == "both" else (arguments.encoder,)
    encoders = tuple(ENCODERS.get(name, name) for name in wanted)
    if arguments.queries is not None:
        arguments.queries.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(arguments.workers) as pool:
        read: list[dict[str, FrameSequence]] = []
        for encoder in encoders:
            described = zip(names, pool.map(partial(describe, encoder=encoder), files), strict=True)
            read.append({name: sequence for name, sequence in described if sequence is not None and len(sequence)})
        natural = [n for n in names if n.startswith("natural/") and all(n in one for one in read)]
        mine = [n for n in natural if tuning_half(n) == (arguments.half == "tune")]
        clips = dict(zip(mine, pool.map(load_clip, [arguments.videos / n for n in mine]), strict=True))
    print(f"\n{' and '.join(wanted)}")
    natural_table(
        arguments.videos, [FrameMatrix.concatenate(list(one.values()), list(one)) for one in read], arguments.method
    )
    # Which looks are tried, and who is a stranger, depends on what else is there: the natural clips by themselves.
    libraries = tuple(FrameMatrix.concatenate([one[n] for n in natural], natural) for one in read)
    scores = sorted((s[0].score for s in pairs_among(libraries, arguments.method).values()), reverse=True)
    false = sum(score >= copies.DEFAULT_THRESHOLD for score in scores)
    print(
        f"the natural clips by themselves: {false} false pairs, highest scores {np.round(scores[:3], 3).tolist()}"
    )
    for matrix in libraries:
        speed_table(matrix.space)
    cohorts = tuple(copies.cohort_of(matrix) for matrix in libraries)
    setting = Setting(clips, libraries, cohorts, encoders, arguments.method, arguments.queries)
    jobs = [(name, edit) for edit in EDITS for name in mine][:: arguments.every]
    with ProcessPoolExecutor(arguments.workers, initializer=SETTING.append, initargs=(setting,)) as pool:
        answers = list(pool.map(answer, jobs, chunksize=4))
    edits_table(answers)
    groups_table(answers)
    reliability_table(answers)


if __name__ == "__main__":
    main()
