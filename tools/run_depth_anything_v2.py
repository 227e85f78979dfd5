"""Depth maps of a scene by Depth Anything V2: `tools/run_depth_anything_v2.py --img-path images --outdir depths`.

For every picture it writes, below `--outdir` and under the picture's sub-folder:

    <stem>.tiff       float32, the disparity (inverse depth up to scale and shift) as the network gives it
    <stem>_mask.tiff  ones
    <stem>.png        the same from 0 to 255, to look at
    <stem>_mask.png   255

The network comes through Hugging Face transformers (`pip install transformers`, or this package with the extra
`depth`), from a local folder or from the hub, in safetensors only. Yang et al. 2024, Depth Anything V2. The small
network is Apache-2.0; base and large are CC-BY-NC-4.0.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaussian_splatting.cli import commands
from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.storage import write_atomically

HUB = {
    "vits": "depth-anything/Depth-Anything-V2-Small-hf",
    "vitb": "depth-anything/Depth-Anything-V2-Base-hf",
    "vitl": "depth-anything/Depth-Anything-V2-Large-hf",
}
ENCODERS = (*HUB, "vitg")
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")
PATCH = 14
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours, which the network was trained with."""


@dataclass(frozen=True)
class Job:
    """A picture, and where its results go: `name` is the path below the output folder, without extension."""

    picture: Path
    name: str


def build_parser() -> argparse.ArgumentParser:
    """The parser."""
    parser = argparse.ArgumentParser(
        prog="python tools/run_depth_anything_v2.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--img-path", required=True, help="a picture, a .txt list of pictures, or a folder (recursive)")
    parser.add_argument(
        "--input-size", type=commands.positive_integer, default=518, help="shorter side that the network sees (518)"
    )
    parser.add_argument("--outdir", default="./vis_depth", help="folder to write (default ./vis_depth)")
    parser.add_argument("--encoder", choices=ENCODERS, default="vitl", help="size of the network (default vitl)")
    parser.add_argument("--model", metavar="FOLDER_OR_ID", help="local folder or hub id, instead of --encoder's")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(run, build_parser(), argv)


def run(arguments: argparse.Namespace) -> None:
    """Estimate the depth of every picture and write it."""
    from gaussian_splatting.dataset.decode import read_colors

    jobs = find_pictures(Path(arguments.img_path))
    spare_pictures(jobs, Path(arguments.outdir))
    network = load_network(arguments.model, arguments.encoder, arguments.device)
    for number, job in enumerate(jobs, 1):
        colors, _ = read_colors(job.picture)
        write_depth(Path(arguments.outdir), job.name, disparity_of(network, colors, arguments.input_size))
        commands.say(f"{number}/{len(jobs)} {job.picture}")


