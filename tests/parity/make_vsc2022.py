"""Makes ``data/vsc2022.json``: what the evaluator of VSC2022 and its score normalisation say of made-up answers.

    python tests/parity/make_vsc2022.py vsc2022

The argument is the git directory (or a checkout) of facebookresearch/vsc2022@644d521. It needs pandas, matplotlib,
scikit-learn and faiss-cpu. Inputs come from NumPy's generator alone, so that the tests can make them again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

BETA = 1.2
FEW = {"frame_pairs_per_query": 9, "pairs_per_query": 4}
HEADER = "query_id,ref_id,query_start,query_end,ref_start,ref_end,score"


class Row(NamedTuple):
    """One stretch, as the files of VSC2022 have it: seconds."""

    query_id: str
    ref_id: str
    query_start: float
    query_end: float
    ref_start: float
    ref_end: float
    score: float


class Case(NamedTuple):
    found: list[Row]
    true: list[Row]


def cases() -> list[Case]:
    """Twelve random ones, with ties, on a grid of an eighth of a second and off it; then some thought of."""
    return [*(_random(seed) for seed in range(12)), *_thought_of()]


def _random(seed: int) -> Case:
    random = np.random.default_rng(seed)
    grid = seed % 2 == 0

    def rows(count: int, pairs: int) -> list[Row]:
        starts, lengths = random.uniform(0, 60, (count, 2)), random.uniform(0.2, 25, (count, 2))
        scores = random.integers(1, 9, count) / 8 if seed % 3 else random.random(count)
        if grid:
            starts, lengths = np.round(starts * 8) / 8, np.ceil(lengths * 8) / 8
        ends = starts + lengths
        names = [(f"Q{i % 3:06d}", f"R{i // 3:06d}") for i in random.integers(0, pairs, count)]
        return [
            Row(*name, starts[i, 0], ends[i, 0], starts[i, 1], ends[i, 1], float(scores[i]))
            for i, name in enumerate(names)
        ]

    true = rows(8 + seed, 5)
    found = rows(20 + 3 * seed, 7)
    near = [  # half of the truth, shaken
        row._replace(query_start=max(row.query_start - shake, 0.0), ref_end=row.ref_end + shake, score=float(score))
        for row, shake, score in zip(
            true[::2], random.integers(0, 16, len(true)) / 8, random.random(len(true)), strict=False
        )
    ]
    return Case([*found, *near], true)


def _thought_of() -> list[Case]:
    def row(*ends: float, score: float = 1.0, pair: tuple[str, str] = ("Q000001", "R000001")) -> Row:
        return Row(*pair, *map(float, ends), score)

    true = [row(4, 14, 10, 18), row(20, 28, 21, 29)]
    other = ("Q000002", "R000001")
    return [
        Case([row(4, 14, 21, 29), row(20, 28, 10, 18)], true),  # crosswise: Fig. 4f of VCSL
        Case([row(14, 20, 18, 21)], true),  # touching both, sharing nothing
        Case([row(4, 9, 10, 14, score=0.5), row(9, 14, 14, 18, score=0.7)], true),  # touching one another
        Case([row(4, 14, 10, 18)] * 3, true),  # one thing said three times
        Case(
            [row(5, 8, 11, 12, score=0.9), row(4, 14, 10, 18, score=0.4), row(0, 40, 0, 40, score=0.1)], true
        ),  # nested
        Case([row(0, 40, 0, 40, score=0.9), row(4, 14, 10, 18, score=0.4)], [*true, row(6, 10, 12, 15)]),
        Case([row(4, 14, 10, 18, pair=other)], true),  # the wrong pair
        Case(
            [row(4, 14, 10, 18, pair=other), row(4, 14, 10, 18)],
            [*true, row(0, 3, 0, 3, pair=("Q000003", "R000007"))],
        ),
        Case([], true),
        Case(true, true),
        Case([row(4, 14, 10, 18, score=-2.5), row(20, 28, 21, 29, score=-3.0)], true),  # scores below 0
    ]


def answers(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores with ties, which of them are right, and how many right ones there are."""
    random = np.random.default_rng(100 + seed)
    count = (0, 1, 30, 200)[seed % 4]
    right = random.random(count) < 0.3
    scores = np.round(random.normal(size=count) + right, seed % 3)
    return scores, right, int(right.sum()) + 1 + seed


