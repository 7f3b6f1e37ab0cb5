"""What each ingredient of reelprint's training brings: short runs, each without one, judged on real frames.

    nice -n 15 python benchmarks/descriptor_ablation.py VIDEOS RUNS [--steps 200] [--films 16] [--only NAME ...]
    python benchmarks/descriptor_ablation.py VIDEOS RUNS --judge FOLDER ...   # other runs, the first the base

Every run has the same seed, steps and films; the full recipe runs under two seeds, whose difference is the noise.
Runs lie in folders of RUNS, so what is interrupted goes on where it stopped. The judge sees real frames, which
training never does: frames of the tuning half of the natural clips (copy_edits.tuning_half), each under edits of
FFmpeg and numpy that are not the training's own, are sought among the unedited frames of all other clips. The table
has the micro average precision per family of edits, in points, and the share found at the first rank.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray

from copy_edits import filtered, fit, load_clip, tuning_half
from reelspace.training import edits, images
from reelspace.training.descriptor import Recipe, ReelprintNet, train

SIDE = 64  # what the net reads

LOSS: dict[str, dict[str, Any]] = {
    "entropy term": {"entropy": 0.0},
    "moving average": {"averaging": 0.0},
    "hardening": {"hardening": 0},
    "(with) memory of 2048": {"memory": 2048},
}
"""Ingredients that are a number of the recipe; the last is one that it goes without."""

BOX = "drawbox=iw*0.62:ih*0.08:iw*0.3:ih*0.22:color=orange:t=fill"
SEPIA = "colorchannelmixer=.393:.769:.189:0:.349:.686:.168:0:.272:.534:.131"
FAMILIES: dict[str, tuple[str, ...]] = {
    "crop": ("crop=iw*0.775:ih*0.775:iw*0.15:ih*0.1", "crop=iw*0.65:ih*0.65:iw*0.1:ih*0.2", "crop=iw*0.6:ih"),
    "surroundings": (
        "pad=iw:ih*1.4:0:(oh-ih)/2",
        "pad=iw*1.5:ih:(ow-iw)/2:0:color=white",
        "pad=iw*1.6:ih*1.6:(ow-iw)*0.3:(oh-ih)*0.7:color=gray",
        "picture in picture",
        "side by side",
    ),
    "turns": ("rotate=0.14", "transpose=1", "vflip,hflip"),
    "mirror": ("hflip",),
    "perspective": (
        "seen from below",
        "seen from the right",
    ),
    "colours": (
        "hue=s=0",
        SEPIA,
        "lutyuv=y=gammaval(0.59)",
        "lutyuv=y=gammaval(1.67)",
        "lutyuv=y=val*0.7+90",
    ),
    "overlays": (BOX, "drawbox=0:ih*0.75:iw:ih*0.2:color=black@0.8:t=fill"),
    "coding": ("gblur=sigma=5", "noise=alls=50:allf=t", "compressed"),
    "together": (
        f"hflip,crop=iw*0.8:ih*0.8:iw*0.15:ih*0.1,{BOX},hue=s=0",
        "crop=iw*0.85:ih*0.85,pad=iw:ih*1.3:0:(oh-ih)/2,lutyuv=y=gammaval(0.67)",
        f"rotate=0.1,{SEPIA},gblur=sigma=3",
    ),
}
"""Edits of the judge: FFmpeg's filters, and names of `MADE`."""
WITH_OTHERS = {"picture in picture", "side by side"}
"""The edits that show another clip, too."""


def over_another(frames: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At half the size in the corner of other pictures."""
    out = fit(others, *frames.shape[1:3]).copy()
    small = frames[:, ::2, ::2]
    out[:, -small.shape[1] :, -small.shape[2] :] = small
    return out


def beside_another(frames: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Left of other pictures."""
    return np.concatenate([frames, fit(others, *frames.shape[1:3])], axis=2)


def aslant(frames: NDArray[np.uint8], across: float, down: float) -> NDArray[np.uint8]:
    """Seen at an angle, black around: nearest pixels of a homography."""
    height, width = frames.shape[1:3]
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j] * 1.1
    depth = 1 + across * u + down * v
    x, y = u / depth, v / depth
    rows, columns = (np.rint((a + 1) / 2 * (n - 1)).astype(int) for a, n in ((y, height), (x, width)))
    out = frames[:, rows.clip(0, height - 1), columns.clip(0, width - 1)]
    return out * (np.maximum(np.abs(x), np.abs(y)) <= 1)[:, :, None].astype(np.uint8)


