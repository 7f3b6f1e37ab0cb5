"""Query expansion against a slow loop, and against videoalignment's figures on the golden EVVE features."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from reelspace.alignment.expansion import EXPANSIONS, Expansion, expand_queries
from reelspace.alignment.fourier import TMK, TMK_POULLOT, FourierKernel
from reelspace.alignment.methods import METHODS, TemporalMethod, best_offsets
from reelspace.errors import InvalidArgument
from reelspace.features import read_features_pkl
from reelspace.media import open_video

OFFSETS = np.arange(-80, 81)


def descriptors(method: TemporalMethod, count: int, seed: int) -> np.ndarray:
    """Sequences that share footage: pieces of one film, each on its own clock."""
    film = np.random.default_rng(7).normal(size=(120, 8))
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 80, count)
    noise = rng.normal(size=(count, 40, 8))
    return np.stack(
        [method.describe((film[s : s + 40] + n).astype(np.float32)) for s, n in zip(starts, noise, strict=True)]
    )


def asked(method: TemporalMethod, queries: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return best_offsets(method, method.normalise(queries), method.normalise(references), OFFSETS)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("expansion", [Expansion(3), Expansion(2, subtracted=5)], ids=["aqe", "don"])
def test_a_query_is_averaged_with_what_it_found_moved_to_its_time(
    name: str, expansion: Expansion, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = METHODS[name]
    queries, references = descriptors(method, 3, 1), descriptors(method, 6, 2)
    scores, best = asked(method, queries, references)
    expected = []
    for query, row, places in zip(queries, scores, best, strict=True):
        order = np.argsort(-row, kind="stable")
        total = query.copy()
        for i in order[: expansion.added]:
            total = total + method.shift(references[i], float(places[i]))
        total = total / (expansion.added + 1)
        if expansion.subtracted:
            total = total - sum(references[i] for i in order[: expansion.subtracted]) / expansion.subtracted
        expected.append(total)
    for block in (1, 1 << 30):  # bytes: a video at a time, and all at once
        monkeypatch.setattr("reelspace.alignment.expansion._BYTES_AT_ONCE", block)
        found = expand_queries(method, queries, references, scores=scores, best=best, expansion=expansion)
        np.testing.assert_allclose(found, np.stack(expected), atol=1e-5 * np.abs(expected).max())


def test_only_the_half_that_agrees_in_time_is_added_where_that_is_asked() -> None:
    method = replace(TMK, periods=(253, 100), norm="matrix")
    film = np.random.default_rng(3).normal(size=(60, 8)).astype(np.float32)
    query = method.describe(film[:40])[None]
    references = np.stack([method.describe(film[s : s + 40]) for s in (0, 5, 10, 15)])
    true = np.array([[0, 5, 10, 15]])
    wrong = np.array([[0, 5, 40, -70]])  # two were found at the wrong place
    scores = np.array([[4.0, 3.0, 2.0, 1.0]])
    consistent = Expansion(4, consistent=True)
    found = expand_queries(
        method, query, references, scores=scores, best=wrong, expansion=consistent, offsets=OFFSETS
    )
    only = expand_queries(method, query, references, scores=scores, best=true, expansion=Expansion(2))
    np.testing.assert_allclose(found, only, atol=1e-5)


def test_what_cannot_be_expanded_is_refused() -> None:
    query = descriptors(TMK, 2, 1)
    scores, best = asked(TMK, query, query)
    with pytest.raises(InvalidArgument, match="10 videos needs as many, got 2"):
        expand_queries(TMK, query, query, scores=scores, best=best, expansion=EXPANSIONS["aqe"])
    with pytest.raises(InvalidArgument, match="give the offsets"):
        expand_queries(TMK, query, query, scores=scores, best=best, expansion=Expansion(2, consistent=True))
    with pytest.raises(InvalidArgument, match="at least one video"):
        Expansion(0)


def test_torch_tensors_give_what_numpy_gives() -> None:
    torch = pytest.importorskip("torch")
    queries, references = descriptors(TMK, 2, 1), descriptors(TMK, 6, 2)
    scores, best = asked(TMK, queries, references)
    for expansion in (Expansion(2, subtracted=4), Expansion(4, consistent=True)):
        arguments = [queries, references, scores, best]
        one, other = (
            expand_queries(
                TMK,
                q,
                r,
                scores=s,
                best=o,
                expansion=expansion,
                offsets=torch.from_numpy(OFFSETS) if t else OFFSETS,
            )
            for t, (q, r, s, o) in ((False, arguments), (True, map(torch.from_numpy, arguments)))
        )
        np.testing.assert_allclose(other.numpy(), one, atol=1e-5)


class Evve:
    """The golden EVVE: 42 videos of 16-dimensional features, with videoalignment's figures in eval_results.json."""

    def __init__(self, shared: Path) -> None:
        root = shared / "golden" / "evalsets" / "EVVE"
        self.rows = [
            (event.stem, *line.split())
            for event in sorted((root / "annotations").glob("*.dat"))
            for line in event.read_text().splitlines()
        ]
        self.tracks = [self._track(root, f"{event}/{name}") for event, name, _, _ in self.rows]
        self.published = json.loads((shared / "golden" / "eval_results.json").read_text())
        self.reach = self.published["max_length"]["EVVE"]

    @staticmethod
    def _track(root: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
        with open_video(next((root / "videos").glob(f"{name}.*"))) as reader:
            rate = float(reader.video.frame_rate or 25)
        pickled = root / "rmac_resnet34_29" / f"{name}.pkl"
        times_seconds, features = read_features_pkl(pickled, video_frames_per_second=rate)
        return features, times_seconds * 15

    def mean_average_precision(self, kernel: FourierKernel, expansion: Expansion | None) -> float:
        """Every query against all database videos; nulls of its event ignored; trapezoids (facts/tmk.md, 4)."""
        split = np.array([row[3] for row in self.rows])
        described = np.stack([kernel.describe(*track) for track in self.tracks])
        queries, database = described[split == "query"], described[split == "database"]
        offsets = np.arange(-self.reach, self.reach)
        scores, best = best_offsets(kernel, kernel.normalise(queries), kernel.normalise(database), offsets)
        if expansion is not None:
            queries = expand_queries(kernel, queries, database, scores=scores, best=best, expansion=expansion)
            scores, _ = best_offsets(kernel, kernel.normalise(queries), kernel.normalise(database), offsets)
        asked, known = ([row for row in self.rows if row[3] == side] for side in ("query", "database"))
        precisions = []
        for (event, *_), row in zip(asked, scores, strict=True):
            labels = [int(known[i][2]) if known[i][0] == event else 0 for i in np.argsort(-row)]
            hits = np.flatnonzero(np.array([label for label in labels if label != -1]) == 1)
            k = np.arange(len(hits))
            before = np.where(hits == 0, 1.0, k / np.maximum(hits, 1))
            precisions.append(float(((before + (k + 1) / (hits + 1)) / 2).sum() / max(1, labels.count(1))))
        return float(np.mean(precisions))


@lru_cache(maxsize=1)
def evve(shared: Path) -> Evve:
    return Evve(shared)


@pytest.mark.parametrize(("name", "kernel"), [("TMK", TMK), ("TMK_Poullot", TMK_POULLOT)])
@pytest.mark.parametrize("expansion", ["none", "aqe", "don"])
def test_evve_with_expanded_queries_is_the_reference_s(
    name: str, kernel: FourierKernel, expansion: str, shared: Path
) -> None:
    golden = evve(shared)
    how = {"none": None, "aqe": Expansion(3), "don": Expansion(3, subtracted=20)}[expansion]
    key = "map_qe_none" if how is None else f"map_qe_{expansion}_N1=3_N2=20"
    published = golden.published[name]["EVVE"][key]["overall"]
    assert golden.mean_average_precision(kernel, how) == pytest.approx(published, abs=1e-6)
