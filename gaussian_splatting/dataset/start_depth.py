"""Points from the depth maps of views, brought to one scale."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

import numpy as np

from gaussian_splatting.camera import Camera
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.errors import SceneError
from gaussian_splatting.geometry.arrays import float64_array

log = logging.getLogger("gaussian_splatting")
FEWEST_MATCHES = 16
"""A scale is not fitted to fewer sparse points."""
FARTHEST_EXTENTS = 20.0
"""Pixels farther away than this many scene extents (sky) give no point."""
NUM_TRIALS = 512
NUM_REFINEMENTS = 3
TOLERANCE = 0.1
"""Inverse depths agree when they differ by less than this fraction."""
Points = tuple[np.ndarray, np.ndarray | None]


def depth_points(
    cameras: CameraDataset, sparse: Callable[[], Points | None], count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """About `count` points [N, 3] with colours [N, 3] in [0, 1], drawn from the valid pixels of all depth maps.

    Depth maps hold inverse depth. Those with known units (`depth_params.json`, `depth_file_path`) are taken as they
    are; the others get the scale and offset that fit them to the sparse points of the scene, robustly; a view without
    a fit is left out. The log states how many. Raises `SceneError` when no view is left.
    """
    with_depth = [index for index in range(len(cameras)) if cameras.has_depth(index)]
    if not with_depth:
        raise SceneError(f"--init depth: none of the {len(cameras)} views has a depth map; use --init points or random")
    points_of_scene = cache(lambda: _positions(sparse()))
    farthest = FARTHEST_EXTENTS * cameras.scene_extent()
    per_view = -(-count // len(with_depth))
    points, colors, num_fitted, num_failed = [], [], 0, 0
    for index in with_depth:
        camera = cameras[index]
        known = "depth_scale" in camera.custom_data or "depth_unit" in camera.custom_data
        line = (1.0, 0.0) if known else fitted_line(camera, points_of_scene(), seed)
        if line is None:
            num_failed += 1
            continue
        num_fitted += not known
        new_points, new_colors = _draw(camera, line, farthest, per_view, np.random.default_rng((seed, index)))
        points.append(new_points)
        colors.append(new_colors)
    total = sum(map(len, points))
    num_known = len(with_depth) - num_fitted - num_failed
    said = (
        f"{num_known} of {len(with_depth)} depth maps in known units, {num_fitted} fitted to "
        f"{0 if num_known == len(with_depth) else len(points_of_scene())} sparse points, {num_failed} left out"
    )
    if total < FEWEST_MATCHES:
        raise SceneError(
            f"--init depth: only {total} points ({said}); give depth_params.json or sparse points, or use --init random"
        )
    log.info("starting from %d points of the depth maps: %s", total, said)
    return np.concatenate(points), np.concatenate(colors)


def fitted_line(camera: Camera, points: np.ndarray, seed: int) -> tuple[float, float] | None:
    """Scale and offset that take the depth map of a camera to the inverse depth of the `points` [M, 3] it sees.

    The best of many lines through two points (Fischler and Bolles 1981), where a point in front of the surface costs
    more than one behind it: many points are hidden, none hovers. Then least squares over those that agree. None when
    too few agree, or when nearer would be farther.
    """
    depth, valid = _depth_and_valid(camera)
    seen = points @ float64_array(camera.R).T + float64_array(camera.T)
    seen = seen[seen[:, 2] > 1e-6]
    pixels = seen @ float64_array(camera.K).T
    columns, rows = (np.floor(pixels[:, axis] / pixels[:, 2]).clip(-1, 1e9).astype(np.int64) for axis in (0, 1))
    inside = (columns >= 0) & (columns < depth.shape[1]) & (rows >= 0) & (rows < depth.shape[0])
    inside[inside] = valid[rows[inside], columns[inside]]
    values, wanted = depth[rows[inside], columns[inside]], 1 / seen[inside, 2]
    line = _best_line(values, wanted, seed) if len(values) >= FEWEST_MATCHES else None
    limit = TOLERANCE
    for _ in range(NUM_REFINEMENTS):
        if line is None:
            return None
        error = np.abs(_behind(line, values, wanted))
        agreeing = error <= limit
        if agreeing.sum() < FEWEST_MATCHES or np.ptp(values[agreeing]) == 0:
            return None
        scale, offset = np.polyfit(values[agreeing], wanted[agreeing], 1)
        line = (float(scale), float(offset)) if scale > 0 else None
        # The usual bound of 2.5 standard deviations, as the median of those that agree tells it.
        limit = min(limit, 2.5 * 1.4826 * float(np.median(error[agreeing])) + 1e-9)
    return line


def _best_line(values: np.ndarray, wanted: np.ndarray, seed: int) -> tuple[float, float] | None:
    """The line through two of the pairs [M] that costs least over all."""
    pairs = np.random.default_rng(seed).integers(0, len(values), (NUM_TRIALS, 2))
    best, least = None, np.inf
    for first, second in pairs:
        run, rise = values[second] - values[first], wanted[second] - wanted[first]
        if run == 0 or rise / run <= 0:
            continue
        line = (float(rise / run), float(wanted[first] - rise / run * values[first]))
        behind = _behind(line, values, wanted)
        cost = np.mean(np.where(behind > 0, np.minimum(behind, TOLERANCE), np.minimum(-behind, 5 * TOLERANCE)))
        if cost < least:
            best, least = line, cost
    return best


def _behind(line: tuple[float, float], values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How far each point lies behind the surface of the depth map, as a fraction of its inverse depth. [M]."""
    return (line[0] * values + line[1]) / wanted - 1


def _draw(
    camera: Camera, line: tuple[float, float], farthest: float, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` points of a view in the world, with the colours of their pixels."""
    depth, valid = _depth_and_valid(camera)
    inverse = line[0] * depth + line[1]
    rows, columns = np.nonzero(valid & (inverse * farthest > 1))
    if len(rows) > count:
        chosen = np.sort(random.choice(len(rows), count, replace=False))
        rows, columns = rows[chosen], columns[chosen]
    K, z = float64_array(camera.K), 1 / inverse[rows, columns]
    rays = np.stack([(columns + 0.5 - K[0, 2]) / K[0, 0], (rows + 0.5 - K[1, 2]) / K[1, 1], np.ones(len(z))], -1)
    points = (rays * z[:, None] - float64_array(camera.T)) @ float64_array(camera.R)
    if camera.ground_truth_image is None:
        return points, np.full(points.shape, 0.5)
    return points, float64_array(camera.ground_truth_image)[:, rows, columns].T


def _depth_and_valid(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """The depth map [H, W] and where it may be used [H, W]: where it is positive, inside its mask.

    The image mask does not count: what it hides is trained on too, unless a mask mode is chosen.
    """
    assert camera.ground_truth_depth is not None
    depth = float64_array(camera.ground_truth_depth)
    valid = depth > 0
    for mask in (camera.ground_truth_depth_mask, camera.custom_data.get("coverage")):
        if mask is not None:
            valid &= float64_array(mask) > 0.5
    return depth, valid


def _positions(points: Points | None) -> np.ndarray:
    return np.zeros((0, 3)) if points is None else points[0]
