"""Gaussians to write in every format, and how to compare what came back."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from gaussian_splatting.io.ply import GaussianArrays
from gaussian_splatting.io.quantised import opacity_of, unit_quaternions


def some_splats(number: int, degree: int, seed: int = 0) -> GaussianArrays:
    """Gaussians as a trainer leaves them: within what every format can hold."""
    random = np.random.default_rng(seed)
    rest = (degree + 1) ** 2 - 1
    return GaussianArrays(
        random.normal(0, 2, (number, 3)).astype(np.float32),
        random.uniform(-1.5, 1.5, (number, 1, 3)).astype(np.float32),
        random.uniform(-0.8, 0.8, (number, rest, 3)).astype(np.float32),
        random.uniform(-4, 4, (number, 1)).astype(np.float32),
        random.uniform(-7, -1, (number, 3)).astype(np.float32),
        random.normal(0, 1, (number, 4)).astype(np.float32),
    )


def random_splats(number: int, degree: int, seed: int = 0) -> GaussianArrays:
    """Gaussians of normally distributed parameters, which plain files hold and packed ones may not."""
    random = np.random.default_rng(seed)
    shapes = [(3,), (1, 3), ((degree + 1) ** 2 - 1, 3), (1,), (3,), (4,)]
    return GaussianArrays(*(random.standard_normal((number, *shape), dtype=np.float32) for shape in shapes))


def extent(gaussians: GaussianArrays) -> float:
    return float((gaussians.xyz.max(axis=0) - gaussians.xyz.min(axis=0)).max())


def paired(expected: GaussianArrays, found: GaussianArrays) -> GaussianArrays:
    """The found Gaussians in the order of the expected ones, each the nearest; every one exactly once."""
    assert len(found) == len(expected)
    order = cKDTree(found.xyz).query(expected.xyz)[1]
    assert len(np.unique(order)) == len(expected)
    return found.select(order)


def position_error(expected: GaussianArrays, found: GaussianArrays) -> float:
    """As a part of the extent."""
    return float(np.abs(expected.xyz - found.xyz).max()) / extent(expected)


def colour_error(expected: GaussianArrays, found: GaussianArrays) -> float:
    """On the screen, from 0 to 1: colours beyond what a screen shows count as its limits."""
    shown = [np.clip(g.features_dc * 0.28209479 + 0.5, 0, 1) for g in (expected, found)]
    return float(np.abs(shown[0] - shown[1]).max())


def opacity_error(expected: GaussianArrays, found: GaussianArrays) -> float:
    return float(np.abs(opacity_of(expected.opacity) - opacity_of(found.opacity)).max())


def rotation_matrices(gaussians: GaussianArrays) -> np.ndarray:
    return Rotation.from_quat(np.roll(gaussians.rotation.astype(np.float64), -1, axis=1)).as_matrix()


def covariances(gaussians: GaussianArrays) -> np.ndarray:
    """What the quaternions and scales mean: two quaternions that differ by half a turn of an axis mean the same."""
    factor = rotation_matrices(gaussians) * np.exp(gaussians.scaling.astype(np.float64))[:, None, :]
    return factor @ factor.transpose(0, 2, 1)


def covariance_error(expected: GaussianArrays, found: GaussianArrays) -> float:
    """As a part of each Gaussian's own size."""
    first, second = covariances(expected), covariances(found)
    size = np.abs(first).max(axis=(1, 2))
    return float((np.abs(first - second).max(axis=(1, 2)) / size).max())


def angle_error(expected: GaussianArrays, found: GaussianArrays) -> float:
    """In radians."""
    first, second = unit_quaternions(expected.rotation).astype(np.float64), unit_quaternions(found.rotation)
    distance = np.minimum(np.linalg.norm(first - second, axis=1), np.linalg.norm(first + second, axis=1))
    return float(4 * np.arcsin(np.clip(distance / 2, 0, 1)).max())
