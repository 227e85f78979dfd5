"""A `transforms.json` as it was written: shared values, frames, lists of splits, and the frame of its world."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaussian_splatting.dataset.strict_json import JsonValue, read_json
from gaussian_splatting.errors import FormatError, SceneError

ROTATION_TOLERANCE = 1e-3
FARTHEST = 1e15
"""A camera farther out than this is no camera; its float32 pose would overflow in products."""


@dataclass(frozen=True)
class Frame:
    """One picture: its own values, which win over the `shared` ones of its file."""

    value: JsonValue
    shared: JsonValue

    def get(self, *keys: str) -> JsonValue | None:
        """The first of the keys that the frame has, else that the file has; null counts as absent."""
        for owner in (self.value, self.shared):
            for key in keys:
                found = owner.get(key)
                if found is not None and found.value is not None:
                    return found
        return None

    def own(self, *keys: str) -> JsonValue | None:
        """The first of the keys that the frame itself has."""
        found = (self.value.get(key) for key in keys)
        return next((value for value in found if value is not None and value.value is not None), None)

    @property
    def file_path(self) -> str:
        """The picture as the file names it, with or without extension."""
        return self.value["file_path"].text()

    def pose(self) -> tuple[np.ndarray, np.ndarray]:
        """The camera-to-world rotation [3, 3] in OpenCV axes, and the camera centre [3].

        The file holds OpenGL axes (x right, y up, z backwards). A matrix that also scales is divided by its scale,
        which no picture shows.
        """
        value = self.value["transform_matrix"]
        rotation, center, _ = similarity(value)
        if not np.abs(center).max() < FARTHEST:
            raise value.fault("must place the camera at a finite distance")
        return rotation * np.array([1.0, -1.0, -1.0]), center


@dataclass(frozen=True)
class TransformsFile:
    """The content of one file, whose relative paths are seen from its folder."""

    path: Path
    value: JsonValue
    frames: tuple[Frame, ...]

    @property
    def root(self) -> Path:
        """The folder that paths in the file are relative to."""
        return self.path.parent

    @property
    def is_synthetic(self) -> bool:
        """Whether the file says of its camera only the angle of view, as the NeRF-synthetic scenes do."""
        keys = ("fl_x", "fl_y", "w", "h", "camera_model")
        return bool(self.frames) and all(
            frame.get("camera_angle_x") is not None and frame.get(*keys) is None for frame in self.frames
        )

    def filenames(self, *keys: str) -> list[str] | None:
        """The file paths that the first of the keys lists; None when the file has none of them."""
        found = (self.value.get(key) for key in keys)
        value = next((value for value in found if value is not None and value.value is not None), None)
        return None if value is None else [item.text() for item in value.items()]

    def original_world(self) -> tuple[np.ndarray, np.ndarray, float]:
        """How a point of the world before `applied_transform` came to this one: x' = scale * (A x + b).

        A [3, 3] is a rotation, b [3]; the identity without `applied_transform` and `applied_scale`.
        """
        applied, stretch = self.value.get("applied_transform"), self.value.get("applied_scale")
        scale = 1.0 if stretch is None or stretch.value is None else stretch.number()
        if stretch is not None and scale <= 0:
            raise stretch.fault("must be positive")
        if applied is None or applied.value is None:
            return np.eye(3), np.zeros(3), scale
        rotation, offset, size = similarity(applied)
        return rotation, offset / size, scale * size


def read_transforms(path: Path) -> TransformsFile:
    """Reads a file; a `FormatError` names the place of what does not fit, such as `frames[12].transform_matrix`."""
    value = read_json(path)
    frames = value["frames"].items()
    if not frames:
        raise SceneError(f"{path}: no frames in it; export the scene again")
    for key in ("ftheta_p0", "latlong"):  # lenses of instant-ngp that are not projections of a plane
        unusual = value.get(key)
        if unusual is not None and unusual.value:
            raise unusual.fault("describes a lens that is not supported; export pinhole or OpenCV cameras")
    return TransformsFile(path, value, tuple(Frame(frame, value) for frame in frames))


def similarity(value: JsonValue) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotation [3, 3], translation [3] and scale of a matrix of 3 or 4 rows: x' = scale * rotation x + translation."""
    matrix = value.array(len(value.items()) if len(value.items()) in (3, 4) else 4, 4)
    if len(matrix) == 4 and np.abs(matrix[3] - (0, 0, 0, 1)).max() > ROTATION_TOLERANCE:
        raise value.fault("must end with the row 0, 0, 0, 1")
    with np.errstate(all="ignore"):  # what overflows is found out below
        determinant = float(np.linalg.det(matrix[:3, :3]))
        scale = float(np.cbrt(determinant))
        rotation = matrix[:3, :3] / scale
        error = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if not (scale > 0 and error < ROTATION_TOLERANCE):
        raise FormatError(
            f"{value.path}: {value.where} must be a rotation with a translation; its determinant is {determinant:.3g}, "
            f"its columns are off by {error:.3g}; correct the file"
        )
    left, _, right = np.linalg.svd(rotation)
    return left @ right, matrix[:3, 3], scale


def matching(frames: Iterable[Frame], names: Iterable[str]) -> list[Frame]:
    """The frames whose file paths are among `names`, as both are spelt after leaving out `./`."""
    wanted = {plain(name) for name in names}
    return [frame for frame in frames if plain(frame.file_path) in wanted]


def plain(name: str) -> str:
    """A relative path in one spelling."""
    return name.replace("\\", "/").removeprefix("./")