def features(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Video id, second and unit vector (of 12 numbers) of each frame of q(ueries), r(eferences) and n(oise)."""
    seed, prefix, videos = {"q": (1, "Q00", 5), "r": (2, "R00", 12), "n": (3, "R90", 20)}[name]
    random = np.random.default_rng(seed)
    counts = random.integers(3, 9, videos)
    ids = np.repeat([f"{prefix}{number:04d}" for number in range(videos)], counts)
    vectors = random.normal(size=(len(ids), 12)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return ids, np.concatenate([np.arange(count) for count in counts]).astype(np.float32), vectors


def write_csv(rows: list[Row], path: Path) -> None:
    path.write_text("\n".join([HEADER, *(",".join(map(str, row)) for row in rows)]) + "\n", "utf-8")


def main(repository: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "-C", repository, "archive", "HEAD", "vsc"], check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        sys.path.insert(0, folder)
        from vsc import descriptor_eval_lib, metrics
        from vsc.baseline.score_normalization import score_normalize
        from vsc.storage import load_features, store_features

        place = Path(folder)
        matching = []
        for case in cases():
            found = [metrics.Match(**row._asdict()) for row in case.found]
            true = [metrics.Match(**row._asdict()) for row in case.true]
            pairs = [metrics.CandidatePair.from_matches(rows) for rows in (true, found)]
            by_pair = (
                metrics.average_precision(*pairs).ap if found and min(r.score for r in case.found) > 0 else 0.0
            )
            matching.append([metrics.match_metric(true, found).ap, float(by_pair)])
        ranked = []
        for seed in range(12):
            scores, right, total = answers(seed)
            predicted = [metrics.CandidatePair(i, 0, s) for i, s in enumerate(scores)]
            wanted = np.flatnonzero(right).tolist()
            wanted += range(1000, 1000 + total - len(wanted))
            truth = [metrics.CandidatePair(i, 0, 1.0) for i in wanted]
            ranked.append(float(metrics.average_precision(truth, predicted).ap) if len(scores) else 0.0)
        places = {}
        for name in ("q", "r", "n"):
            ids, times, vectors = features(name)
            places[name] = place / f"{name}.npz"
            np.savez(places[name], video_ids=ids, features=vectors, timestamps=times)
        write_csv(cases()[0].true, place / "truth.csv")
        loaded = {name: load_features(path) for name, path in places.items()}
        evaluate = descriptor_eval_lib.evaluate_descriptor_track
        descriptor, candidates = evaluate(places["q"], places["r"], place / "truth.csv")
        queries, references = score_normalize(
            loaded["q"], loaded["r"], loaded["n"], l2_normalize=True, replace_dim=False, beta=BETA
        )
        store_features(place / "qn.npz", queries)
        store_features(place / "rn.npz", references)
        normalised, after = evaluate(place / "qn.npz", place / "rn.npz", place / "truth.csv")
        descriptor_eval_lib.RETRIEVAL_CANDIDATES_PER_QUERY = FEW["frame_pairs_per_query"]
        _, by_frames = evaluate(places["q"], places["r"], place / "truth.csv")
        descriptor_eval_lib.RETRIEVAL_CANDIDATES_PER_QUERY = 1200
        descriptor_eval_lib.AGGREGATED_CANDIDATES_PER_QUERY = FEW["pairs_per_query"]
        _, by_pairs = evaluate(places["q"], places["r"], place / "truth.csv")
        numbers = {
            "commit": subprocess.run(
                ["git", "-C", repository, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
            ).stdout.strip(),
            "matching": matching,
            "ranked": ranked,
            "descriptor": float(descriptor.ap),
            "candidates": sorted([c.query_id, c.ref_id, float(c.score)] for c in candidates),
            "bias": np.concatenate([query.feature[:, -1] for query in queries]).astype(float).tolist(),
            "normalised": float(normalised.ap),
            "few_frames": sorted([c.query_id, c.ref_id, float(c.score)] for c in by_frames),
            "few_pairs": sorted([c.query_id, c.ref_id, float(c.score)] for c in by_pairs),
            "normalised_candidates": sorted([c.query_id, c.ref_id, float(c.score)] for c in after),
        }
    target = Path(__file__).parent / "data" / "vsc2022.json"
    target.write_text(json.dumps(numbers) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
