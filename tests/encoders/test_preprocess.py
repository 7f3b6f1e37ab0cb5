"""Pictures are made as transformers' own processors make them with Pillow, which is the oracle here."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from reelspace.core.clips import ClipSpec
from reelspace.core.frames import Picture, Tap
from reelspace.core.sampling import AtIndices
from reelspace.encoders.checkpoint import Checkpoint
from reelspace.encoders.load import TorchEncoder
from reelspace.encoders.preprocess import Squash, crops_of, crops_on_device, resized_shape
from reelspace.encoders.spec import EncoderSpec, Preprocessing, Weights
from reelspace.errors import InvalidArgument, Truncated
from reelspace.media import open_video
from reelspace.media.pictures import PictureMaker

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
TIMESFORMER = {"image_mean": [0.45] * 3, "image_std": [0.225] * 3}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SIZES = ((720, 1280), (480, 270), (361, 203), (225, 231), (96, 128), (37, 51))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Family:
    """How a checkpoint's own processor is set, and how our row says the same."""

    processor: str
    settings: dict[str, Any]
    how: Preprocessing


def _as(how: Preprocessing, values: dict[str, list[float]]) -> Preprocessing:
    return replace(how, mean=tuple(values["image_mean"]), std=tuple(values["image_std"]))


SHORTEST = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}
CROPPED = Preprocessing("shortest", 224, 224)
FAMILIES = {
    "videomae": Family("VideoMAEImageProcessor", SHORTEST | IMAGENET, CROPPED),
    "timesformer": Family("VideoMAEImageProcessor", SHORTEST | TIMESFORMER, _as(CROPPED, TIMESFORMER)),
    "timesformer-hr": Family(
        "VideoMAEImageProcessor",
        {"size": {"shortest_edge": 448}, "crop_size": {"height": 448, "width": 448}} | TIMESFORMER,
        _as(Preprocessing("shortest", 448, 448), TIMESFORMER),
    ),
    "xclip": Family("VideoMAEImageProcessor", SHORTEST | IMAGENET, CROPPED),
    "vivit": Family(
        "VivitImageProcessor",
        {
            "size": {"shortest_edge": 256},
            "crop_size": {"height": 224, "width": 224},
            "do_normalize": False,
            "rescale_factor": 1 / 127.5,
            "offset": True,
        },
        Preprocessing("shortest", 256, 224, scale=1 / 127.5, offset=-1.0, mean=(0.0,) * 3, std=(1.0,) * 3),
    ),
    "clip": Family(
        "CLIPImageProcessor",
        SHORTEST | CLIP | {"resample": 3},
        _as(Preprocessing("shortest", 224, 224, filter="bicubic"), CLIP),
    ),
    "siglip": Family(
        "SiglipImageProcessor",
        {"size": {"height": 224, "width": 224}, "resample": 3} | HALF,
        _as(Preprocessing("square", 224, filter="bicubic"), HALF),
    ),
    "siglip-bilinear": Family(
        "SiglipImageProcessor",
        {"size": {"height": 256, "width": 256}, "resample": 2} | HALF,
        _as(Preprocessing("square", 256), HALF),
    ),
    "dinov2": Family(
        "BitImageProcessor",
        {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "resample": 3} | IMAGENET,
        Preprocessing("shortest", 256, 224, filter="bicubic"),
    ),
}


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Soft shapes with hard edges and some noise: neither as kind as a gradient nor as unkind as noise alone."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (3 + 5 * c) + seed) * np.cos(y / (4 + 3 * c)) for c in range(3)]
    levels = 128 + 90 * np.stack(waves, axis=-1) + chance.normal(0, 8, (height, width, 3))
    levels[height // 4 : height // 2, width // 3 : width // 2] = (255, 0, 30)
    return np.clip(levels, 0, 255).astype(np.uint8)


def _theirs(family: Family, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(h, w, 3) as the processor normalises it."""
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        processor = getattr(transformers, family.processor)(**family.settings)
        video = family.processor.startswith(("VideoMAE", "Vivit"))
        made = processor([frame] if video else frame, return_tensors="np")["pixel_values"]
    return np.moveaxis(made.reshape(made.shape[-3:]), 0, -1)


def _levels(normalised: NDArray[np.float32], how: Preprocessing) -> NDArray[np.float64]:
    return ((normalised.astype(np.float64) * how.std + how.mean - how.offset) / how.scale).round()


def _require_alike(ours: NDArray[Any], theirs: NDArray[Any]) -> None:
    """One level apart in fewer than 2 % of the values; two (bicubic, on the CPU) in fewer than one of 10,000."""
    apart = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
    assert apart.max() <= 2
    assert (apart > 1).mean() < 1e-4
    assert (apart > 0).mean() < 0.02


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shape", SIZES)
def test_pictures_are_those_of_the_family_s_own_processor(name: str, shape: tuple[int, int]):
    family = FAMILIES[name]
    frame = picture(*shape)
    theirs = _levels(_theirs(family, frame), family.how)
    _require_alike(crops_of(frame[None], family.how)[0, 0], theirs)


class _Seen(torch.nn.Module):
    """A network whose output is what it was given."""

    def forward(self, pixels: torch.Tensor, outputs: Any) -> dict[str, torch.Tensor]:
        return {"seen": pixels.flatten(1)}


def normalised(frames: NDArray[np.uint8], how: Preprocessing) -> NDArray[np.float32]:
    """What a network sees of frames (N, H, W, 3): (N, 3, h, w)."""
    crop = crops_of(frames, how)[0]
    row = EncoderSpec(
        "seen", "seen", "seen:seen", ClipSpec(1, 1.0), how, {"seen": 3 * crop[0].size}, Weights(folder="."), "none"
    )
    encoder = TorchEncoder(row, _Seen(), Checkpoint({}, "0" * 64), device="cpu")
    seen = encoder.encode(crop[:, None])["seen"]
    return seen.reshape(len(frames), 3, *crop.shape[1:3])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_sees_the_values_of_the_family_s_own_processor(name: str):
    family = FAMILIES[name]
    frame = picture(240, 426)
    ours = np.moveaxis(normalised(frame[None], family.how)[0], 0, -1)
    theirs = _theirs(family, frame)
    assert np.abs(ours - theirs).max() < 2.01 * family.how.scale / min(family.how.std)
    assert (np.abs(ours - theirs) > 1e-5).mean() < 0.02


@pytest.mark.parametrize(
    ("config", "how"),
    [
        ({"image_processor_type": "VideoMAEImageProcessor", **SHORTEST, **IMAGENET}, CROPPED),
        (
            {"image_processor_type": "VideoMAEImageProcessor", **SHORTEST, **TIMESFORMER},
            _as(CROPPED, TIMESFORMER),
        ),
        (
            {
                "image_processor_type": "BitImageProcessor",
                "size": {"shortest_edge": 256},
                "crop_size": {"height": 224, "width": 224},
                "resample": 3,
                **IMAGENET,
            },
            Preprocessing("shortest", 256, 224, filter="bicubic"),
        ),
    ],
    ids=["xclip", "timesformer", "dinov2"],
)
def test_a_hub_config_read_by_transformers_makes_the_same_pictures(
    tmp_path: Path, config: dict[str, Any], how: Preprocessing
):
    import json

    from transformers import AutoImageProcessor

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    frame = picture(300, 500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        processor = AutoImageProcessor.from_pretrained(tmp_path)
        made = processor([frame], return_tensors="np")["pixel_values"]
    theirs = _levels(np.moveaxis(made.reshape(made.shape[-3:]), 0, -1), how)
    _require_alike(crops_of(frame[None], how)[0, 0], theirs)


def test_without_antialiasing_the_picture_is_another_one():
    """The fault this guards against: plain `interpolate` for a model that was trained on Pillow's pictures."""
    how = Preprocessing("shortest", 224, 224)
    fine = np.random.default_rng(0).integers(0, 256, (1, 720, 1280, 3), dtype=np.uint8)
    apart = crops_of(fine, how).astype(int) - crops_of(fine, replace(how, antialias=False))
    assert np.abs(apart).max() > 60


def test_a_tensor_is_cropped_where_it_is():
    frames = np.stack([picture(96, 128, seed) for seed in range(2)])
    crops = crops_on_device(torch.from_numpy(frames), CROPPED)
    assert isinstance(crops, torch.Tensor)
    assert np.array_equal(crops.numpy(), crops_of(frames, CROPPED))


def test_the_shorter_side_becomes_the_size_and_the_longer_is_cut_to_a_whole_number():
    how = Preprocessing("shortest", 224)
    assert resized_shape(how, 720, 1280) == (224, 398)  # 398.2
    assert resized_shape(how, 1280, 720) == (398, 224)
    assert resized_shape(how, 1080, 1919) == (224, 398)  # 398.01
    assert resized_shape(how, 50, 50) == (224, 224)


def test_an_area_keeps_the_shape():
    assert resized_shape(Preprocessing("area", 12000), 720, 1280) == (82, 145)  # 82.16, then 145.8
    assert resized_shape(Preprocessing("area", 12000), 1280, 720) == (145, 82)


def test_a_square_is_squeezed_and_a_cover_is_cut_first():
    halves = np.zeros((1, 100, 300, 3), np.uint8)
    halves[:, :, 100:200] = 200
    squeezed = crops_of(halves, Preprocessing("square", 30))[0, 0]
    assert squeezed[15, 2, 0] == 0
    assert squeezed[15, 15, 0] == 200
    assert (crops_of(halves, Preprocessing("cover", 30)) == 200).all()


def test_a_cover_cuts_where_the_notebooks_of_mil_nce_cut():
    """``x // 2 - side // 2``: in a row of 10 columns a square of 5 begins at the third."""
    columns = np.broadcast_to(np.arange(10, dtype=np.uint8)[None, None, :, None], (1, 5, 10, 3)).copy()
    assert crops_of(columns, Preprocessing("cover", 5))[0, 0, 0, :, 0].tolist() == [3, 4, 5, 6, 7]


def test_an_odd_rest_is_cut_off_below_and_to_the_right():
    columns = np.broadcast_to(np.arange(9, dtype=np.uint8)[None, None, :, None], (1, 4, 9, 3)).copy()
    assert crops_of(columns, Preprocessing("shortest", 4, 4))[0, 0, 0, :, 0].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("shape", [(20, 33), (31, 20), (20, 20), (64, 20)])
def test_what_is_too_small_is_padded_with_black_as_transformers_pads(shape: tuple[int, int]):
    from transformers.image_transforms import center_crop

    frame = picture(*shape)
    ours = crops_of(frame[None], Preprocessing("as-is", 1, 33))[0, 0]
    assert np.array_equal(ours, center_crop(frame, (33, 33), input_data_format="channels_last"))


@pytest.mark.parametrize(("shape", "axis"), [((4, 9), 1), ((9, 4), 0)])
def test_three_crops_lie_along_the_longer_side(shape: tuple[int, int], axis: int):
    """SlowFast's `uniform_crop`: 0, ceil(5 / 2), 5."""
    places = np.arange(9, dtype=np.uint8)
    frame = np.broadcast_to(places[None, :] if axis else places[:, None], shape)[None, ..., None].repeat(3, axis=-1)
    crops = crops_of(frame, Preprocessing("shortest", 4, 4), crops=3)
    assert crops.shape == (3, 1, 4, 4, 3)
    firsts = [crop[0, 0, 0, 0] for crop in crops]
    assert firsts == [0, 3, 5]


def test_three_crops_of_a_square_are_the_same():
    crops = crops_of(picture(50, 50)[None], Preprocessing("shortest", 32, 32), crops=3)
    assert np.array_equal(crops[0], crops[1])
    assert np.array_equal(crops[1], crops[2])


def test_three_crops_of_what_is_not_cropped_are_refused():
    with pytest.raises(InvalidArgument, match="3 crops need a rule that crops, got resize 'square'"):
        crops_of(picture(20, 20)[None], Preprocessing("square", 16), crops=3)
    with pytest.raises(InvalidArgument, match="crops are 1 or 3, got 5"):
        crops_of(picture(20, 20)[None], CROPPED, crops=5)


@pytest.mark.parametrize("frames", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4), np.uint8)])
def test_other_than_rgb_frames_are_refused(frames: NDArray[np.uint8]):
    with pytest.raises(InvalidArgument, match=r"\(N, H, W, 3\)"):
        crops_of(frames, CROPPED)


