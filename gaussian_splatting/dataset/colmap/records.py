"""What a COLMAP model holds: cameras, images (poses) and points; and which values are refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.dataset.colmap.camera_models import MODEL_OF_NAME

LONGEST_NAME = 4096  # bytes; no file system opens a longer path
_LARGEST_SIZE = 1_000_000  # pixels along a side
_UNIT_TOLERANCE = 1e-3
_ROUNDING = 1e-14


@dataclass(frozen=True)
class ColmapCamera:
    """One camera as COLMAP stores it: `model` is COLMAP's name, `params` are in its order, in pixels."""

    id: int
    model: str
    width: int
    height: int
    params: tuple[float, ...]

    @property
    def named(self) -> dict[str, float]:
        """The parameters by COLMAP's names: fx, cx, k1, …"""
        return dict(zip(MODEL_OF_NAME[self.model].parameters, self.params, strict=True))


@dataclass(frozen=True)
class ColmapImage:
    """One view: x_camera = R(qvec) x_world + tvec, x right, y down, z forward; `qvec` is a unit quaternion wxyz."""

    id: int
    qvec: tuple[float, float, float, float]
    tvec: tuple[float, float, float]
    camera_id: int
    name: str


@dataclass(frozen=True, eq=False)
class ColmapPoints:
    """The points that COLMAP triangulated, in the order of the file."""

    ids: NDArray[np.uint64]  # [M]
    xyz: NDArray[np.float64]  # [M, 3] world
    rgb: NDArray[np.uint8]  # [M, 3]
    error: NDArray[np.float64]  # [M] mean reprojection error in pixels; -1 when unknown

    def __len__(self) -> int:
        return len(self.xyz)


def fault_of_camera(camera: ColmapCamera) -> str | None:
    """What makes a camera unusable, in words that follow its number; nothing if it can be used."""
    for side, size in (("width", camera.width), ("height", camera.height)):
        if not 1 <= size <= _LARGEST_SIZE:
            return f"has the {side} {size}, expected 1 to {_LARGEST_SIZE} pixels"
    for name, value in camera.named.items():
        if not math.isfinite(value):
            return f"has {name} = {value}"
        if name in ("f", "fx", "fy", "w", "h") and value <= 0:
            return f"has {name} = {value}, which must be positive"
        # Crops have their principal point outside; a whole image further away it is damage.
        if name in ("cx", "cy"):
            size = camera.width if name == "cx" else camera.height
            if not -size <= value <= 2 * size:
                return f"has {name} = {value}, far outside its {camera.width} x {camera.height} pixels"
    return None


def fault_of_pose(qvec: Sequence[float], tvec: Sequence[float]) -> str | None:
    """What makes a pose unusable; nothing if it can be used."""
    if not all(map(math.isfinite, tvec)):
        return f"has the translation {tuple(tvec)}"
    length = math.sqrt(sum(value * value for value in qvec)) if all(map(math.isfinite, qvec)) else math.nan
    if not abs(length - 1.0) <= _UNIT_TOLERANCE:
        return f"has the quaternion {tuple(qvec)} of length {length:.6g}, expected 1"
    return None


def fault_of_name(name: str) -> str | None:
    """What makes the name of an image unusable; nothing if it can be used."""
    if not name:
        return "has an empty name"
    if any(character < " " or character == "\x7f" for character in name):
        return f"has a control character in its name {name!r}"
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
        return f"has a name longer than {LONGEST_NAME} bytes"
    return None


def normalised(qvec: Sequence[float]) -> tuple[float, float, float, float]:
    """A quaternion of length one."""
    length = math.sqrt(sum(value * value for value in qvec))
    if abs(length - 1.0) < _ROUNDING:  # left alone, so that what is written reads back equal
        length = 1.0
    w, x, y, z = (value / length for value in qvec)
    return w, x, y, z


def qvec2rotmat(qvec: Sequence[float] | NDArray) -> NDArray[np.float64]:  # [4] wxyz -> [3, 3]
    """The rotation matrix of a unit quaternion wxyz; COLMAP's name for it."""
    w, x, y, z = (float(value) for value in qvec)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotmat2qvec(rotation: NDArray) -> NDArray[np.float64]:  # [3, 3] -> [4] wxyz
    """The unit quaternion wxyz, w >= 0, of a rotation matrix; COLMAP's name for it.

    The eigenvector of Bar-Itzhack (2000), which for a matrix that is not quite a rotation gives the nearest one.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.asarray(rotation, np.float64)
    symmetric = np.array(
        [
            [xx - yy - zz, 0, 0, 0],
            [yx + xy, yy - xx - zz, 0, 0],
            [zx + xz, zy + yz, zz - xx - yy, 0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    _, vectors = np.linalg.eigh(symmetric / 3.0, UPLO="L")
    x, y, z, w = vectors[:, -1]
    return np.array([w, x, y, z]) * (-1.0 if w < 0 else 1.0)
