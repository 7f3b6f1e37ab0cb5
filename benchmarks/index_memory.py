"""Peak memory of indexing one long video: it must not grow with the length but for the stored rows themselves.

    python benchmarks/index_memory.py [--minutes 1 10 60]

A rendered clip is repeated without coding it again until it is long enough, and indexed with everything the command
`index` makes, by one worker process. Printed: peak resident memory of the worker and of the process that writes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av

from reelspace.media.synthetic import render_clips

INDEX = """
import json, resource, sys
from reelspace.encoders.models.pdqf_views import PdqfViews
from reelspace.extract.pipeline import extract
from reelspace.extract.plan import Plan, TmkSigner
from reelspace.store.store import Store
store = Store.create(sys.argv[1])
report = extract([sys.argv[2]], store=store, plan=Plan((PdqfViews(),), (TmkSigner(),)), workers=1)
peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
rows = len(store.frame_matrix("pdqf-views").vectors)
print(json.dumps([report.indexed, report.video_seconds, report.elapsed_seconds, rows, *peaks]))
"""


def repeat(clip: Path, target: Path, seconds: float) -> None:
    """Copies the clip's packets over and over, each round later by its length."""
    with av.open(str(target), "w") as output:
        with av.open(str(clip)) as source:
            stream = output.add_stream_from_template(source.streams.video[0])
            length = Fraction(source.streams.video[0].duration) * source.streams.video[0].time_base
        for number in range(max(1, round(seconds / length))):
            with av.open(str(clip)) as source:
                video = source.streams.video[0]
                later = round(number * length / video.time_base)
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    packet.dts += later
                    packet.pts += later
                    packet.stream = stream
                    output.mux(packet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60])
    minutes = parser.parse_args().minutes
    print("minutes of video   rows stored   seconds taken   worker peak MB   writer peak MB")
    with tempfile.TemporaryDirectory() as folder:
        (clip,) = render_clips(folder, count=1, seconds=20)
        for each in minutes:
            film = Path(folder) / f"{each:g}.mp4"
            repeat(clip, film, each * 60)
            done = subprocess.run(
                [sys.executable, "-c", INDEX, f"{folder}/{each:g}", str(film)], check=True, stdout=subprocess.PIPE
            )
            indexed, video_seconds, elapsed, rows, worker, writer = json.loads(done.stdout)
            if not indexed:
                sys.exit(f"{film} was not indexed")
            print(
                f"{video_seconds / 60:16.1f} {rows:13d} {elapsed:15.1f} {worker:16.0f} {writer:16.0f}", flush=True
            )


if __name__ == "__main__":
    main()
