"""Learns RMAC's whitening from one's own videos.

    python -m reelspace.training.pca VIDEOS... FOLDER [--frames-per-second 1] [--dimensions 512] [--device auto]

The published PCA was fitted on YFCC100M and lies under a non-commercial licence; one fitted on the footage it is
used on takes its place. Frames are described and their regions summed up as they come: memory holds a batch of
small pictures, whatever the number and length of the videos.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reelspace.encoders.catalog import find
from reelspace.encoders.catalog.rmac import OWN_PCA, rmac_with_pca
from reelspace.encoders.checkpoint import checkpoint_of
from reelspace.encoders.encoder import Encoder
from reelspace.encoders.load import load_encoder
from reelspace.encoders.pca import fit_pca, save_pca
from reelspace.encoders.preprocess import crops_of
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument, MediaError
from reelspace.media import open_video
from reelspace.media.sources import find_videos

__all__ = ["region_vectors", "train_pca"]

_BATCH = 32  # frames

_log = logging.getLogger(__name__)


def region_vectors(
    videos: Iterable[str], encoder: Encoder, *, frames_per_second: float = 1.0
) -> Iterator[NDArray[np.float32]]:
    """The unit vectors of all regions of all frames, in blocks (N, C).

    A video that cannot be read is logged with its reason, and what came of it is kept.

    Args:
        videos: sources.
        encoder: one with the map ``regions``.
        frames_per_second: of each video.
    """
    for video in videos:
        count = 0
        try:
            for pictures in _pictures(video, encoder.spec, frames_per_second):
                regions = encoder.encode(pictures[:, None], outputs=("regions",))["regions"]  # (B, R, C)
                count += len(regions)
                yield regions.reshape(-1, regions.shape[2])
        except MediaError as error:
            _log.warning("%s; %d frames of it are used", error, count)
        else:
            _log.info("%s: %d frames", video, count)


def train_pca(
    videos: Iterable[str],
    folder: Path,
    *,
    row: EncoderSpec | None = None,
    frames_per_second: float = 1.0,
    dimensions: int | None = None,
    device: str = "auto",
) -> EncoderSpec:
    """Fits a whitening on videos and writes it beside the net it belongs to.

    Args:
        videos: sources, such as `reelspace.media.sources.find_videos` gives.
        folder: made where it is missing; gets the net's file and ``pca.npz``: a checkpoint of its own.
        row: an RMAC without whitening; None for ``rmac-resnet34-plain``.
        frames_per_second: of each video.
        dimensions: of the vectors of a frame; None for as many as the net's map has channels.
        device: as of `load_encoder`.

    Returns:
        The row of that checkpoint, named after the folder: `register` it, or load it as it is.

    Raises:
        InvalidArgument: when the row is whitened already, or the videos give too few regions for that many
            directions.
    """
    plain = row or find("rmac-resnet34-plain")
    if "regions" not in plain.maps or "pca" in plain.options:
        raise InvalidArgument(f"{plain.name} is not an RMAC without whitening, such as 'rmac-resnet34-plain'")
    encoder = load_encoder(plain, device=device)
    pca = fit_pca(region_vectors(videos, encoder, frames_per_second=frames_per_second), dimensions=dimensions)
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in checkpoint_of(plain.weights).files.items():
        if path.resolve() != (folder / name).resolve():
            shutil.copyfile(path, folder / name)
    save_pca(pca, folder / OWN_PCA)
    return rmac_with_pca(folder, name=folder.absolute().name, plain=plain, dimensions=len(pca.projection))


def _pictures(video: str, row: EncoderSpec, frames_per_second: float) -> Iterator[NDArray[np.uint8]]:
    """Resized pictures uint8 (B, h, w, 3) of a video. Each is resized as it comes: large ones never pile up.

    Raises:
        MediaError: after the pictures that are there.
    """
    batch: list[NDArray[np.uint8]] = []
    broken: MediaError | None = None
    with open_video(video) as reader:
        try:
            for frame in reader.frames_at_rate(frames_per_second):
                batch.append(crops_of(frame.pixels[None], row.preprocessing)[0, 0])
                if len(batch) == _BATCH:
                    yield np.stack(batch)
                    batch = []
        except MediaError as error:
            broken = error
    if batch:
        yield np.stack(batch)
    if broken is not None:
        raise broken


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", help="files, folders, globs or URLs")
    parser.add_argument("folder", type=Path, help="gets the net and pca.npz")
    parser.add_argument("--frames-per-second", type=float, default=1.0)
    parser.add_argument("--dimensions", type=int)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    row = train_pca(
        find_videos(arguments.videos),
        arguments.folder,
        frames_per_second=arguments.frames_per_second,
        dimensions=arguments.dimensions,
        device=arguments.device,
    )
    _log.info("%s: %d numbers a frame", arguments.folder / OWN_PCA, row.outputs["frames"])


if __name__ == "__main__":
    main()
