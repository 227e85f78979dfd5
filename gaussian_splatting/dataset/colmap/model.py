"""A COLMAP model folder: finding it in a scene, reading it and writing it."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from gaussian_splatting.dataset.colmap.binary import (
    format_cameras_binary,
    format_images_binary,
    parse_cameras_binary,
    parse_images_binary,
)
from gaussian_splatting.dataset.colmap.camera_models import (
    CAMERA_MODELS,
    MODEL_OF_ID,
    MODEL_OF_NAME,
    CameraModel,
    unsupported_model_error,
)
from gaussian_splatting.dataset.colmap.points import (
    format_points_binary,
    format_points_text,
    parse_points_binary,
    parse_points_text,
)
from gaussian_splatting.dataset.colmap.records import (
    ColmapCamera,
    ColmapImage,
    ColmapPoints,
    qvec2rotmat,
    rotmat2qvec,
)
from gaussian_splatting.dataset.colmap.text import (
    format_cameras_text,
    format_images_text,
    is_content,
    numbered_lines,
    parse_cameras_text,
    parse_images_text,
)
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io.paths import entries_of
from gaussian_splatting.io.ply import read_point_cloud
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.storage import write_atomically

__all__ = [
    "CAMERA_MODELS",
    "MODEL_OF_ID",
    "MODEL_OF_NAME",
    "CameraModel",
    "ColmapCamera",
    "ColmapImage",
    "ColmapModel",
    "ColmapPoints",
    "count_images",
    "find_model",
    "qvec2rotmat",
    "read_cameras",
    "read_images",
    "read_model",
    "read_points",
    "rotmat2qvec",
    "unsupported_model_error",
    "write_model",
]

Extension = Literal[".bin", ".txt"]
PathLike = str | os.PathLike[str]
Record = TypeVar("Record")


@dataclass(frozen=True, eq=False)
class ColmapModel:
    """One reconstruction: cameras and images by id, in the order of their files; `points` is None without a file."""

    cameras: dict[int, ColmapCamera]
    images: dict[int, ColmapImage]
    points: ColmapPoints | None = None


def read_model(folder: PathLike, *, with_points: bool = True) -> ColmapModel:
    """Reads a model folder, binary or text; rigs, frames and projects beside the three classic files are ignored.

    Binary files win over text files, and one that is damaged is an error even when the text file is there. Raises
    `SceneError` when files are missing, no image is registered or an image names a camera that is not there, and
    `FormatError` with the place when a file is damaged.
    """
    cameras, images = read_cameras(folder), read_images(folder)
    if not images:
        raise SceneError(f"{os.fspath(folder)}: the model has no registered images; reconstruct the scene again")
    for image in images.values():
        if image.camera_id not in cameras:
            known = ", ".join(map(str, list(cameras)[:8])) or "none"
            raise SceneError(
                f"{os.fspath(folder)}: image {image.id} ({image.name!r}) names camera {image.camera_id}, "
                f"which is not among the cameras ({known}); export the model again"
            )
    return ColmapModel(cameras, images, read_points(folder) if with_points else None)


def read_cameras(folder: PathLike) -> dict[int, ColmapCamera]:
    """The cameras of a model folder, by id."""
    return _read(Path(folder, "cameras" + _extension(folder)), parse_cameras_binary, parse_cameras_text)


def read_images(folder: PathLike) -> dict[int, ColmapImage]:
    """The images of a model folder, by id."""
    return _read(Path(folder, "images" + _extension(folder)), parse_images_binary, parse_images_text)


def read_points(folder: PathLike) -> ColmapPoints | None:
    """The points of a model folder: points3D.ply, else .bin, else .txt, else None.

    A .ply has neither ids nor errors: points are numbered from 1, and errors are -1. Without colours they are grey.
    """
    ply = Path(folder, "points3D.ply")
    if ply.exists():
        xyz, rgb = read_point_cloud(ply)
        grey = np.full(xyz.shape, 128, np.uint8)
        ids = np.arange(1, len(xyz) + 1, dtype=np.uint64)
        return ColmapPoints(ids, xyz, grey if rgb is None else rgb, np.full(len(xyz), -1.0))
    for extension in (".bin", ".txt"):
        path = Path(folder, "points3D" + extension)
        if path.exists():
            return _read(path, parse_points_binary, parse_points_text)
    return None


def write_model(folder: PathLike, model: ColmapModel, *, extension: Extension = ".bin") -> None:
    """Writes cameras, images and points (an empty file when there are none) that COLMAP and `read_model` read back."""
    points = model.points if model.points is not None else _no_points()
    cameras, images = model.cameras.values(), model.images.values()
    contents = {
        ".bin": lambda: (format_cameras_binary(cameras), format_images_binary(images), format_points_binary(points)),
        ".txt": lambda: (format_cameras_text(cameras), format_images_text(images), format_points_text(points)),
    }[extension]()
    for stem, content in zip(("cameras", "images", "points3D"), contents, strict=True):
        write_atomically(Path(folder, stem + extension), content)


def find_model(scene: PathLike) -> Path:
    """The model folder of a scene: `sparse/0`, `sparse` itself, or of several `sparse/<k>` the one with most images.

    When there are several it says so in a warning. Raises `SceneError` with what was found and where it looked.
    """
    sparse = Path(scene, "sparse")
    numbered = sorted(
        (entry for entry in entries_of(sparse) if re.fullmatch(r"\d{1,9}", entry.name)),
        key=lambda entry: int(entry.name),
    )
    candidates = [folder for folder in (*numbered, sparse) if _has_model(folder)]
    if not candidates:
        raise _no_model(Path(scene), sparse)
    if len(candidates) == 1:
        return candidates[0]
    counts = [count_images(folder) for folder in candidates]
    best = max(range(len(candidates)), key=lambda index: (counts[index], -index))
    listed = ", ".join(f"{folder} ({count})" for folder, count in zip(candidates, counts, strict=True))
    warnings.warn(
        f"{sparse}: several models (registered images): {listed}; using {candidates[best]}, the largest", stacklevel=2
    )
    return candidates[best]


def count_images(folder: PathLike) -> int:
    """How many images a model folder registers, without reading them all."""
    path = Path(folder, "images" + _extension(folder))
    reader = Reader.open(path)
    if path.suffix == ".bin":
        return reader.count(1, "images")
    lines = numbered_lines(reader.take(reader.size))
    count = 0
    for _, line in lines:
        if is_content(line):
            count += 1
            next(lines, None)  # its observations
    return count


def _read(
    path: Path, parse_binary: Callable[[Reader], Record], parse_text: Callable[[bytes, PathLike], Record]
) -> Record:
    reader = Reader.open(path)
    return parse_binary(reader) if path.suffix == ".bin" else parse_text(reader.take(reader.size), path)


def _extension(folder: PathLike) -> str:
    """The kind of a model: binary as soon as one of its files is, so that no half of another model is mixed in."""
    for extension in (".bin", ".txt"):
        present = [stem for stem in ("cameras", "images") if Path(folder, stem + extension).exists()]
        if len(present) == 2:
            return extension
        if present:
            absent = ({"cameras", "images"} - set(present)).pop() + extension
            raise SceneError(
                f"{os.fspath(folder)}: {present[0]}{extension} is there but {absent} is not; found "
                f"{_listing(Path(folder))}; export the whole model again, or remove the {extension} files"
            )
    raise SceneError(
        f"{os.fspath(folder)}: no COLMAP model: looked for cameras and images, .bin or .txt; found "
        f"{_listing(Path(folder))}; export the whole model from COLMAP"
    )


def _has_model(folder: Path) -> bool:
    return any(Path(folder, name).exists() for name in ("images.bin", "images.txt", "cameras.bin", "cameras.txt"))


def _no_model(scene: Path, sparse: Path) -> SceneError:
    looked = f"looked for images.bin or images.txt in {sparse / '0'}, in {sparse} and in {sparse}/<number>"
    other = [
        path
        for path in (scene, scene / "colmap" / "sparse" / "0", scene / "distorted" / "sparse" / "0")
        if _has_model(path)
    ]
    if other:
        cure = f"there is a model in {other[0]}: move it to {sparse / '0'}"
        cure += ", after colmap image_undistorter" if "distorted" in other[0].parts else ""
    else:
        cure = "reconstruct the scene with COLMAP first"
    where = sparse if sparse.exists() else scene
    return SceneError(f"{scene}: no COLMAP model: {looked}; {where} holds {_listing(where)}; {cure}")


def _listing(folder: Path) -> str:
    if not folder.exists():
        return "nothing (the folder does not exist)"
    names = sorted(entry.name for entry in entries_of(folder))
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"


def _no_points() -> ColmapPoints:
    return ColmapPoints(np.empty(0, np.uint64), np.empty((0, 3)), np.empty((0, 3), np.uint8), np.empty(0))
