from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelspace.core.time import Span, total_seconds, union
from reelspace.errors import InvalidArgument

hundredths = st.integers(-500, 500)
spans = st.tuples(hundredths, hundredths).map(lambda ends: Span(min(ends) / 100, max(ends) / 100))


def ticks(span: Span) -> set[int]:
    """The hundredths of a second a span covers: a slow and obvious model of it."""
    return set(range(round(span.start * 100), round(span.end * 100)))


def test_touching_spans_share_nothing() -> None:
    assert Span(0, 1).overlap(Span(1, 2)) == 0
    assert Span(0, 1).intersection(Span(1, 2)) is None
    assert Span(0, 1).iou(Span(1, 2)) == 0


def test_a_span_holds_its_start_and_not_its_end() -> None:
    assert 1.0 in Span(1, 2)
    assert 2.0 not in Span(1, 2)


@given(spans, spans)
def test_overlap_and_iou_count_the_shared_hundredths(a: Span, b: Span) -> None:
    shared, either = len(ticks(a) & ticks(b)), len(ticks(a) | ticks(b))
    assert math.isclose(a.overlap(b), shared / 100, abs_tol=1e-9)
    assert math.isclose(a.iou(b), shared / either if either else 0.0, abs_tol=1e-9)


@given(st.lists(spans, max_size=6))
def test_a_union_covers_the_same_hundredths_and_is_disjoint(many: list[Span]) -> None:
    merged = union(many)
    assert set().union(*map(ticks, merged)) == set().union(*map(ticks, many))
    assert all(a.end < b.start for a, b in pairwise(merged))
    assert math.isclose(total_seconds(many), len(set().union(*map(ticks, many))) / 100, abs_tol=1e-9)


@pytest.mark.parametrize("ends", [(2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_impossible_ends_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(InvalidArgument, match="span"):
        Span(*ends)


def test_shifting_keeps_the_length() -> None:
    moved = Span(1, 3).shifted(0.5)
    assert (moved.start, moved.end, moved.duration, moved.middle) == (1.5, 3.5, 2, 2.5)
    assert np.isclose(Span(1, 3).hull(Span(5, 6)).duration, 5)