def compressed(frames: NDArray[np.uint8], _others: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each frame through H.264 at 160 pixels and a quality of 42."""
    rows = round(frames.shape[1] * 160 / frames.shape[2] / 2) * 2
    out = []
    for pixels in frames:
        coder, decoder = (av.CodecContext.create(*how) for how in (("libx264", "w"), ("h264", "r")))
        coder.width, coder.height, coder.pix_fmt, coder.framerate = 160, rows, "yuv420p", 15
        coder.options = {"crf": "42", "preset": "veryfast", "tune": "zerolatency", "threads": "1"}
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        packets = [*coder.encode(frame.reformat(160, rows, "yuv420p", interpolation="AREA")), *coder.encode()]
        shown = [f for packet in packets for f in decoder.decode(packet)] + decoder.decode()
        out.append(shown[0].to_ndarray(format="rgb24"))
    return np.stack(out)


MADE: dict[str, Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "picture in picture": over_another,
    "side by side": beside_another,
    "seen from below": lambda frames, _: aslant(frames, 0.05, 0.3),
    "seen from the right": lambda frames, _: aslant(frames, 0.3, -0.1),
    "compressed": compressed,
}


def edited(frames: NDArray[np.uint8], others: NDArray[np.uint8], edit: str) -> NDArray[np.uint8]:
    """What the net reads of edited frames: (N, 64, 64, 3)."""
    if edit in MADE:
        frames, edit = MADE[edit](frames, others), "null"
    small = [f.reformat(SIDE, SIDE, "rgb24", interpolation="AREA").to_ndarray() for f in filtered(frames, edit)]
    return np.stack(small)


class Pictures:
    """The judge's pictures, made once and kept in a file.

    Attributes:
        seen: edit -> uint8 (N, 64, 64, 3), the same frames under each; ``null``: unedited.
        strange: bool (N, N), whether two frames are of clips that share nothing.
        beside: bool (N, N), whether the second frame's clip is what `WITH_OTHERS` show beside the first.
    """

    def __init__(self, videos: Path, kept: Path, *, frames_per_clip: int) -> None:
        if not kept.exists():
            _draw(videos, kept, frames_per_clip)
        with np.load(kept) as arrays:
            self.strange, self.beside = arrays["strange"], arrays["beside"]
            self.seen = {name: arrays[name] for name in arrays.files if name not in ("strange", "beside")}


def _draw(videos: Path, kept: Path, frames_per_clip: int) -> None:
    names = sorted(f"natural/{path.name}" for path in (videos / "natural").iterdir())
    names = [name for name in names if tuning_half(name)]
    with (videos / "overlaps.csv").open() as lines:
        known = {(row["file_a"], row["file_b"]) for row in csv.DictReader(lines)}
    clips = [load_clip(videos / name) for name in names]
    clips = [c[np.linspace(0, len(c) - 1, frames_per_clip).astype(int)] for c in clips]
    apart = [[a != b and (a, b) not in known and (b, a) not in known for b in names] for a in names]
    each = np.ones((frames_per_clip, frames_per_clip), bool)
    strange, beside = np.kron(np.array(apart), each), np.kron(np.roll(np.eye(len(names), dtype=bool), 1, 1), each)
    seen = {
        edit: np.concatenate([edited(c, o, edit) for c, o in zip(clips, clips[1:] + clips[:1], strict=True)])
        for edit in ["null", *(edit for family in FAMILIES.values() for edit in family)]
    }
    np.savez(kept, strange=strange, beside=beside, **seen)


def average_precision(similarity: NDArray[np.float32], right: NDArray[np.bool_], positives: int) -> float:
    """Micro average precision of scored pairs: the mean over the positives of the precision at each."""
    order = np.argsort(-similarity, kind="stable")
    hits = right[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].sum() / positives)


def judged(net: ReelprintNet, pictures: Pictures) -> dict[str, tuple[float, float]]:
    """Micro average precision and share at the first rank of each family, and of all."""
    vectors = {edit: described(net, seen) for edit, seen in pictures.seen.items()}
    stored = vectors["null"]
    own = np.eye(len(stored), dtype=bool)
    found = {}
    for family, names in {**FAMILIES, "all": tuple(e for f in FAMILIES.values() for e in f)}.items():
        alike = np.stack([vectors[edit] @ stored.T for edit in names])  # (edits, N, N)
        # Frames of its own clip, and of a clip that is shown beside it, are neither right nor wrong.
        wrong = np.stack([pictures.strange & ~(pictures.beside & (edit in WITH_OTHERS)) for edit in names])
        first = alike[:, own] > np.where(wrong, alike, -1).max(axis=2)
        right = np.broadcast_to(own, alike.shape)
        judged_on = wrong | right
        precision = average_precision(alike[judged_on], right[judged_on], len(names) * len(stored))
        found[family] = precision, float(first.mean())
    return found


@torch.no_grad()
def described(net: ReelprintNet, seen: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Descriptors of uint8 (N, 64, 64, 3)."""
    read = torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 255
    return torch.cat([net(some) for some in read.split(64)]).numpy()


def averaged(saved: dict[str, Any]) -> ReelprintNet:
    """The net of a checkpoint, with the averaged weights."""
    net = ReelprintNet(saved["average"]["head.weight"].shape[0]).eval()
    net.load_state_dict(saved["average"])
    return net


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("videos", type=Path)
    words.add_argument("runs", type=Path)
    words.add_argument("--steps", type=int, default=200)
    words.add_argument("--films", type=int, default=16)
    words.add_argument("--frames-per-clip", type=int, default=10)
    words.add_argument("--judge", nargs="*", type=Path, default=[], help="judge these runs instead of making any")
    words.add_argument("--only", nargs="*", help="runs to make now, as the table names them; default: all")
    arguments = words.parse_args()
    torch.set_num_threads(1)
    full = Recipe(
        steps=arguments.steps,
        decay=arguments.steps // 3,
        films=arguments.films,
        warmup=40,
        hardening=100,
        averaging=0.97,  # of a short run
    )
    recipes = {"full recipe": full, "full recipe, another seed": replace(full, seed=1)}
    recipes |= {name: replace(full, without=(name,)) for name in (*images.INGREDIENTS, *edits.INGREDIENTS)}
    recipes |= {name: replace(full, **change) for name, change in LOSS.items()}
    arguments.runs.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(arguments.videos, arguments.runs / "frames.npz", frames_per_clip=arguments.frames_per_clip)
    found = {}
    for folder in arguments.judge:
        found[str(folder)] = judged(averaged(torch.load(folder / "checkpoint.pt", weights_only=True)), pictures)
    if arguments.judge:
        print_table(found)
        return
    for name, recipe in recipes.items():
        folder = arguments.runs / re.sub(r"\W+", "_", name).strip("_")
        if not arguments.only or name in arguments.only:
            train(folder, recipe, resume=(folder / "checkpoint.pt").exists(), save_every=50)
        if (folder / "checkpoint.pt").exists():
            saved = torch.load(folder / "checkpoint.pt", weights_only=True)
            if saved["step"] == recipe.steps:
                found[name] = judged(averaged(saved), pictures)
                print_table(found)


def print_table(found: dict[str, dict[str, tuple[float, float]]]) -> None:
    """Markdown: points of µAP of the full recipe, and what each run has more or less."""
    base = found.get("full recipe") or next(iter(found.values()))
    print("\n| without | " + " | ".join(base) + " | first rank |\n|---|" + "---:|" * (len(base) + 1))
    for name, row in found.items():
        same = row is base
        cells = [f"{100 * row[f][0]:.1f}" if same else f"{100 * (row[f][0] - base[f][0]):+.1f}" for f in base]
        last = f"{100 * row['all'][1]:.1f}" if same else f"{100 * (row['all'][1] - base['all'][1]):+.1f}"
        print(f"| {name} | " + " | ".join(cells) + f" | {last} |", flush=True)


if __name__ == "__main__":
    main()
