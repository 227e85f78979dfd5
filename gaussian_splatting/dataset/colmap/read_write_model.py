"""Read and write whole COLMAP models, observations and tracks included, by the names of COLMAP's own helper script.

    python -m gaussian_splatting.dataset.colmap.read_write_model --input_model sparse/0 --output_model text

Models are dicts by id of `Camera`, `Image` and `Point3D`. Readers are bounded and strict: a damaged file is a
FormatError that names the place.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.dataset.colmap import tracks
from gaussian_splatting.dataset.colmap.binary import format_cameras_binary, parse_cameras_binary
from gaussian_splatting.dataset.colmap.records import ColmapCamera, qvec2rotmat, rotmat2qvec
from gaussian_splatting.dataset.colmap.text import format_cameras_text, parse_cameras_text
from gaussian_splatting.dataset.colmap.tracks import Image, Point3D
from gaussian_splatting.errors import SceneError, SplatError
from gaussian_splatting.io import storage
from gaussian_splatting.io.reader import Reader, read_content

__all__ = ["Camera", "Image", "Point3D", "qvec2rotmat", "read_model", "rotmat2qvec", "write_model"]

PathLike = str | os.PathLike[str]
NAMES = ("cameras", "images", "points3D")
EXTENSIONS = (".bin", ".txt")


class Camera(NamedTuple):
    """One camera: `model` is COLMAP's name, `params` are in its order, in pixels."""

    id: int
    model: str
    width: int
    height: int
    params: NDArray[np.float64]


Model = tuple[dict[int, Camera], dict[int, Image], dict[int, Point3D]]


def read_cameras_text(path: PathLike) -> dict[int, Camera]:
    """The cameras of a cameras.txt by id."""
    return _cameras(parse_cameras_text(_text(path), path))


def read_cameras_binary(path_to_model_file: PathLike) -> dict[int, Camera]:
    """The cameras of a cameras.bin by id."""
    return _cameras(parse_cameras_binary(Reader.open(path_to_model_file)))


def read_images_text(path: PathLike) -> dict[int, Image]:
    """The images of an images.txt by id."""
    return tracks.parse_full_images_text(_text(path), path)


def read_images_binary(path_to_model_file: PathLike) -> dict[int, Image]:
    """The images of an images.bin by id."""
    return tracks.parse_full_images_binary(Reader.open(path_to_model_file))


def read_points3D_text(path: PathLike) -> dict[int, Point3D]:
    """The points of a points3D.txt by id."""
    return tracks.parse_full_points_text(_text(path), path)


def read_points3D_binary(path_to_model_file: PathLike) -> dict[int, Point3D]:
    """The points of a points3D.bin by id."""
    return tracks.parse_full_points_binary(Reader.open(path_to_model_file))


def write_cameras_text(cameras: Mapping[int, Camera], path: PathLike) -> None:
    """Write a cameras.txt."""
    storage.write_atomically(path, format_cameras_text(_records(cameras)))


def write_cameras_binary(cameras: Mapping[int, Camera], path_to_model_file: PathLike) -> None:
    """Write a cameras.bin."""
    storage.write_atomically(path_to_model_file, format_cameras_binary(_records(cameras)))


def write_images_text(images: Mapping[int, Image], path: PathLike) -> None:
    """Write an images.txt."""
    storage.write_atomically(path, tracks.format_full_images_text(images))


def write_images_binary(images: Mapping[int, Image], path_to_model_file: PathLike) -> None:
    """Write an images.bin."""
    storage.write_atomically(path_to_model_file, tracks.format_full_images_binary(images))


def write_points3D_text(points3D: Mapping[int, Point3D], path: PathLike) -> None:
    """Write a points3D.txt."""
    storage.write_atomically(path, tracks.format_full_points_text(points3D))


def write_points3D_binary(points3D: Mapping[int, Point3D], path_to_model_file: PathLike) -> None:
    """Write a points3D.bin."""
    storage.write_atomically(path_to_model_file, tracks.format_full_points_binary(points3D))


_READERS: dict[str, tuple[Callable[[PathLike], Any], ...]] = {
    ".bin": (read_cameras_binary, read_images_binary, read_points3D_binary),
    ".txt": (read_cameras_text, read_images_text, read_points3D_text),
}
_WRITERS: dict[str, tuple[Callable[[Any, PathLike], None], ...]] = {
    ".bin": (write_cameras_binary, write_images_binary, write_points3D_binary),
    ".txt": (write_cameras_text, write_images_text, write_points3D_text),
}


def detect_model_format(path: PathLike, ext: str) -> bool:
    """Whether a folder holds a whole model with this extension."""
    return all((Path(path) / f"{name}{ext}").is_file() for name in NAMES)


def read_model(path: PathLike, ext: str = "") -> Model:
    """Cameras, images and points of a folder; without `ext` the binary files are read where they are all there."""
    found = ext or next((known for known in EXTENSIONS if detect_model_format(path, known)), "")
    if found not in _READERS:
        names = ", ".join(f"{name}{known}" for known in EXTENSIONS for name in NAMES)
        raise SceneError(f"{os.fspath(path)}: no COLMAP model there; expected {names}, all of one extension")
    cameras, images, points = (
        read(Path(path) / f"{name}{found}") for name, read in zip(NAMES, _READERS[found], strict=True)
    )
    return cameras, images, points


def write_model(
    cameras: Mapping[int, Camera],
    images: Mapping[int, Image],
    points3D: Mapping[int, Point3D],
    path: PathLike,
    ext: str = ".bin",
) -> None:
    """Write a whole model into a folder, as .bin or .txt files."""
    if ext not in _WRITERS:
        raise SplatError(f"a COLMAP model has the extension .bin or .txt, not {ext!r}")
    for name, write, values in zip(NAMES, _WRITERS[ext], (cameras, images, points3D), strict=True):
        write(values, Path(path) / f"{name}{ext}")


def main(argv: Sequence[str] | None = None) -> int:
    """Convert a model between text and binary; the status for the shell."""
    parser = argparse.ArgumentParser(description="Read and write COLMAP models", allow_abbrev=False)
    parser.add_argument("--input_model", required=True, help="folder of the model to read")
    parser.add_argument("--input_format", choices=EXTENSIONS, default="", help="its extension (default: what is there)")
    parser.add_argument("--output_model", help="folder to write; without it the model is only read and counted")
    parser.add_argument("--output_format", choices=EXTENSIONS, default=".txt", help="extension to write (default .txt)")
    arguments = parser.parse_args(argv)
    try:
        cameras, images, points = read_model(arguments.input_model, arguments.input_format)
        print(f"{len(cameras)} cameras, {len(images)} images, {len(points)} points")
        if arguments.output_model:
            write_model(cameras, images, points, arguments.output_model, arguments.output_format)
    except SplatError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _text(path: PathLike) -> bytes:
    return bytes(read_content(path)[:])


def _cameras(found: Mapping[int, ColmapCamera]) -> dict[int, Camera]:
    return {
        camera.id: Camera(camera.id, camera.model, camera.width, camera.height, np.array(camera.params))
        for camera in found.values()
    }


def _records(cameras: Mapping[int, Camera]) -> list[ColmapCamera]:
    return [
        ColmapCamera(camera.id, camera.model, camera.width, camera.height, tuple(float(p) for p in camera.params))
        for camera in cameras.values()
    ]


if __name__ == "__main__":
    sys.exit(main())
