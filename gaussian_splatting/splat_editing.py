"""Edits of finished Gaussians: crop, clean, move, centre, merge. Each gives new arrays and leaves the old ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.gaussian_arrays import GaussianArrays, joined, with_sh_degree
from gaussian_splatting.io.quantised import opacity_of
from gaussian_splatting.io.rigid_motion import moved

__all__ = [
    "CleanRules",
    "centred",
    "cleaned",
    "cropped",
    "joined",
    "middle",
    "parse_numbers",
    "parse_transform",
    "transformed",
    "with_sh_degree",
]

_LEAST_FOR_NEIGHBOURS = 32
_ROBUST_SIGMA = 1.4826  # from the median of absolute deviations to a standard deviation
_SIMILARITY = 1e-4


@dataclass(frozen=True)
class CleanRules:
    """What counts as a floater. A Gaussian goes when one rule says so."""

    least_opacity: float = 1 / 255
    """Fainter than this, it changes no picture."""
    largest_size: float = 0.25
    """Its longest axis, as a part of the size of the scene; larger ones are haze in front of cameras."""
    neighbours: int = 16
    """How many neighbours tell whether it lies apart."""
    outlier_sigmas: float = 4.0
    """Farther from its neighbours than the others are, by this many standard deviations of the logarithm."""


def cropped(gaussians: GaussianArrays, low: NDArray, high: NDArray) -> GaussianArrays:
    """The Gaussians whose centres lie in the box from `low` [3] to `high` [3]. Raises SplatError when none does."""
    if not (low <= high).all():
        raise SplatError(f"crop: the lower corner {low.tolist()} is not below the upper {high.tolist()}")
    kept: NDArray[np.bool_] = np.all((gaussians.xyz >= low) & (gaussians.xyz <= high), axis=1)
    if not kept.any():
        found = f"{gaussians.xyz.min(axis=0).round(3).tolist()} to {gaussians.xyz.max(axis=0).round(3).tolist()}"
        raise SplatError(f"crop: no Gaussian lies in the box; they reach from {found}")
    return gaussians.select(kept)


def cleaned(gaussians: GaussianArrays, rules: CleanRules | None = None) -> tuple[GaussianArrays, dict[str, int]]:
    """The Gaussians without floaters, and how many each rule removed. Raises SplatError when nothing would be left.

    The rules are applied in turn, each to what the one before left: what nobody sees must not count as a neighbour.
    """
    rules = rules or CleanRules()
    counts: dict[str, int] = {}
    for what, rule in (("transparent", _transparent), ("oversized", _oversized), ("outliers", _outliers)):
        unwanted = rule(gaussians, rules)
        counts[what] = int(unwanted.sum())
        if counts[what] == len(gaussians):
            raise SplatError(f"clean: nothing would be left: all {len(gaussians)} Gaussians are {what}")
        gaussians = gaussians.select(~unwanted)
    return gaussians, counts


def middle(gaussians: GaussianArrays) -> NDArray[np.float64]:  # [3]
    """The middle of a scene that a few far Gaussians do not move: the median, axis by axis."""
    return np.median(gaussians.xyz.astype(np.float64), axis=0)


def size_of(gaussians: GaussianArrays) -> float:
    """The longest side of the box of the middle nine tenths along each axis, which floaters do not stretch."""
    low, high = np.quantile(gaussians.xyz, (0.05, 0.95), axis=0)
    return float((high - low).max())


def centred(gaussians: GaussianArrays) -> GaussianArrays:
    """The Gaussians with their middle at the origin."""
    return moved(gaussians, np.eye(3), 1.0, -middle(gaussians))


def transformed(gaussians: GaussianArrays, matrix: NDArray[np.float64]) -> GaussianArrays:
    """The Gaussians moved by a matrix [4, 4] of a rotation, one scale and a translation; view-dependent colours turn.

    Raises SplatError for a matrix that mirrors, shears or stretches.
    """
    linear, last = matrix[:3, :3], matrix[3]
    if not np.isfinite(matrix).all() or np.abs(last - (0, 0, 0, 1)).max() > _SIMILARITY:
        raise SplatError(f"transform: the last row must be 0 0 0 1, found {last.tolist()}; give rows, not columns")
    determinant = float(np.linalg.det(linear))
    if not determinant > 0:
        raise SplatError(
            f"transform: the determinant must be positive, found {determinant:g}; mirrors are not possible"
        )
    scale = determinant ** (1 / 3)
    rotation = linear / scale
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _SIMILARITY:
        raise SplatError(
            "transform: shears, or scales that differ by axis, are not possible; use one scale for all axes"
        )
    left, _, right = np.linalg.svd(rotation)  # the nearest rotation: typed numbers are rounded
    return moved(gaussians, left @ right, scale, matrix[:3, 3])


def parse_transform(text: str) -> NDArray[np.float64]:  # [4, 4]
    """The matrix of 16 numbers, row by row, or of steps applied from left to right.

    Steps are `translate:x,y,z`, `rotate:x,y,z` (degrees about the fixed axes x, then y, then z) and `scale:s`.

    >>> parse_transform("scale:2 translate:1,0,0")[0].tolist()
    [2.0, 0.0, 0.0, 1.0]
    """
    if ":" not in text:
        return parse_numbers(text, 16, "transform").reshape(4, 4)
    matrix = np.eye(4)
    for step in text.replace(";", " ").split():
        name, _, values = step.partition(":")
        if name not in _STEPS:
            raise SplatError(f"transform: unknown step {name!r}; use {', '.join(_STEPS)}")
        count, make = _STEPS[name]
        matrix = make(parse_numbers(values, count, f"transform {name}")) @ matrix
    return matrix


def parse_numbers(text: str, count: int, what: str) -> NDArray[np.float64]:
    """That many finite numbers, separated by commas or spaces. Raises SplatError."""
    words = text.replace(",", " ").split()
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise SplatError(f"{what}: expected {count} numbers, separated by commas, found {text!r}")
    return numbers


# Steps of a transform


def _translation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = values
    return matrix


def _scaling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.diag([*np.repeat(values, 3), 1.0])


def _rotation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    for axis, angle in enumerate(np.radians(values)):
        turn = np.eye(4)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


_STEPS = {"translate": (3, _translation), "rotate": (3, _rotation), "scale": (1, _scaling)}


# Rules of cleaning


def _transparent(gaussians: GaussianArrays, rules: CleanRules) -> NDArray[np.bool_]:
    return opacity_of(gaussians.opacity)[:, 0] < rules.least_opacity


def _oversized(gaussians: GaussianArrays, rules: CleanRules) -> NDArray[np.bool_]:
    size = size_of(gaussians)
    if size == 0:  # one Gaussian, or all at one place
        return np.zeros(len(gaussians), bool)
    return gaussians.scaling.max(axis=1) > math.log(rules.largest_size * size)


def _outliers(gaussians: GaussianArrays, rules: CleanRules) -> NDArray[np.bool_]:
    """Statistical outliers (Rusu 2008), on logarithms: distances between neighbours span orders of magnitude."""
    from scipy.spatial import KDTree

    if len(gaussians) < _LEAST_FOR_NEIGHBOURS:
        return np.zeros(len(gaussians), bool)
    distances, _ = KDTree(gaussians.xyz).query(gaussians.xyz, k=rules.neighbours + 1)
    mean = np.log(np.maximum(distances[:, 1:].mean(axis=1), 1e-12))
    deviation = mean - np.median(mean)
    sigma = _ROBUST_SIGMA * float(np.median(np.abs(deviation)))
    return deviation > rules.outlier_sigmas * max(sigma, 1e-6)
