"""Copied stretches on samples, in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelspace.core.time import Span
from reelspace.errors import InvalidArgument
from reelspace.media import probe
from reelspace.media.synthetic import render_clips, render_copies


@pytest.fixture(scope="module", name="planted")
def fixture_planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies")
    clips = render_clips(folder, count=2, seconds=11, seed=3)
    return clips, render_copies(clips, folder, edits=["excerpt"])[0]


@pytest.fixture(name="footage")
def fixture_footage(fo, planted, videos):
    clips, copy = planted
    made = fo.Dataset()
    made.media_type = "video"
    made.add_samples([fo.Sample(filepath=str(p)) for p in (*clips, copy.query, videos[3], videos[3].with_name("no.mp4"))])
    yield made
    made.delete()
