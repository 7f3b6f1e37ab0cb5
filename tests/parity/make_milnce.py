"""Makes ``data/milnce_s3d.npz`` and ``data/milnce_i3d.npz``: what the original code gives for seeded weights.

    python tests/parity/make_milnce.py S3D_HowTo100M pytorch-i3d kinetics-i3d

The arguments are git directories (or checkouts) of antoine77340/S3D_HowTo100M@b8cd0bb,
piergiaj/pytorch-i3d and google-deepmind/kinetics-i3d@0667e88. Of the last, only the index of a checkpoint is read:
its names and shapes, as a digest. Weights and clips come from NumPy's generator alone, so that the tests can make
them again without the originals.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import types
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

WORDS = ("the", "a", "pan", "cut", "tomato", "don't", "door", "open", "it's", "2", "naïve")
TEXTS = ("Open the DOOR", "cut a tomato, don't!", "", "quux frobnicate", "the pan " * 12 + "tomato", "naïve 2")
S3D_CASES = tuple((frames, side) for frames in (16, 32) for side in (200, 224, 256))
I3D_CASES = ((16, 224), (13, 230), (9, 193))


def seeded(shapes: Mapping[str, tuple[int, ...]], *, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Weights that keep activations near one, by PyTorch's names: float32. Behind gates, ``scale`` is 1.25."""
    found = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            found[name] = np.zeros((), np.int64)
            continue
        values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)
        if name.endswith("running_var"):
            values = 0.5 + np.abs(values)
        elif len(shape) == 1:
            values = np.float32(0.2) * values
            if ".bn" in name and name.endswith("weight"):
                values += np.float32(scale)
        elif "word_embd" not in name:
            values *= np.float32((2 / np.prod(shape[1:])) ** 0.5)
        found[name] = values
    return found


def clip(frames: int, side: int) -> np.ndarray:
    """Blocks of colour that change every third frame: uint8 (1, T, side, side, 3)."""
    rng = np.random.default_rng(frames * side)
    blocks = rng.integers(0, 256, (1, frames // 3 + 1, side // 10 + 1, side // 10 + 1, 3), dtype=np.uint8)
    whole = blocks.repeat(3, axis=1).repeat(10, axis=2).repeat(10, axis=3)
    return np.ascontiguousarray(whole[:, :frames, :side, :side])


def digest_of(shapes: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    """SHA-256 of sorted lines ``name shape``."""
    lines = sorted(f"{name} {tuple(shape)}" for name, shape in shapes)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def module_of(repository: str, path: str) -> types.ModuleType:
    source = subprocess.run(
        ["git", "-C", repository, "show", f"HEAD:{path}"], check=True, capture_output=True, text=True
    ).stdout
    module = types.ModuleType(Path(path).stem)
    exec(compile(source, path, "exec"), module.__dict__)
    return module


def make_s3d(repository: str, folder: Path) -> dict[str, np.ndarray]:
    import torch

    original = module_of(repository, "s3dg.py")
    words = folder / "words.npy"
    np.save(words, np.array(WORDS))
    network = original.S3D(str(words))
    network.text_module = original.Sentence_Embedding(
        512, num_embeddings=len(WORDS) + 1, token_to_word_path=str(words)
    )
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict({name: torch.from_numpy(value) for name, value in seeded(shapes, scale=1.25).items()})
    network.eval()
    found = {"shapes": np.array(digest_of(shapes.items()))}
    with torch.inference_mode():
        for frames, side in S3D_CASES:
            pixels = torch.from_numpy(clip(frames, side)).float() / 255
            result = network(pixels.permute(0, 4, 1, 2, 3).contiguous())
            found[f"video_embedding_{frames}_{side}"] = result["video_embedding"].numpy()
            if (frames, side) == (32, 224):
                found["mixed_5c_32_224"] = result["mixed_5c"].numpy()
        found["text"] = network.text_module(list(TEXTS))["text_embedding"].numpy()
    return found


def make_i3d(repository: str, kinetics: str, folder: Path) -> dict[str, np.ndarray]:
    import torch

    from reelspace.encoders.tensor_bundle import read_bundle

    network = module_of(repository, "pytorch_i3d.py").InceptionI3d(400)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict({name: torch.from_numpy(value) for name, value in seeded(shapes).items()})
    network.eval()
    found = {"shapes": np.array(digest_of(shapes.items()))}
    with torch.inference_mode():
        for frames, side in I3D_CASES:
            pixels = torch.from_numpy(clip(frames, side)).float() / 127.5 - 1
            features = pixels.permute(0, 4, 1, 2, 3).contiguous()
            found[f"logits_{frames}_{side}"] = network(features).flatten(2).mean(2).numpy()
            for name in network.VALID_ENDPOINTS:
                if name in network.end_points:
                    features = network._modules[name](features)
            found[f"mixed_5c_{frames}_{side}"] = features.mean(dim=(2, 3, 4)).numpy()
    for name in ("rgb_imagenet", "rgb_scratch_kin600"):
        index = folder / f"{name}.index"
        index.write_bytes(
            subprocess.run(
                ["git", "-C", kinetics, "show", f"HEAD:data/checkpoints/{name}/model.ckpt.index"],
                check=True,
                capture_output=True,
            ).stdout
        )
        found[f"variables_{name}"] = np.array(digest_of(read_bundle(index).shapes.items()))
    return found


if __name__ == "__main__":
    data = Path(__file__).with_name("data")
    data.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        np.savez_compressed(data / "milnce_s3d.npz", **make_s3d(sys.argv[1], Path(scratch)))
        np.savez_compressed(data / "milnce_i3d.npz", **make_i3d(sys.argv[2], sys.argv[3], Path(scratch)))
