"""Random points where training can use them: seen by some views, and by none in front of its background."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gaussian_splatting.camera import Camera
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.errors import SceneError
from gaussian_splatting.geometry.arrays import float64_array

MOST_DRAWS = 50
"""Points are drawn at most this many times as often as they are asked for."""
FEWEST_VIEWS = 3
"""What fewer views see has no place that they agree on, and hovers before cameras that see it later."""
Draw = Callable[[np.random.Generator, int], np.ndarray]


class Outlook(NamedTuple):
    """What one view sees, and where it sees something."""

    K: np.ndarray  # [3, 3] pixels
    R: np.ndarray  # [3, 3] camera from world
    T: np.ndarray  # [3] camera from world
    size: tuple[int, int]  # width, height
    something: np.ndarray | None  # [H, W] bool; None when the picture does not say

    def look(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of the points [N, 3] lie inside the picture [N], and which of these before nothing but background."""
        seen = points @ self.R.T + self.T
        in_front = seen[:, 2] > 1e-6
        pixels = (seen @ self.K.T)[:, :2] / np.where(in_front, seen[:, 2], 1.0)[:, None]
        inside = in_front & (pixels >= 0).all(axis=1) & (pixels < self.size).all(axis=1)
        if self.something is None:
            return inside, np.zeros_like(inside)
        columns, rows = np.where(inside[:, None], pixels, 0).astype(np.int64).T
        return inside, inside & ~self.something[rows, columns]


def outlooks(cameras: CameraDataset) -> list[Outlook]:
    """One for each view; only those whose picture has an alpha channel over the background are decoded.

    Masks that are not composited tell nothing: what they hide need not be empty.
    """
    return [outlook(_with_coverage(cameras, index)) for index in range(len(cameras))]


def outlook(camera: Camera) -> Outlook:
    """What a camera sees, and where its picture covers its background, and one pixel around it."""
    import cv2

    coverage, something = camera.custom_data.get("coverage"), None
    if coverage is not None:
        mask = (float64_array(coverage) > 0).astype(np.uint8)
        if mask.any() and not mask.all():
            something = cv2.dilate(mask, np.ones((3, 3), np.uint8)).astype(bool)
    size = (camera.image_width, camera.image_height)
    return Outlook(float64_array(camera.K), float64_array(camera.R), float64_array(camera.T), size, something)


def require_seen(points: np.ndarray, cameras: CameraDataset) -> None:
    """Raises SceneError when no view has any of the points [N, 3] in its picture: training would change nothing."""
    if any(outlook(cameras.geometry(index)).look(points)[0].any() for index in range(len(cameras))):
        return
    raise SceneError(
        f"none of the {len(points)} Gaussians at the start lies in the picture of any of {len(cameras)} views, so "
        "that nothing could be trained; poses and points have other axes or units, or do not belong together: "
        "check both, or start without the points (--init random)"
    )


def points_inside(draw: Draw, count: int, seed: int, views: list[Outlook]) -> tuple[np.ndarray, str]:
    """Points [count, 3] of `draw` that some views see, none in front of its background, and how it went, in words.

    Laurentini 1994, "The visual hull concept for silhouette-based image understanding". Points that too many draws
    did not find are made up from the others, so that there are `count` always.
    """
    random = np.random.default_rng(seed)
    first = points = draw(random, count)
    kept: list[np.ndarray] = []
    num_kept = num_drawn = 0
    while True:
        inside = _inside(points, views)
        kept.append(inside)
        num_kept, num_drawn = num_kept + len(inside), num_drawn + count
        if num_kept >= count or num_drawn >= MOST_DRAWS * count:
            break
        points = draw(random, count)
    telling = sum(view.something is not None for view in views)
    said = f"inside the silhouettes of {telling} views" if telling else f"where {_fewest(views)} or more views see them"
    said = f", {said} ({num_kept / num_drawn:.1%} of those drawn)"
    if num_kept < count:
        said += f", but for {count - num_kept} that were not found there"
    return np.concatenate([*kept, first])[:count], said


def _fewest(views: list[Outlook]) -> int:
    return min(FEWEST_VIEWS, len(views))


def _inside(points: np.ndarray, views: list[Outlook]) -> np.ndarray:
    counts = np.zeros(len(points), np.int64)
    for view in views:
        seen, empty = view.look(points)
        points, counts = points[~empty], (counts + seen)[~empty]
    return points[counts >= _fewest(views)]


def _with_coverage(cameras: CameraDataset, index: int) -> Camera:
    """The camera, with its picture where that has coverage: `alpha` is what such a view says."""
    geometry = cameras.geometry(index)
    return cameras[index] if "alpha" in geometry.custom_data else geometry