def test_floats_are_refused():
    with pytest.raises(InvalidArgument, match="got float32"):
        crops_of(np.zeros((1, 4, 4, 3), np.float32), CROPPED)  # type: ignore[arg-type]


def test_no_frames_give_no_crops():
    assert crops_of(np.zeros((0, 40, 60, 3), np.uint8), CROPPED).shape == (1, 0, 224, 224, 3)


def test_frames_of_one_pass_are_left_as_they_are():
    frames = picture(80, 90)[None]
    before = frames.copy()
    frames.flags.writeable = False
    crops = crops_of(frames, Preprocessing("as-is", 1))
    crops[:] = 0
    assert np.array_equal(frames, before)


def test_views_into_larger_arrays_are_read_right():
    frames = np.stack([picture(60, 80, seed) for seed in range(4)])
    how = Preprocessing("shortest", 32, 32)
    flipped = frames[::-2, :, ::-1]
    assert np.array_equal(crops_of(flipped, how), crops_of(flipped.copy(), how))


def test_resizing_goes_at_nearly_the_speed_of_memory():
    """720p to 224: less than 60 times reading the frame once (about 5 here); through floats it is over 100."""
    frames = np.stack([picture(720, 1280)] * 2)

    def fastest(run: Any) -> float:
        spent = []
        for _ in range(5):
            begun = time.perf_counter()
            run()
            spent.append(time.perf_counter() - begun)
        return min(spent)

    copying = fastest(frames.copy)
    assert fastest(lambda: crops_of(frames, CROPPED)) < 60 * copying


