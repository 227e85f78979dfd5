"""Where up is and what the cameras look at: found from poses alone, for camera paths and for the view from above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GUESS_WEIGHT = 0.004
"""How strongly the mean of the pictures' ups counts: as much as directions to the right that differ by 3.6 degrees."""


@dataclass(frozen=True)
class Poses:
    """Camera centres [M, 3] and camera-to-world rotations [M, 3, 3], OpenCV axes (x right, y down, z forward)."""

    centers: Floats
    rotations: Floats

    @property
    def rights(self) -> Floats:
        """Directions [M, 3] to the right of each picture."""
        return self.rotations[:, :, 0]

    @property
    def ups(self) -> Floats:
        """Directions [M, 3] to the top of each picture."""
        return -self.rotations[:, :, 1]

    @property
    def forwards(self) -> Floats:
        """Viewing directions [M, 3]."""
        return self.rotations[:, :, 2]


def up_direction(poses: Poses) -> Floats:
    """The unit vector [3] that is up for whoever held the cameras.

    Pictures are held level more reliably than they are held upright, so up is what is most nearly perpendicular to all
    directions to the right; where those leave it open (all cameras side by side) it is the mean of the pictures' ups.
    """
    mean = poses.ups.mean(axis=0)
    length = float(np.linalg.norm(mean))
    guess = mean / length if length > 1e-6 else poses.ups[0]
    spread = poses.rights.T @ poses.rights / len(poses.rights)
    _, vectors = np.linalg.eigh(spread + GUESS_WEIGHT * (np.eye(3) - np.outer(guess, guess)))
    up = vectors[:, 0]
    return up if up @ guess >= 0 else -up


def look_at_point(poses: Poses, steps: int = 20) -> Floats | None:
    """The point [3] nearest to all viewing rays, or None where there is none: parallel rays, or cameras facing outward.

    Least squares, reweighted so that a few cameras that look elsewhere do not matter.
    """
    across = np.eye(3) - poses.forwards[:, :, None] * poses.forwards[:, None, :]  # [M, 3, 3]
    weights = np.ones(len(across))
    point = poses.centers.mean(axis=0)
    size = float(np.linalg.norm(poses.centers - point, axis=1).max())
    for _ in range(steps):
        weighted = across * weights[:, None, None]
        normal = weighted.sum(axis=0) / weights.sum()
        if np.linalg.eigvalsh(normal)[0] < 1e-3:
            return None
        point = np.linalg.solve(normal, np.einsum("mij,mj->i", weighted, poses.centers) / weights.sum())
        misses = np.linalg.norm(np.einsum("mij,mj->mi", across, point - poses.centers), axis=1)
        weights = 1 / np.maximum(misses, 1e-3 * size + 1e-12)
    ahead = np.einsum("mi,mi->m", point - poses.centers, poses.forwards)
    return point if np.median(ahead) > 0 else None


def horizontal_axes(up: Floats, hint: Floats) -> tuple[Floats, Floats]:
    """Two unit vectors [3] that form a right-handed frame (first, second, up); the first is nearest to `hint`."""
    first = hint - (hint @ up) * up
    if np.linalg.norm(first) < 1e-9:
        first = np.eye(3)[int(np.argmin(np.abs(up)))]
        first = first - (first @ up) * up
    first = first / np.linalg.norm(first)
    return first, np.cross(up, first)


def looking(center: Floats, target: Floats, up: Floats) -> Floats:
    """The camera-to-world rotation [3, 3] of a camera at `center` that looks at `target` with `up` upwards."""
    forward = target - center
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9:
        right = np.eye(3)[int(np.argmin(np.abs(forward)))]
        right = right - (right @ forward) * forward
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward], axis=1)
