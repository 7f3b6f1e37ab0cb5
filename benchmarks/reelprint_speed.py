"""What reelprint costs: its net beside other runtimes, the whole of `encode`, and its share of reading a video.

    python benchmarks/reelprint_speed.py [--videos ../shared/videos/natural] [--frames 512] [--rounds 3]
                                         [--packages FOLDER]

Rounds take turns and the best of each row counts. Rows of one thread are measured in seconds of processor time, so
that other work on the machine disturbs them little: frames per second of one core. onnxruntime runs where it and
onnx are installed, or lie in the folder ``--packages``. The net is the same everywhere, from the shipped arrays.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from reelspace.encoders.models.reelprint import Reelprint, descriptors
from reelspace.errors import MediaError
from reelspace.media import open_video

BATCH = 128  # frames that `index` hands over at once
Way = Callable[[np.ndarray], object]


def read(paths: list[Path]) -> tuple[list[np.ndarray], dict[str, list[float]]]:
    """Frames of each video as reelprint reads them; by height: hours of film, seconds to decode and to describe."""
    encoder = Reelprint()
    frames: list[np.ndarray] = []
    costs: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0])
    for path in paths:
        began = time.process_time()
        try:
            with open_video(path) as reader:
                height = min(reader.video.width, reader.video.height)
                pixels = np.stack([frame.pixels for _, frame in reader.read([encoder.tap])])
        except MediaError as error:
            print(f"{path.name}: {error}")
            continue
        decoded = time.process_time()
        for first in range(0, len(pixels), BATCH):
            encoder.encode(pixels[first : first + BATCH])
        cost = costs["up to 360 lines" if height <= 360 else "up to 480" if height <= 480 else "720 and more"]
        cost[0] += len(pixels) / encoder.frames_per_second / 3600
        cost[1] += decoded - began
        cost[2] += time.process_time() - decoded
        cost[3] += len(pixels)
        frames.append(pixels)
    return frames, dict(costs)


def arrays() -> dict[str, np.ndarray]:
    data = files("reelspace.encoders").joinpath("weights/reelprint.npz").read_bytes()
    with np.load(io.BytesIO(data)) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def torch_ways() -> dict[str, Way]:
    """The net in torch, in float32 and bfloat16."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    net = {name: torch.from_numpy(values) for name, values in arrays().items()}
    for name, values in net.items():
        if values.ndim == 4:
            net[name] = values.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)

    def way(kind: torch.dtype) -> Way:
        own = {name: values.to(kind) for name, values in net.items()}

        def convolved(x: torch.Tensor, name: str, step: int) -> torch.Tensor:
            weight = own[f"{name}.weight"]
            return functional.conv2d(x, weight, own[f"{name}.bias"], step, weight.shape[2] // 2)

        @torch.inference_mode()
        def run(pictures: np.ndarray) -> np.ndarray:
            found = []
            for first in range(0, len(pictures), 16):
                x = (torch.from_numpy(pictures[first : first + 16]).permute(0, 3, 1, 2) - 0.5) * 4
                x = functional.relu(convolved(x.to(kind), "stem", 2))
                for block in range(3):
                    inner = convolved(functional.relu(convolved(x, f"{block}.first", 2)), f"{block}.second", 1)
                    x = functional.relu(inner + convolved(x, f"{block}.short", 2))
                pooled = x.float().clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
                found.append(functional.normalize(pooled @ net["head.weight"] + net["head.bias"], dim=1))
            return torch.cat(found).numpy()

        return run

    return {"torch, float32": way(torch.float32), "torch, bfloat16": way(torch.bfloat16)}


def onnx_ways() -> dict[str, Way]:
    """The net in onnxruntime."""
    import onnx
    import onnxruntime
    from onnx import helper

    nodes, weights = [], []

    def constant(name: str, values: np.ndarray) -> str:
        weights.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(kind: str, *inputs: str, **options: object) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"v{len(nodes)}"], **options))
        return f"v{len(nodes) - 1}"

    net = arrays()

    def convolved(x: str, name: str, step: int) -> str:
        weight = constant(f"{name}.weight", net[f"{name}.weight"].transpose(3, 2, 0, 1))
        pad = net[f"{name}.weight"].shape[0] // 2
        bias = constant(f"{name}.bias", net[f"{name}.bias"])
        return node("Conv", x, weight, bias, strides=[step, step], pads=[pad] * 4)

    x = node("Transpose", "pictures", perm=[0, 3, 1, 2])
    x = node("Mul", node("Sub", x, constant("half", np.float32([0.5]))), constant("four", np.float32([4])))
    x = node("Relu", convolved(x, "stem", 2))
    for block in range(3):
        inner = convolved(node("Relu", convolved(x, f"{block}.first", 2)), f"{block}.second", 1)
        x = node("Relu", node("Add", inner, convolved(x, f"{block}.short", 2)))
    x = node("Max", x, constant("least", np.float32([1e-6])))
    cubes = node("ReduceMean", node("Mul", x, node("Mul", x, x)), axes=[2, 3], keepdims=0)
    pooled = node("Pow", cubes, constant("third", np.float32([1 / 3])))
    x = node("Gemm", pooled, constant("head.weight", net["head.weight"]), constant("head.bias", net["head.bias"]))
    nodes.append(helper.make_node("LpNormalization", [x], ["vectors"], axis=1, p=2))
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "reelprint",
        [helper.make_tensor_value_info("pictures", kind, ["n", 64, 64, 3])],
        [helper.make_tensor_value_info("vectors", kind, ["n", 256])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(pictures: np.ndarray) -> np.ndarray:
        parts = [pictures[first : first + 16] for first in range(0, len(pictures), 16)]
        return np.concatenate([session.run(None, {"pictures": part})[0] for part in parts])

    return {f"onnxruntime {onnxruntime.__version__}, float32": run}


def net_table(pictures: np.ndarray, rounds: int) -> None:
    ways: dict[str, Way] = {"numpy (what is shipped)": descriptors}
    for more in (torch_ways, onnx_ways):
        try:
            ways |= more()
        except ImportError as error:
            print(f"left out: {error}")
    expected = descriptors(pictures)
    best = dict.fromkeys(ways, np.inf)
    for turn in range(rounds):
        for name, way in ways.items():
            began = time.process_time()
            found = way(pictures)
            best[name] = min(best[name], time.process_time() - began)
            if turn == 0:
                print(f"{name}: at most {np.abs(found - expected).max():.1e} apart from numpy")
    print(f"\nthe net, {len(pictures)} pictures of 64 x 64, one thread")
    for name, seconds in best.items():
        print(f"{name:34s} {len(pictures) / seconds:7,.0f} frames/s of a core")


def two_cores_table(pictures: np.ndarray, frames: list[np.ndarray], rounds: int) -> None:
    """On the clock, while the load of the machine is what it is."""
    encoder = Reelprint()
    batches = [clip[first : first + BATCH] for clip in frames for first in range(0, len(clip), BATCH)]
    count = sum(map(len, batches))

    def one_call() -> None:
        with threadpool_limits(2):
            descriptors(pictures)

    def two_threads() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(descriptors, np.array_split(pictures, 2)))

    def whole() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(encoder.encode, batches))

    ways = {
        "the net, one call, two threads of BLAS": (one_call, len(pictures)),
        "the net, two threads of one each": (two_threads, len(pictures)),
        "the whole of encode, two threads": (whole, count),
    }
    best = dict.fromkeys(ways, (np.inf, np.inf))
    for _ in range(rounds):
        for name, (way, _) in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            way()
            took = time.perf_counter() - clock, time.process_time() - processor
            best[name] = min(best[name], took)
    print(f"\ntwo cores, on the clock (load {os.getloadavg()[0]:.1f} beside this)")
    for name, (_, n) in ways.items():
        clock, processor = best[name]
        print(f"{name:40s} {n / clock:7,.0f} frames/s; {2 * n / processor:7,.0f} if both cores were its own")


