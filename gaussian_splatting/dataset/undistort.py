"""From the picture of a distorted lens to the picture of a pinhole camera without black borders.

The pinhole camera is chosen as COLMAP's image_undistorter chooses it with `blank_pixels=0`: the focal lengths stay, and
the picture is cut to the part that the lens covers everywhere along its border (Schönberger and Frahm 2016, COLMAP).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gaussian_splatting.dataset.lenses import Lens
from gaussian_splatting.errors import SceneError

MIN_SCALE, MAX_SCALE = 0.2, 2.0
"""COLMAP's limits on how much smaller or larger the undistorted picture may become."""
LARGEST_SIDE = 32766
"""OpenCV addresses pixels with 16 bits while it undistorts."""


@dataclass(frozen=True)
class Pinhole:
    """The intrinsics of a picture without distortion, in pixels."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Where the pixels of an undistorted picture lie in the distorted one, in OpenCV's coordinates (first centre 0)."""

    x: np.ndarray  # [H, W] float32
    y: np.ndarray  # [H, W] float32
    covered: np.ndarray | None  # [H, W] uint8, 255 where the lens saw something; None when it did everywhere


@lru_cache(maxsize=4096)
def undistorted_pinhole(lens: Lens) -> Pinhole:
    """The pinhole camera whose picture is filled by the picture of `lens`; the principal point is scaled with it."""
    fx, fy, cx, cy = lens.pinhole
    if not lens.distorted:
        return Pinhole(lens.width, lens.height, fx, fy, cx, cy)
    left, right, top, bottom = _innermost_borders(lens)
    grow_x = min((cx - left) / cx, (right - cx) / (lens.width - 0.5 - cx))
    grow_y = min((cy - top) / cy, (bottom - cy) / (lens.height - 0.5 - cy))
    width = max(1, int(min(max(grow_x, MIN_SCALE), MAX_SCALE) * lens.width))
    height = max(1, int(min(max(grow_y, MIN_SCALE), MAX_SCALE) * lens.height))
    return Pinhole(width, height, fx, fy, cx * width / lens.width, cy * height / lens.height)


def _innermost_borders(lens: Lens) -> tuple[float, float, float, float]:
    """How far left, right, up and down of the undistorted picture every border pixel of the distorted one reaches."""
    fx, fy, cx, cy = lens.pinhole
    rows, columns = np.arange(lens.height) + 0.5, np.arange(lens.width) + 0.5
    borders = {
        "left": np.stack([np.full_like(rows, 0.5), rows], -1),
        "right": np.stack([np.full_like(rows, lens.width - 0.5), rows], -1),
        "top": np.stack([columns, np.full_like(columns, 0.5)], -1),
        "bottom": np.stack([columns, np.full_like(columns, lens.height - 0.5)], -1),
    }
    straight = {side: lens.rays(pixels) * (fx, fy) + (cx, cy) for side, pixels in borders.items()}
    left = np.nanmax(straight["left"][:, 0], initial=-np.inf)
    right = np.nanmin(straight["right"][:, 0], initial=np.inf)
    top = np.nanmax(straight["top"][:, 1], initial=-np.inf)
    bottom = np.nanmin(straight["bottom"][:, 1], initial=np.inf)
    if not (left < cx < right and top < cy < bottom):
        raise SceneError(
            f"the {lens.model} camera of {lens.width} x {lens.height} pixels with parameters {list(lens.params)} "
            "cannot be undistorted: its distortion folds the picture over; estimate the camera again with another model"
        )
    return float(left), float(right), float(top), float(bottom)


@lru_cache(maxsize=2)
def pixel_map(lens: Lens) -> PixelMap:
    """The map from the pixels of `undistorted_pinhole(lens)` to those of the lens. The last two are remembered."""
    if max(lens.width, lens.height) > LARGEST_SIDE:
        raise SceneError(
            f"a picture of {lens.width} x {lens.height} pixels is too large to undistort (limit {LARGEST_SIDE} per "
            "side); undistort it with COLMAP, or scale it down"
        )
    pinhole = undistorted_pinhole(lens)
    x = np.empty((pinhole.height, pinhole.width), np.float32)
    y = np.empty_like(x)
    ray_x = (np.arange(pinhole.width) + 0.5 - pinhole.cx) / pinhole.fx
    ray_y = (np.arange(pinhole.height) + 0.5 - pinhole.cy) / pinhole.fy
    for start in range(0, pinhole.height, 64):  # bounded memory: float64 for 64 rows at a time
        rows = slice(start, start + 64)
        rays = np.stack(np.meshgrid(ray_x, ray_y[rows]), -1)
        pixels = lens.project(rays) - 0.5
        x[rows], y[rows] = pixels[..., 0], pixels[..., 1]
    # Half a pixel outside is still covered by the outermost pixel.
    covered = (x >= -0.5) & (x <= lens.width - 0.5) & (y >= -0.5) & (y <= lens.height - 0.5)
    return PixelMap(x, y, None if covered.all() else covered.astype(np.uint8) * np.uint8(255))


def undistort(values: np.ndarray, pixels: PixelMap, *, nearest: bool = False) -> np.ndarray:
    """A picture [H, W] or [H, W, C] of the lens as its pinhole camera sees it; maps of values want `nearest`."""
    import cv2

    method = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.remap(values, pixels.x, pixels.y, method, borderMode=cv2.BORDER_REPLICATE)