# ── squashed clips ──


def squashed_stack(frames: NDArray[np.uint8], count: int, side: int) -> NDArray[np.float32]:
    """The FiftyOne plugin's own way: all frames as floats, then one trilinear interpolation."""
    stack = torch.from_numpy(frames).float()[None].permute(0, 4, 1, 2, 3).contiguous()  # (1, 3, T, H, W)
    squashed = functional.interpolate(stack, size=(count, side, side), mode="trilinear")
    return squashed[0].permute(1, 2, 3, 0).numpy()


def squash(frames: NDArray[np.uint8], count: int, side: int) -> NDArray[np.float32]:
    pressed = Squash(len(frames), count, side)
    for index in pressed.indices:
        pressed.push(frames[index])
    return pressed.finish()


@pytest.mark.parametrize("length", [1, 2, 7, 15, 16, 17, 31, 33, 100])
@pytest.mark.parametrize("shape", [(40, 70), (24, 20)])
def test_a_squashed_clip_is_the_interpolation_of_the_whole_stack(length: int, shape: tuple[int, int]):
    frames = np.random.default_rng(length).integers(0, 256, (length, *shape, 3), dtype=np.uint8)
    assert np.abs(squash(frames, 16, 32) - squashed_stack(frames, 16, 32)).max() < 1e-4


