"""From a file to its Hiera embedding: ours against the FiftyOne plugin's own way, same network, same weights.

    .venv/bin/python benchmarks/hiera_end_to_end.py [--seconds 30] [--size 1280x720] [--rounds 3]

The plugin (harpreetsahota204/hiera-video-embeddings-plugin, utils.py) has every frame decoded by the `ffmpeg`
command, stacks them all in float32, and lets `F.interpolate` squash the stack to 16 frames of 224 x 224. Here the
same is done with the pixels scaled and normalised as the checkpoint expects, so that vectors can be compared.
`--lean` lets go of each of the plugin's intermediate arrays as soon as it can: its own code keeps them, and 30 s of
720p then want more than 20 GB. Ours is `reelspace.embed(..., windows="squashed")`. Each way runs in its own
process, rounds alternate; timed is what comes after imports and loading the network. The weights are random, from a
seed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

COMMON = """
import json, resource, sys, time
from dataclasses import replace
import numpy as np, torch
from reelspace.encoders.catalog import find
from reelspace.encoders.load import load_encoder
from reelspace.encoders.spec import WeightFile, Weights
clip, folder, how = sys.argv[1:]
row = find("hiera-base-16x224-mae")
row = replace(row, weights=Weights(tuple(WeightFile(f.name) for f in row.weights.files), folder=folder))
encoder = load_encoder(row, device="cpu")
from reelspace.models import embed
from reelspace.extract.models import Model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
start = time.perf_counter()
"""
DONE = """
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([time.perf_counter() - start, peak, before, vector.ravel().tolist()]))
"""
OURS = (
    COMMON
    + """
vector = embed(clip, Model(encoder, ("terminal",), replace(row.clip, mode="squashed")))[clip]
"""
    + DONE
)
PLUGIN = (
    COMMON
    + """
import subprocess
import av
import torch.nn.functional as F
with av.open(clip) as container:
    width, height = container.streams.video[0].width, container.streams.video[0].height
pipe = subprocess.Popen(["ffmpeg", "-loglevel", "error", "-i", clip, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                        stdout=subprocess.PIPE)
frames = []
while data := pipe.stdout.read(width * height * 3):
    frames.append(np.frombuffer(data, np.uint8).reshape(height, width, 3).copy())
stack = np.stack(frames)
if how == "lean": del frames
video = torch.from_numpy(stack).float()
if how == "lean": del stack
if how == "lean":
    video = video.unsqueeze(0).permute(0, 4, 1, 2, 3)
else:
    video = video.unsqueeze(0).permute(0, 4, 1, 2, 3).contiguous()
clips = F.interpolate(video, size=(16, 224, 224), mode="trilinear")
del video
vector = encoder.encode(clips.permute(0, 2, 3, 4, 1).contiguous().numpy())["terminal"]
"""
    + DONE
)


def film(path: Path, seconds: float, width: int, height: int) -> None:
    """A moving picture with noise, as hard to decode as camera footage; the same whenever it is made."""
    from reelspace.media.writer import VideoWriter

    random = np.random.default_rng(7)
    ground = random.integers(0, 256, (height + 256, width + 256, 3), dtype=np.uint8)
    for axis in (0, 1):  # soft blobs: what a codec sees in most of a photograph
        for _ in range(6):
            ground = ((ground.astype(np.uint16) + np.roll(ground, 3, axis)) // 2).astype(np.uint8)
    grain = random.integers(-4, 5, (8, height, width, 1), dtype=np.int16)
    with VideoWriter(path, width, height, Fraction(30), crf=23) as writer:
        for i in range(round(seconds * 30)):
            x, y = int(128 + 127 * np.sin(i / 40)), int(128 + 127 * np.cos(i / 55))
            picture = ground[y : y + height, x : x + width].astype(np.int16) + grain[i % 8]
            writer.write(np.clip(picture, 0, 255).astype(np.uint8))


def weights(folder: Path) -> None:
    """A checkpoint in the hub's layout, random but the same each time."""
    import torch
    from safetensors.torch import save_file

    from reelspace.encoders.catalog import find
    from reelspace.encoders.hiera_blocks import trunk_options
    from reelspace.encoders.models.hiera import Hiera

    row = find("hiera-base-16x224-mae")
    network = Hiera(classes=400, **trunk_options(row))
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, tensor in network.state_dict().items():
        spread = 0.02 if tensor.ndim > 1 else 0.0
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        tensors[name] = centre + spread * torch.randn(tensor.shape, generator=generator)
    (name,) = (f.name for f in row.weights.files if f.name.endswith((".safetensors", ".pth")))
    save_file(tensors, folder / name)
    for file in row.weights.files:
        if file.name.endswith(".json"):
            (folder / file.name).write_text("{}")


def run(program: str, clip: Path, folder: Path, how: str) -> tuple[float, float, float, np.ndarray]:
    done = subprocess.run(
        [sys.executable, "-c", program, str(clip), str(folder), how], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{how}: ended with {done.returncode}: {done.stderr[-2000:]}")
    seconds, peak, before, vector = json.loads(done.stdout)
    return seconds, peak, before, np.array(vector)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lean", action="store_true")
    chosen = parser.parse_args()
    width, height = map(int, chosen.size.split("x"))
    with tempfile.TemporaryDirectory() as place:
        clip = Path(place) / "film.mp4"
        film(clip, chosen.seconds, width, height)
        weights(Path(place))
        ways = {"ours": OURS, "lean" if chosen.lean else "plugin": PLUGIN}
        taken: dict[str, list[tuple[float, float, float, np.ndarray]]] = {name: [] for name in ways}
        for i in range(chosen.rounds):
            for name in list(ways)[:: 1 if i % 2 else -1]:
                taken[name].append(run(ways[name], clip, Path(place), name))
        print(f"{chosen.seconds:g} s of {width}x{height}, 30 frames per second, {clip.stat().st_size / 1e6:.1f} MB")
    print("way      seconds   peak MB   of it before the first frame MB")
    for name, rounds in taken.items():
        seconds, peak, before = (statistics.median(r[i] for r in rounds) for i in range(3))
        print(f"{name:8} {seconds:7.2f} {peak:9.0f} {before:10.0f}")
    ours, theirs = taken.values()
    ratio = statistics.median(b[0] / a[0] for a, b in zip(ours, theirs, strict=True))
    memory = statistics.median(b[1] / a[1] for a, b in zip(ours, theirs, strict=True))
    apart = max(float(np.abs(a[3] - b[3]).max() / np.abs(b[3]).max()) for a, b in zip(ours, theirs, strict=True))
    print(f"{ratio:.2f} times as fast, {memory:.1f} times less peak memory")
    print(f"vectors: largest difference {apart:.2g} of the largest number")


if __name__ == "__main__":
    main()
