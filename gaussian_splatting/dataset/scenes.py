"""Which kind of scene a folder or a file is, its cameras, and its points."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gaussian_splatting.dataset.colmap.dataset import ColmapCameraDataset
from gaussian_splatting.dataset.colmap.model import find_model, read_points
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.dataset.pictures import PictureLimits
from gaussian_splatting.dataset.split import Split
from gaussian_splatting.dataset.strict_json import read_json
from gaussian_splatting.dataset.trainable import FixedTrainableCameraDataset
from gaussian_splatting.dataset.transforms import TransformsCameraDataset, transforms_points
from gaussian_splatting.dataset.transforms.file import read_transforms
from gaussian_splatting.dataset.transforms.frames import SINGLE, TRAIN, find_transforms
from gaussian_splatting.dataset.view import AlphaUse
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io.ply import read_point_cloud

PathLike = str | os.PathLike[str]
SceneKind = Literal["colmap", "transforms", "cameras"]
MARKS: tuple[tuple[str, SceneKind], ...] = (
    ("sparse", "colmap"),
    (TRAIN, "transforms"),
    (SINGLE, "transforms"),
    ("cameras.json", "cameras"),
)
"""What makes a folder a scene, the first that is there before the others."""
CONVERT = "python -m gaussian_splatting.convert"


@dataclass(frozen=True)
class Scene:
    """A scene that was found: `path` is a folder, or for `cameras` and single files the JSON file."""

    kind: SceneKind
    path: Path

    @property
    def is_synthetic(self) -> bool:
        """Whether it is a NeRF-synthetic scene, whose object lies in the cube of 1.3 around the origin."""
        return self.kind == "transforms" and read_transforms(find_transforms(self.path)[0]).is_synthetic


def find_scene(source: PathLike) -> Scene:
    """The scene that a folder or a JSON file holds; a `SceneError` says where it looked and what it found.

    In a folder, a COLMAP model (`sparse`) comes before `transforms_train.json` and `transforms.json`, and these before
    `cameras.json`. When there are several, a warning says which is used; naming a file chooses it.
    """
    path = Path(source)
    if path.is_file():
        return Scene(_kind_of_file(path), path)
    if not path.is_dir():
        raise SceneError(f"{path}: no such folder or file; give the folder of a scene")
    found: list[tuple[str, SceneKind]] = [(name, kind) for name, kind in MARKS if (path / name).exists()]
    if not found:
        raise SceneError(_nothing_in(path))
    name, kind = found[0]
    others = [other for other, other_kind in found if other_kind != kind]
    if others:
        cure = f"give {path / others[0]} itself to use it" if others[0] != "sparse" else "remove the other"
        warnings.warn(f"{path}: holds {name} and {', '.join(others)}; using {name}; {cure}", stacklevel=2)
    return Scene(kind, path / name if kind == "cameras" else path)


def open_scene(
    source: PathLike,
    split: Split = "all",
    *,
    load_mask: bool = True,
    load_depth: bool = True,
    resolution: int | None = None,
    image_scale: float | None = None,
    alpha: AlphaUse | None = None,
    limits: PictureLimits | None = None,
    strict: bool = False,
) -> CameraDataset:
    """The cameras of a scene of any kind. `alpha` None is what the kind does by itself.

    By itself an alpha channel lays the pictures of `transforms.json` scenes over the background, and is the image mask
    in others. A `cameras.json` decides for each of its cameras. When `strict`, a missing picture is an error; else it
    is left out with a warning (of a `cameras.json` it is always an error).
    """
    scene = find_scene(source)
    options: dict[str, Any] = {
        "load_mask": load_mask,
        "load_depth": load_depth,
        "split": split,
        "resolution": resolution,
        "image_scale": image_scale,
        "limits": limits,
    }
    given: dict[str, Any] = {} if alpha is None else {"alpha": alpha}
    match scene.kind:
        case "colmap":
            return ColmapCameraDataset(scene.path, **options, **given, strict=strict)
        case "transforms":
            return TransformsCameraDataset(scene.path, **options, **given, strict=strict)
        case "cameras":
            return FixedTrainableCameraDataset(scene.path, **options)


def scene_points(scene: Scene) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Positions [M, 3] and colours [M, 3] from 0 to 255 (None without colours) of a scene; None without points."""
    match scene.kind:
        case "colmap":
            points = read_points(find_model(scene.path))
            return None if points is None else (points.xyz, points.rgb)
        case "transforms":
            return transforms_points(scene.path)
        case "cameras":
            path = scene.path.parent / "points3d.ply"
            return read_point_cloud(path) if path.is_file() else None


def _kind_of_file(path: Path) -> SceneKind:
    if path.suffix.lower() != ".json":
        raise SceneError(
            f"{path}: a file that is no scene; give a folder, a transforms.json or a cameras.json; of a video, make a "
            f"scene: {CONVERT} -s {path}"
        )
    content = read_json(path)
    if isinstance(content.value, list):
        return "cameras"
    if content.get("frames") is None:
        raise content.fault("has no 'frames' and is no list of cameras")
    return "transforms"


def is_marked(folder: Path) -> bool:
    """Whether a folder has what makes it a scene."""
    return any((folder / name).exists() for name, _ in MARKS)


def _nothing_in(folder: Path) -> str:
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    held = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"
    places = (folder.absolute().parent, *sorted(folder.iterdir()))
    inner = [path for path in places if is_marked(path)]
    cure = f"did you mean {inner[0]}?" if inner else f"of photos, make one: {CONVERT} -s {folder}"
    return (
        f"{folder}: no scene: looked for sparse/0 (COLMAP), {TRAIN} and {SINGLE} (nerfstudio, instant-ngp, Blender) "
        f"and cameras.json; the folder holds {held}; {cure}"
    )