# Variable frame rate, B-frames in MP4, Matroska and WebM, MPEG-4 in AVI, and one that is rotated.
REAL = (
    "eye_makeup.avi",
    "bbb_432s_1s_720p.webm",
    "asl_eat_man_patterned.mkv",
    "wolf_head_turn.mp4",
    "lego_robot_arm.mp4",
)


@pytest.mark.parametrize("name", REAL)
def test_a_real_clip_squashes_to_the_interpolation_of_its_decoded_stack(shared: Path, name: str):
    small = Picture(128, 96)
    with open_video(shared / "videos" / "natural" / name) as reader:
        pressed = Squash(reader.count_frames(), 16, 112)
        for _, frame in reader.read([Tap(AtIndices(pressed.indices), small)]):
            pressed.push(frame.pixels)
        stack = np.stack([frame.pixels for frame in reader.frames(small)])
    assert np.abs(pressed.finish() - squashed_stack(stack, 16, 112)).max() < 1e-4


def test_only_the_frames_of_the_clip_are_converted(shared: Path, monkeypatch: pytest.MonkeyPatch):
    converted = []
    convert = PictureMaker.__call__
    monkeypatch.setattr(
        PictureMaker, "__call__", lambda maker, frame: converted.append(frame) or convert(maker, frame)
    )
    with open_video(shared / "videos" / "natural" / "wolf_head_turn.mp4") as reader:
        pressed = Squash(reader.count_frames(), 4, 32)
        for _, frame in reader.read([Tap(AtIndices(pressed.indices), Picture())]):
            pressed.push(frame.pixels)
    pressed.finish()
    assert len(converted) == len(pressed.indices) == 8


def test_a_file_that_is_cut_off_squashes_as_far_as_it_goes(shared: Path):
    (source,) = (shared / "videos" / "odd").rglob("derived_truncated_flower_60pct.mp4")
    small = Picture(96, 64)
    with open_video(source) as reader:
        pressed = Squash(reader.count_frames(), 16, 32)
        with contextlib.suppress(Truncated):
            for _, frame in reader.read([Tap(AtIndices(pressed.indices), small)]):
                pressed.push(frame.pixels)
        stack = []
        with pytest.raises(Truncated, match="90 of 150"):
            stack.extend(frame.pixels for frame in reader.frames(small))
    assert np.abs(pressed.finish() - squashed_stack(np.stack(stack), 16, 32)).max() < 1e-4


def test_squashing_asks_for_two_frames_per_frame_of_the_clip_at_most():
    assert len(Squash(5000, 16, 8).indices) == 32
    assert Squash(16, 16, 8).indices == tuple(range(16))
    assert Squash(3, 16, 8).indices == (0, 1, 2)


def test_squashing_holds_one_frame_and_the_clip():
    import tracemalloc

    frame = np.zeros((540, 960, 3), np.uint8)
    pressed = Squash(3000, 16, 64)
    tracemalloc.start()
    for _ in pressed.indices:
        pressed.push(frame.copy())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * frame.nbytes


def test_a_clip_with_missing_frames_is_not_handed_out():
    pressed = Squash(40, 16, 8)
    pressed.push(picture(10, 10))
    with pytest.raises(InvalidArgument, match="needs 32 frames, got 1"):
        pressed.finish()


def test_a_frame_too_many_is_refused():
    pressed = Squash(1, 16, 8)
    pressed.push(picture(10, 10))
    with pytest.raises(InvalidArgument, match="all 1 frames"):
        pressed.push(picture(10, 10))
