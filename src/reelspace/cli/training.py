"""`train pca`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from rich.logging import RichHandler

from reelspace.cli.output import console, count, notices, print_json, shown
from reelspace.encoders.spec import EncoderSpec
from reelspace.errors import InvalidArgument
from reelspace.media.sources import find_videos
from reelspace.training.pca import train_pca

__all__ = ["pca"]

ROW_FILE = "model.toml"


def pca(
    paths: Sequence[str],
    *,
    output: Path,
    frames_per_second: float,
    dimensions: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Runs `reelspace train pca`."""
    sources = find_videos(paths)
    if not output.absolute().parent.is_dir():
        raise InvalidArgument(f"there is no folder {output.absolute().parent}; make it first")
    handler = RichHandler(console=notices(), show_time=False, show_level=False, show_path=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    row = train_pca(sources, output, frames_per_second=frames_per_second, dimensions=dimensions, device=device)
    (output / ROW_FILE).write_text(_as_toml(row), "utf-8")
    if as_json:
        print_json({"output": output, "encoder": row.name, "row": output / ROW_FILE, "outputs": dict(row.outputs)})
    else:
        console().print(
            f"Wrote {shown(str(output))}, fitted on {count(len(sources), 'video')}. To use it as "
            f"[bold]{shown(row.name)}[/]:  export REELSPACE_MODELS={shown(str((output / ROW_FILE).absolute()))}"
        )


def _as_toml(row: EncoderSpec) -> str:
    """The row as a user's own; folders are seen from where the file lies."""
    files = ", ".join(json.dumps(file.name) for file in row.weights.files)
    return (
        "[[encoder]]\n"
        f"name = {json.dumps(row.name)}\n"
        'like = "rmac-resnet34-plain"\n'
        f"remark = {json.dumps(row.remark)}\n"
        f"outputs = {{ frames = {row.outputs['frames']} }}\n"
        f"options = {{ pca = {json.dumps(row.options['pca'])} }}\n"
        f'weights = {{ folder = ".", files = [{files}], trained_on = {json.dumps(row.weights.trained_on)} }}\n'
    )
