"""The model alone: our Hiera against the original code, same weights, same clips, float32 on the CPU.

    git clone https://github.com/facebookresearch/hiera /tmp/hiera && git -C /tmp/hiera checkout b12b842
    OMP_WAIT_POLICY=passive .venv/bin/python benchmarks/hiera_model.py /tmp/hiera [--rounds 7] [--threads 2]

Both get the seeded weights of tests/parity/make_hiera.py. Rounds are interleaved, since other work on the machine
disturbs both alike; printed are the medians and the median of the ratio within each round, in time on the clock and
in time of the processors (which other work disturbs less; threads that wait must not spin for it, hence the
variable). Where there is a GPU of NVIDIA's, also clips per second in bfloat16 of base and large, random weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import torch
from torch import Tensor

from reelspace.encoders.catalog import find
from reelspace.encoders.hiera_blocks import trunk_options
from reelspace.encoders.models.hiera import Hiera

made = run_path(str(Path(__file__).resolve().parents[1] / "tests" / "parity" / "make_hiera.py"))


def ours(name: str, tensors: dict[str, Tensor]) -> Hiera:
    with torch.device("meta"):
        network = Hiera(classes=400, **trunk_options(find(name)))
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def seconds(function: Callable[[], object]) -> tuple[float, float]:
    """On the clock, and of the processors."""
    clock, processors = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - clock, time.process_time() - processors


def on_cpu(original: Any, batches: list[int], rounds: int) -> None:
    theirs = made["with_seeded_weights"](original.hiera.hiera_base_16x224())
    network = ours("hiera-base-16x224", theirs.state_dict())
    for batch in batches:
        pixels = torch.randn(batch, 16, 224, 224, 3).movedim(-1, 2)  # as `TorchEncoder` hands them over
        clips = pixels.transpose(1, 2).contiguous()  # as the original's notebook does
        with torch.inference_mode():
            apart = (network(pixels, ("logits",))["logits"].softmax(-1) - theirs(clips)).abs().max().item()
            pairs = []
            for i in range(rounds):
                both = [lambda x=clips: theirs(x), lambda x=pixels: network(x, ("logits",))]
                order = (0, 1) if i % 2 else (1, 0)
                taken = {which: seconds(both[which]) for which in order}
                pairs.append((taken[0], taken[1]))
        print(
            f"base, float32, batch {batch}, {torch.get_num_threads()} threads, {rounds} rounds; "
            f"probabilities at most {apart:.1e} apart"
        )
        for kind, name in enumerate(("clock", "processors")):
            original_seconds, our_seconds = (
                statistics.median(t[kind] for t in side) for side in zip(*pairs, strict=True)
            )
            ratios = sorted(a[kind] / b[kind] for a, b in pairs)
            print(
                f"  {name}: original {original_seconds:.2f} s, ours {our_seconds:.2f} s; median ratio "
                f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )


def on_gpu(original: Any, *, batch: int = 16, rounds: int = 10) -> None:
    for size in ("base", "large"):
        with torch.device("cuda"):
            theirs = getattr(original.hiera, f"hiera_{size}_16x224")().eval().bfloat16()
            pixels = torch.randn(batch, 16, 224, 224, 3, dtype=torch.bfloat16).movedim(-1, 2)
        network = ours(f"hiera-{size}-16x224", theirs.state_dict())
        clips = pixels.transpose(1, 2).contiguous()
        runs = {"ours": lambda n=network, x=pixels: n(x, ("logits",)), "original": lambda n=theirs, x=clips: n(x)}
        with torch.inference_mode():
            for name, run in runs.items():
                for _ in range(3):
                    run()
                torch.cuda.synchronize()
                taken, _ = seconds(lambda run=run: ([run() for _ in range(rounds)], torch.cuda.synchronize()))
                print(f"{size}, bfloat16, batch {batch}, {name}: {batch * rounds / taken:.1f} clips/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="of facebookresearch/hiera")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    original = made["original"](arguments.checkout)
    on_cpu(original, arguments.batches, arguments.rounds)
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name())
        on_gpu(original)


if __name__ == "__main__":
    main()
