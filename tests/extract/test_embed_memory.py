"""What embedding needs of memory is what waits for the model, however long the video."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av

from reelspace.media.synthetic import render_clips

TESTS = Path(__file__).resolve().parents[1]
EMBED = """
import resource, sys
from dataclasses import replace
sys.path.insert(0, sys.argv[1])
import colour_words
from reelspace import embed
from reelspace.encoders.catalog import register
from reelspace.encoders.spec import Preprocessing
row = replace(colour_words.row(spacing_seconds=0.3), preprocessing=Preprocessing("shortest", 224, 224))
register(row)
made = embed([sys.argv[2]], row.name, workers=1)
print(len(made.embeddings), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


def repeat(clip: Path, target: Path, times: int) -> None:
    """Copies the clip's packets so many times, each round later by its length."""
    with av.open(str(clip)) as source, av.open(str(target), "w") as output:
        video = source.streams.video[0]
        stream = output.add_stream_from_template(video)
        length = round(Fraction(video.duration or 0))
        for number in range(times):
            source.seek(0)
            for packet in source.demux(video):
                if packet.dts is not None:
                    packet.dts += number * length
                    packet.pts += number * length
                    packet.stream = stream
                    output.mux(packet)


def test_ten_minutes_take_little_more_memory_than_one(tmp_path: Path):
    (clip,) = render_clips(tmp_path, count=1, seconds=10, scale=0.5)
    with av.open(str(clip)) as source:
        seconds = float((source.duration or 0) / av.time_base)
    clips, peaks_mb = [], []
    for minutes in (1, 10):
        film = tmp_path / f"{minutes}.mp4"
        repeat(clip, film, round(minutes * 60 / seconds))
        done = subprocess.run(
            [sys.executable, "-c", EMBED, str(TESTS), str(film)], check=True, stdout=subprocess.PIPE, text=True
        )
        count, peak_mb = map(int, done.stdout.split())
        clips.append(count)
        peaks_mb.append(peak_mb)
    clip_mb = 4 * 224 * 224 * 3 / 2**20
    assert (clips[1] - clips[0]) * clip_mb > 200  # all of them would not fit into what is allowed below
    assert peaks_mb[1] - peaks_mb[0] < 100
