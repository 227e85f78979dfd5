"""Whether a camera only turned on the spot: then nothing in its photos tells how far away anything is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARE = 0.85
"""Of the verified matches, those that lie in pairs which one homography explains."""
DEVIATION = 0.08
"""How far K2^-1 H K1 may be from a rotation (Frobenius norm of M M^T - 1), in the median."""
_FOCALS = np.geomspace(0.3, 10, 80)


def homography_share(verified: Sequence[Mapping[str, Any]]) -> float:
    """The share of matches in pairs that a homography explains; 0 without matches."""
    total = sum(entry["inliers"] for entry in verified)
    return sum(entry["inliers"] for entry in verified if "homography" in entry) / total if total else 0.0


def only_rotates(
    verified: Sequence[Mapping[str, Any]], sizes: Mapping[str, tuple[int, int]], share: float = SHARE
) -> bool:
    """Whether the pairs that were verified are those of a camera that turned without moving.

    Between such photos every match obeys H = K2 R K1^-1. A flat scene gives homographies too, but no focal length
    turns them into rotations. `sizes` are (width, height) by picture.
    """
    if len(verified) < 2 or homography_share(verified) < share:
        return False
    flat = [entry for entry in verified if "homography" in entry]
    homographies = np.array([entry["homography"] for entry in flat], float)
    first = np.array([sizes[entry["pair"][0]] for entry in flat], float)
    second = np.array([sizes[entry["pair"][1]] for entry in flat], float)
    return rotation_deviation(homographies, first, second) < DEVIATION


def rotation_deviation(
    homographies: NDArray[np.float64], first_sizes: NDArray[np.float64], second_sizes: NDArray[np.float64]
) -> float:
    """The median distance of homographies [N, 3, 3] (pixels to pixels) from rotations, at the best focal length.

    Sizes [N, 2] are those of the pictures; the focal length is sought in their longest sides, shared by all.
    """
    return min(
        float(np.median(_distance(homographies, _intrinsics(first_sizes, focal), _intrinsics(second_sizes, focal))))
        for focal in _FOCALS
    )


def _distance(homographies: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    turns = np.linalg.inv(second) @ homographies @ first
    scale = np.cbrt(np.linalg.det(turns))
    good = np.isfinite(scale) & (np.abs(scale) > 1e-12)
    turns = turns[good] / scale[good, None, None]
    errors = np.full(len(homographies), np.inf)
    errors[good] = np.linalg.norm(turns @ turns.transpose(0, 2, 1) - np.eye(3), axis=(1, 2))
    return errors


def _intrinsics(sizes: NDArray[Any], focal: float) -> NDArray[np.float64]:
    matrices = np.zeros((len(sizes), 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = focal * sizes.max(1)
    matrices[:, :2, 2] = sizes / 2
    matrices[:, 2, 2] = 1
    return matrices