def find_pictures(path: Path) -> list[Job]:
    """The pictures to work on. Masks (`<stem>_mask`) are none; two that would write one file are refused."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and _is_picture(file))
        jobs = [_job(file, path) for file in files]
    elif path.suffix.lower() == ".txt":
        files = _listed(path)
        common = Path(os.path.commonpath([str(file.parent.absolute()) for file in files])) if files else path.parent
        jobs = [_job(file.absolute(), common) for file in files]
    else:
        jobs = [_job(path, path.parent)] if path.is_file() else []
    if not jobs:
        raise SplatError(
            f"{path}: no pictures there; give a picture, a .txt list, or a folder with {', '.join(SUFFIXES)}"
        )
    _refuse_collisions(jobs)
    return jobs


def spare_pictures(jobs: Sequence[Job], folder: Path) -> None:
    """Refuses an output folder where the results would replace the pictures."""
    pictures = {job.picture.resolve() for job in jobs}
    for job in jobs:
        for ending in (".tiff", ".png"):
            if (folder / f"{job.name}{ending}").resolve() in pictures:
                raise SplatError(f"{folder}: {job.name}{ending} is a picture there; write elsewhere, with --outdir")


def load_network(model: str | None, encoder: str, device: str) -> Any:
    """The network, ready on its device. Weights are read from safetensors only, never unpickled."""
    import torch

    source = model or HUB.get(encoder)
    if source is None:
        raise SplatError(f"--encoder {encoder}: its weights are not published; give a folder of your own with --model")
    try:
        from transformers import AutoModelForDepthEstimation
    except ImportError as error:
        raise SplatError(f"transformers is missing ({error}); run: pip install transformers") from error
    local = Path(source).is_dir()
    try:
        network = AutoModelForDepthEstimation.from_pretrained(source, use_safetensors=True, local_files_only=local)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SplatError(
            f"--model {source}: cannot be loaded: {reason}; give a folder with config.json and model.safetensors"
        ) from error
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return network.eval().to(device)


def disparity_of(network: Any, colors: np.ndarray, input_size: int) -> np.ndarray:
    """The disparity [H, W] float32 of a picture [H, W, 3] uint8; a metric network's depth is turned into 1 / depth."""
    import cv2
    import torch

    height, width = colors.shape[:2]
    size = network_size(width, height, input_size)
    scaled = cv2.resize(colors.astype(np.float32) / 255, size, interpolation=cv2.INTER_CUBIC)
    normalised = ((scaled - MEAN) / SPREAD).astype(np.float32)
    batch = torch.from_numpy(normalised).permute(2, 0, 1)[None].to(network.device)
    with torch.inference_mode():
        found = network(pixel_values=batch).predicted_depth.float()
        full = torch.nn.functional.interpolate(found[:, None], (height, width), mode="bilinear", align_corners=True)
    values = full[0, 0].cpu().numpy()
    if getattr(network.config, "depth_estimation_type", "relative") == "metric":
        values = np.divide(1, values, out=np.zeros_like(values), where=values > 0)
    return values


def network_size(width: int, height: int, input_size: int) -> tuple[int, int]:
    """Width and height for the network: both multiples of its patches, the shorter at least `input_size`."""
    scale = input_size / min(width, height)
    return _multiple(width * scale, input_size), _multiple(height * scale, input_size)


def write_depth(folder: Path, name: str, disparity: np.ndarray) -> None:
    """Write the four files of one picture, each whole or not at all."""
    import cv2
    import tifffile

    low, high = float(disparity.min()), float(disparity.max())
    shown = np.rint((disparity - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
    for ending, values in (("", disparity), ("_mask", np.ones_like(disparity))):
        stream = io.BytesIO()
        tifffile.imwrite(stream, values.astype(np.float32), compression=None)
        write_atomically(folder / f"{name}{ending}.tiff", stream.getvalue())
    for ending, picture in (("", np.repeat(shown[..., None], 3, -1)), ("_mask", np.full_like(shown, 255))):
        encoded = cv2.imencode(".png", picture)[1]
        write_atomically(folder / f"{name}{ending}.png", encoded.tobytes())


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.stem.endswith("_mask")


def _listed(path: Path) -> list[Path]:
    """The pictures of a list, one per line, seen from the working folder or else from the list."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SplatError(f"{path}: cannot be read as a list of pictures: {error}") from error
    files = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        found = next((file for file in (Path(text), path.parent / text) if file.is_file()), None)
        if found is None:
            raise SplatError(f"{path}: line {number}: {text} does not exist; correct the list")
        files.append(found)
    return files


def _job(picture: Path, root: Path) -> Job:
    return Job(picture, picture.relative_to(root).with_suffix("").as_posix())


def _refuse_collisions(jobs: Iterable[Job]) -> None:
    first: dict[str, Path] = {}
    for job in jobs:
        other = first.setdefault(job.name, job.picture)
        if other != job.picture:
            raise SplatError(
                f"{other} and {job.picture} would both write {job.name}.tiff; rename or remove one of them"
            )


def _multiple(pixels: float, least: int) -> int:
    """The multiple of the patch size nearest to `pixels`, not below `least` by more than rounding up mends."""
    nearest = round(pixels / PATCH) * PATCH
    return nearest if nearest >= least else -(-int(np.ceil(pixels)) // PATCH) * PATCH


if __name__ == "__main__":
    sys.exit(main())
