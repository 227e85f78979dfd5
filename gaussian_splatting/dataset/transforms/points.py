"""The points that a `transforms.json` scene comes with, and the world that its poses and points are in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from gaussian_splatting.dataset.lookup import first_file
from gaussian_splatting.dataset.transforms.file import TransformsFile, plain, read_transforms
from gaussian_splatting.dataset.transforms.frames import find_transforms
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io.ply import read_point_cloud

World = Literal["file", "original"]
USUAL_NAMES = ("points3d.ply", "points3D.ply", "sparse_pc.ply")
"""Where points lie when the file does not name them: NeRF-synthetic scenes, nerfstudio."""


def transforms_points(source: str | Path, world: World = "file") -> tuple[np.ndarray, np.ndarray | None] | None:
    """Positions [M, 3] and colours [M, 3] from 0 to 255 of `ply_file_path`, else of a file with a usual name.

    The file must lie in the folder of the scene; one that is named but missing is a `SceneError`. None without points.
    """
    file = read_transforms(find_transforms(Path(source))[0])
    named = file.value.get("ply_file_path")
    if named is not None and named.value is not None:
        path = first_file([file.root], [plain(named.text())])
        if path is None:
            raise SceneError(f"{file.path}: {named.where} names {named.text()!r}, which does not exist; put it there")
    else:
        path = first_file([file.root], USUAL_NAMES)
    if path is None:
        return None
    xyz, rgb = read_point_cloud(path)
    if world == "original":
        rotation, offset, scale = file.original_world()
        xyz = (xyz / scale - offset) @ rotation
    return xyz, rgb


def to_original(file: TransformsFile, rotation: np.ndarray, center: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A camera-to-world rotation [3, 3] and a centre [3] in the world before `applied_transform`."""
    applied, offset, scale = file.original_world()
    return applied.T @ rotation, applied.T @ (center / scale - offset)
