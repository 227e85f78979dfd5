"""The size of a scene as its cameras span it: the unit of learning rates and of thresholds on Gaussian sizes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

MARGIN = 1.1
OUTLIER_RATIO = 1e3
"""A camera this many times farther from the median camera than the median distance is left out."""
STILL_RATIO = 1e-4
"""Cameras that move less than this fraction of the distance to the points only turn on the spot."""


def scene_extent_of(centers: np.ndarray, names: Sequence[str] | None = None, points: np.ndarray | None = None) -> float:
    """1.1 times the distance of the farthest camera from the mean of all camera centres [N, 3]; always positive.

    Cameras that cannot belong to the scene (a thousand times the median distance away) are named in a warning and left
    out. When the cameras stay at one place, the extent is 1.1 times the median distance to the `points` [M, 3], or 1.1
    without points.
    """
    centers = np.asarray(centers, dtype=np.float64).reshape(-1, 3)
    kept = _without_outliers(centers, names)
    spread = float(np.linalg.norm(kept - kept.mean(axis=0), axis=1).max(initial=0.0)) if len(kept) else 0.0
    distance = _distance_to_points(kept, points)
    if spread > STILL_RATIO * (distance or 0.0) and spread > 1e-9:
        return MARGIN * spread
    taken = "1.1" if distance is None else f"1.1 times the median distance to the points, {distance:.4g}"
    warnings.warn(
        f"the {len(kept)} cameras stay at one place (they span {spread:.3g}); the scene extent is {taken}", stacklevel=2
    )
    return MARGIN * (distance or 1.0)


def _without_outliers(centers: np.ndarray, names: Sequence[str] | None) -> np.ndarray:
    if len(centers) < 3:
        return centers
    distances = np.linalg.norm(centers - np.median(centers, axis=0), axis=1)
    typical = float(np.median(distances))
    far = distances > OUTLIER_RATIO * typical
    if typical == 0.0 or not far.any():
        return centers
    shown = [str(index) if names is None else names[int(index)] for index in np.flatnonzero(far)[:5]]
    warnings.warn(
        f"{int(far.sum())} of {len(centers)} cameras lie more than {OUTLIER_RATIO:g} times the usual distance away and "
        f"are left out of the scene extent: {', '.join(shown)}; check their poses",
        stacklevel=3,
    )
    return centers[~far]


def _distance_to_points(centers: np.ndarray, points: np.ndarray | None) -> float | None:
    """The median distance from the mean camera to the points; None when there is nothing finite and positive to say."""
    if points is None or len(points) == 0 or len(centers) == 0:
        return None
    distances = np.linalg.norm(points - centers.mean(axis=0), axis=1)
    distances = distances[np.isfinite(distances)]
    median = float(np.median(distances)) if len(distances) else 0.0
    return median if median > 0 else None
