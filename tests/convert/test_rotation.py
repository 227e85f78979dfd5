"""A camera that turns is told from one that moves before a flat wall."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gaussian_splatting.convert.rotation import homography_share, only_rotates, rotation_deviation

SIZE = (640, 480)


def intrinsics(focal: float) -> np.ndarray:
    return np.array([[focal, 0, SIZE[0] / 2], [0, focal, SIZE[1] / 2], [0, 0, 1]])


def entries(homographies: list[np.ndarray]) -> tuple[list[dict], dict[str, tuple[int, int]]]:
    found = [{"pair": ["a", "b"], "inliers": 50, "homography": (2.5 * h).tolist()} for h in homographies]
    return found, {"a": SIZE, "b": SIZE}


def turns(focal: float, count: int = 8) -> list[np.ndarray]:
    rotations = Rotation.random(count, rng=1).as_rotvec() * 0.1
    return [
        intrinsics(focal) @ Rotation.from_rotvec(r).as_matrix() @ np.linalg.inv(intrinsics(focal)) for r in rotations
    ]


def before_a_wall(count: int = 8) -> list[np.ndarray]:
    """H = K (R + t n^T / d) K^-1 of a camera that moves sideways by a fifth of its distance to a plane."""
    generator, matrix = np.random.default_rng(2), intrinsics(600.0)
    found = []
    for _ in range(count):
        rotation = Rotation.from_rotvec(generator.normal(size=3) * 0.05).as_matrix()
        step = generator.normal(size=3)
        found.append(
            matrix @ (rotation + np.outer(step / np.linalg.norm(step) * 0.2, [0, 0, 1])) @ np.linalg.inv(matrix)
        )
    return found


@pytest.mark.parametrize("focal", [300.0, 600.0, 3000.0])
def test_turning_is_recognised_at_any_focal_length(focal):
    assert only_rotates(*entries(turns(focal)))


def test_moving_before_a_wall_is_not_turning():
    verified, sizes = entries(before_a_wall())
    assert homography_share(verified) == 1
    assert not only_rotates(verified, sizes)


def test_a_scene_with_depth_is_not_turning():
    verified, sizes = entries(turns(600.0, 4))
    verified += [{"pair": ["a", "b"], "inliers": 300} for _ in range(3)]
    assert not only_rotates(verified, sizes)
    assert homography_share(verified) == pytest.approx(200 / 1100)


def test_nothing_verified_says_nothing():
    assert not only_rotates([], {})


def test_singular_homographies_count_as_no_rotation():
    size = np.array([SIZE, SIZE], float)
    assert rotation_deviation(np.zeros((2, 3, 3)), size, size) == np.inf