def encode_table(frames: list[np.ndarray], costs: dict[str, list[float]], rounds: int) -> None:
    encoder = Reelprint()
    batches = [clip[first : first + BATCH] for clip in frames for first in range(0, len(clip), BATCH)]
    count = sum(map(len, batches))
    seconds = np.inf
    for _ in range(rounds):
        began = time.process_time()
        described = [encoder.encode(batch) for batch in batches]
        seconds = min(seconds, time.process_time() - began)
    views = sum((d.weights > 0).sum(axis=0) for d in described)
    print(f"\nthe whole of encode, {count} frames of {len(frames)} films, one thread")
    print(f"{count / seconds:,.0f} frames/s of a core; rows by view {views.tolist()}")
    print(f"\n{'picture':16s}  frames  decoding  reelprint   (processor seconds per hour of film)   its share")
    for name, (hours, decoding, describing, n) in sorted(costs.items()):
        share = describing / (decoding + describing)
        print(f"{name:16s}  {n:6d}  {decoding / hours:8.0f}  {describing / hours:9.0f} {share:50.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[2] / "shared" / "videos" / "natural"
    parser.add_argument("--videos", type=Path, default=here)
    parser.add_argument("--frames", type=int, default=512, help="pictures that the net is timed with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--packages", type=Path, help="where else onnxruntime and onnx are looked for")
    arguments = parser.parse_args()
    if arguments.packages is not None:
        sys.path.append(str(arguments.packages))
    with threadpool_limits(1):  # what runs on two cores says so
        measure(sorted(arguments.videos.iterdir()), count=arguments.frames, rounds=arguments.rounds)


def measure(videos: list[Path], *, count: int, rounds: int) -> None:
    frames, costs = read(videos)
    every = np.concatenate(frames)
    some = every[:: max(1, len(every) // count)][:count]
    pictures = some.reshape(len(some), 64, 2, 64, 2, 3).mean(axis=(2, 4), dtype=np.float32) / 255
    net_table(pictures, rounds)
    two_cores_table(pictures, frames, rounds)
    encode_table(frames, costs, rounds)


if __name__ == "__main__":
    main()
