"""A view as the readers describe it: plain numbers and paths, no tensors. Cameras are built from views on demand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gaussian_splatting.camera import PATH_KEYS, Camera, json_entry, pinhole_camera
from gaussian_splatting.dataset.lenses import Lens
from gaussian_splatting.errors import SceneError

LARGEST_NUMBER = 1e15
"""Products of larger numbers overflow in the float32 of the matrices of a camera."""
AlphaUse = Literal["mask", "composite"]
"""What an alpha channel means: what to look at (mask), or how much of the background shows through (composite)."""


@dataclass(frozen=True, eq=False)
class View:
    """One pinhole view in float64 (OpenCV axes, world to camera), and where its pictures lie.

    `stored_size` is the size of the picture file as (width, height), when it is known; `lens` the camera that took it,
    when its pixels must be undistorted to become this view.
    """

    name: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    R: np.ndarray  # [3, 3] camera from world
    T: np.ndarray  # [3] camera from world
    image_path: Path | None = None
    image_mask_path: Path | None = None
    depth_path: Path | None = None
    depth_mask_path: Path | None = None
    stored_size: tuple[int, int] | None = None
    has_alpha: bool = False
    alpha: AlphaUse = "mask"
    turn: int = 1
    """EXIF orientation (1 to 8) to apply to the stored pixels; 1 leaves them as they are."""
    lens: Lens | None = None
    depth_scale: tuple[float, float] | None = None
    """Scale and offset that take the 16-bit depth picture to the inverse depth of the scene."""
    depth_unit: float | None = None
    """The depth picture holds depth (not inverse) in this many units of the scene per step; 0 is unknown."""
    exposure: np.ndarray | None = None  # [3, 4]

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.R.flat, *self.T.flat)
        if not (np.abs(numbers) <= LARGEST_NUMBER).all():
            wanted = "finite" if not np.isfinite(numbers).all() else f"at most {LARGEST_NUMBER:g}"
            raise SceneError(f"view {self.name!r}: its pose and intrinsics must be {wanted}; found {_shown(numbers)}")
        if self.width < 1 or self.height < 1 or self.fx <= 0 or self.fy <= 0:
            raise SceneError(
                f"view {self.name!r}: its size and focal lengths must be positive; found {self.width} x {self.height} "
                f"pixels, fx = {self.fx:g}, fy = {self.fy:g}"
            )

    @property
    def center(self) -> np.ndarray:
        """The camera centre in the world. [3]."""
        return -self.R.T @ self.T

    @property
    def composited(self) -> bool:
        """Whether the picture is laid over the background by its alpha channel."""
        return self.has_alpha and self.alpha == "composite"

    def camera(self, device: Any = "cpu", load_mask: bool = True, load_depth: bool = True) -> Camera:
        """The camera of this view, without its pictures; the paths that will not be loaded are None."""
        camera = pinhole_camera(
            self.height, self.width, self.fx, self.fy, self.R, self.T, cx=self.cx, cy=self.cy, device=device
        )
        return camera._replace(
            ground_truth_image_path=_text(self.image_path),
            ground_truth_image_mask_path=_text(self.image_mask_path if load_mask else None),
            ground_truth_depth_path=_text(self.depth_path if load_depth else None),
            ground_truth_depth_mask_path=_text(self.depth_mask_path if load_depth else None),
            custom_data=self._source(),
        )

    def _source(self) -> dict[str, Any]:
        """What the pictures still need before they are those of this view, for JSON."""
        source: dict[str, Any] = {}
        if self.lens is not None:
            source["lens"] = {**vars(self.lens), "params": list(self.lens.params)}
        if self.depth_scale is not None:
            source["depth_scale"] = list(self.depth_scale)
        if self.depth_unit is not None:
            source["depth_unit"] = self.depth_unit
        if self.composited:
            source["alpha"] = self.alpha
        return source

    def json_entry(self, id: int) -> dict[str, Any]:
        """The entry of `cameras.json` for this view, in float64.

        Beside the fields of every camera it holds what the pictures still need: `lens`, `depth_scale`, `depth_unit` and
        `alpha`.
        """
        paths = (self.image_path, self.image_mask_path, self.depth_path, self.depth_mask_path)
        intrinsics = (self.fx, self.fy, self.cx, self.cy)
        named: dict[str, Path | None] = dict(zip(PATH_KEYS, paths, strict=True))
        entry = json_entry(id, self.width, self.height, intrinsics, self.R, self.T, named)
        entry |= self._source()
        return entry if self.exposure is None else {**entry, "exposure": self.exposure.tolist()}

    def resized(self, width: int, height: int) -> View:
        """The same view with another number of pixels; intrinsics follow each axis."""
        across, down = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * across,
            cx=self.cx * across,
            fy=self.fy * down,
            cy=self.cy * down,
        )


def _text(path: Path | None) -> str | None:
    return None if path is None else path.as_posix()


def _shown(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{float(number):g}" for number in numbers)
