"""A COLMAP scene with its training cameras or pictures made worse: `tools/perturb_scene.py -s scene -d worse ...`.

    --rotation 0.5   every camera turned by 0.5 degrees about a random axis through its own centre
    --position 0.01  every camera moved by 1 % of the scene extent in a random direction
    --gain 0.2       every picture multiplied by a number drawn evenly from 0.8 to 1.2
    --bias 0.05      and a number drawn evenly from -0.05 to 0.05 of full white added to it

Views held out for the test (every 8th by name, as `--eval` has it) keep their poses and pictures, and the points keep
their places, so that what is trained on the copy can be measured against the truth. What was done to each view is in
`perturbation.json`. Pictures are written as 8-bit PNG, clipped; masks, depth maps and `depth_params.json` are copied.
The same seed gives the same scene.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.cli import commands
from gaussian_splatting.dataset.colmap.files import SceneFiles, find_files
from gaussian_splatting.dataset.colmap.model import ColmapImage, ColmapModel, find_model, read_model, write_model
from gaussian_splatting.dataset.colmap.records import qvec2rotmat, rotmat2qvec
from gaussian_splatting.dataset.extent import scene_extent_of
from gaussian_splatting.dataset.lookup import stem_of
from gaussian_splatting.dataset.split import split_indices
from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.storage import write_atomically, write_json


@dataclass(frozen=True)
class Perturbation:
    """What is done to one view."""

    turn: NDArray[np.float64]  # [3] rotation vector in camera axes, radians
    shift: NDArray[np.float64]  # [3] of the camera centre, world units
    gain: NDArray[np.float64]  # [3]
    bias: NDArray[np.float64]  # [3] as a fraction of full white


def build_parser() -> argparse.ArgumentParser:
    """The parser."""
    parser = argparse.ArgumentParser(
        prog="python tools/perturb_scene.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-s", "--source", type=Path, required=True, help="COLMAP scene: folder with sparse and images")
    parser.add_argument("-d", "--destination", type=Path, required=True, help="folder of the new scene; must be empty")
    parser.add_argument("--rotation", type=float, default=0.0, help="degrees (default 0)")
    parser.add_argument("--position", type=float, default=0.0, help="fraction of the scene extent (default 0)")
    parser.add_argument("--gain", type=float, default=0.0, help="largest change of the gain (default 0)")
    parser.add_argument("--bias", type=float, default=0.0, help="largest bias, of full white (default 0)")
    parser.add_argument("--per_channel", action="store_true", help="draw gain and bias for red, green and blue apart")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default 0)")
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(run, build_parser(), argv)


def run(arguments: argparse.Namespace) -> None:
    """Everything the command does."""
    refuse(arguments)
    source, folder = arguments.source, find_model(arguments.source)
    model = read_model(folder)
    names = sorted(image.name for image in model.images.values())
    chosen = [names[index] for index in split_indices(names, "train")]
    extent = scene_extent_of(np.stack([centre_of(image) for image in model.images.values()]))
    changes = dict(zip(chosen, draw(arguments, len(chosen), extent), strict=True))
    repaint = arguments.gain > 0 or arguments.bias > 0
    files = find_files(source, "images")
    renamed = copy_pictures(files, names, changes if repaint else {}, arguments.destination / "images")
    copy_depths(files, names, arguments.destination)
    images = {key: perturbed(image, changes, renamed[image.name]) for key, image in model.images.items()}
    target = arguments.destination / "sparse" / "0"
    write_model(target, ColmapModel(model.cameras, images, model.points))
    if (folder / "depth_params.json").is_file():
        write_atomically(target / "depth_params.json", (folder / "depth_params.json").read_bytes())
    write_json(arguments.destination / "perturbation.json", described(arguments, changes, extent))
    commands.say(
        f"{arguments.destination}: {len(chosen)} of {len(names)} views perturbed, extent {extent:.4g}: "
        f"{arguments.rotation:g} degrees, {arguments.position * extent:.4g} in position, "
        f"gain +-{arguments.gain:g}, bias +-{arguments.bias:g}"
    )


def refuse(arguments: argparse.Namespace) -> None:
    """Refuses amounts that make no sense and a destination that holds something."""
    for name, most in (("rotation", 180.0), ("position", 100.0), ("gain", 1.0), ("bias", 1.0)):
        if not 0 <= getattr(arguments, name) <= most:
            raise SplatError(f"--{name} is {getattr(arguments, name)}; it must be between 0 and {most:g}")
    if not any((arguments.rotation, arguments.position, arguments.gain, arguments.bias)):
        raise SplatError("nothing to do; give --rotation, --position, --gain or --bias")
    if arguments.seed < 0:
        raise SplatError(f"--seed is {arguments.seed}; it must not be negative")
    target = arguments.destination
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise SplatError(f"{target}: is there already and not an empty folder; give a new one with -d")


def draw(arguments: argparse.Namespace, num_views: int, extent: float) -> list[Perturbation]:
    """One perturbation per view."""
    generator = np.random.default_rng(arguments.seed)
    axes, directions = (_directions(generator, num_views) for _ in range(2))
    channels = 3 if arguments.per_channel else 1
    gains, biases = (generator.uniform(-1, 1, (num_views, channels)) * np.ones(3) for _ in range(2))
    return [
        Perturbation(
            np.radians(arguments.rotation) * axis,
            arguments.position * extent * direction,
            1 + arguments.gain * gain,
            arguments.bias * bias,
        )
        for axis, direction, gain, bias in zip(axes, directions, gains, biases, strict=True)
    ]


def perturbed(image: ColmapImage, changes: dict[str, Perturbation], name: str) -> ColmapImage:
    """The image with its new name, and with its new pose when it has one."""
    change = changes.get(image.name)
    if change is None or not (change.turn.any() or change.shift.any()):
        return replace(image, name=name)
    rotation = rotation_matrix(change.turn) @ qvec2rotmat(image.qvec)
    translation = -rotation @ (centre_of(image) + change.shift)
    w, x, y, z = map(float, rotmat2qvec(rotation))
    tx, ty, tz = map(float, translation)
    return replace(image, name=name, qvec=(w, x, y, z), tvec=(tx, ty, tz))


def copy_pictures(
    files: SceneFiles, names: Sequence[str], changes: dict[str, Perturbation], folder: Path
) -> dict[str, str]:
    """Writes pictures and masks; old name -> new name. A repainted picture becomes a PNG."""
    renamed: dict[str, str] = {}
    for name in names:
        path, mask = files.picture(name), files.mask(name)
        if path is None:
            raise SplatError(
                f"{files.picture_folders[0] / name}: the model has this picture, the folder has not; add it"
            )
        renamed[name] = f"{stem_of(name)}.png" if name in changes else name
        data = repainted(path, changes[name]) if name in changes else path.read_bytes()
        write_atomically(folder / renamed[name], data)
        if mask is not None:
            write_atomically(folder / f"{stem_of(name)}_mask{mask.suffix}", mask.read_bytes())
    if len(set(renamed.values())) < len(names):
        raise SplatError(
            f"{files.root}: pictures that differ in their extension alone cannot be told apart; rename them"
        )
    return renamed


def copy_depths(files: SceneFiles, names: Sequence[str], destination: Path) -> None:
    """Writes the depth maps of the pictures and their masks."""
    for name in names:
        for path in files.depth(name):
            if path is not None and files.depth_folder is not None:
                relative = path.resolve().relative_to(files.depth_folder.resolve())
                write_atomically(destination / "depths" / relative, path.read_bytes())


def repainted(path: Path, change: Perturbation) -> bytes:
    """The picture with gain and bias, as PNG."""
    from gaussian_splatting.dataset.decode import read_colors
    from gaussian_splatting.rendering.picture_files import encode_picture

    colors, alpha = read_colors(path)  # [H, W, 3]
    if alpha is not None:
        raise SplatError(f"{path}: has an alpha channel, which would be lost; save the picture without it")
    values = colors * change.gain + 255 * change.bias
    return encode_picture(np.rint(np.clip(values, 0, 255)).astype(np.uint8), "png")


def described(arguments: argparse.Namespace, changes: dict[str, Perturbation], extent: float) -> dict[str, object]:
    """The content of `perturbation.json`."""
    names = ("rotation", "position", "gain", "bias", "per_channel", "seed")
    views = {
        name: {key: np.asarray(value).tolist() for key, value in vars(change).items()}
        for name, change in changes.items()
    }
    return {name: getattr(arguments, name) for name in names} | {"extent": extent, "views": views}


def centre_of(image: ColmapImage) -> NDArray[np.float64]:
    """Where the camera stands in the world [3]."""
    return -qvec2rotmat(image.qvec).T @ np.asarray(image.tvec)


def rotation_matrix(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation [3, 3] about `vector` [3] by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _directions(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Unit vectors [count, 3], evenly over the sphere."""
    vectors = generator.normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


if __name__ == "__main__":
    sys.exit(main())
