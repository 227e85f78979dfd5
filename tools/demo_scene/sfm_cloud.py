"""A sparse point cloud such as structure from motion gives: textured places seen in two or more views."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demo_scene.cameras import View

SEED = 11
POINTS_PER_VIEW = 110
NOISE_PIXELS = 0.35
DEPTH_AGREEMENT = 0.01
BORDER = 3


class Cloud(NamedTuple):
    """Points with colours and the reprojection error that their noise causes."""

    xyz: np.ndarray  # [M, 3]
    rgb: np.ndarray  # [M, 3] uint8
    error: np.ndarray  # [M] pixels, mean over the views that see the point


def sfm_cloud(views: list[View], pictures: list[np.ndarray], depths: list[np.ndarray]) -> Cloud:
    """Points at strong edges of the pictures [H, W, 3] uint8, kept when another view sees them too."""
    rng = np.random.default_rng(SEED)
    parts = []
    for view, picture, depth in zip(views, pictures, depths, strict=True):
        rows, columns = _edge_pixels(rng, picture, depth)
        pixels = np.stack([columns, rows], axis=1) + 0.5
        parts.append((view.unproject(pixels, depth[rows, columns]), picture[rows, columns], depth[rows, columns]))
    exact, rgb, depth = (np.concatenate(column) for column in zip(*parts, strict=True))
    spread = NOISE_PIXELS * depth[:, None] / views[0].focal[0]
    noisy = exact + rng.normal(size=exact.shape) * spread
    seen = np.stack([_visible(view, exact, depth) for view, depth in zip(views, depths, strict=True)])  # [V, M]
    shifts = np.stack([np.linalg.norm(view.project(noisy)[0] - view.project(exact)[0], axis=1) for view in views])
    error = (shifts * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    kept = seen.sum(axis=0) >= 2
    return Cloud(noisy[kept], rgb[kept], error[kept])


def _edge_pixels(rng: np.random.Generator, picture: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    grey = picture.astype(np.float64).mean(axis=2)
    down, right = np.gradient(grey)
    strength = np.hypot(down, right)
    strength *= _smooth_depth(depth)
    strength[:BORDER] = strength[-BORDER:] = strength[:, :BORDER] = strength[:, -BORDER:] = 0.0
    weights = np.minimum(strength, 60.0).ravel()
    count = min(POINTS_PER_VIEW, np.count_nonzero(weights))
    chosen = rng.choice(weights.size, count, replace=False, p=weights / weights.sum())
    return np.unravel_index(chosen, grey.shape)


def _smooth_depth(depth: np.ndarray) -> np.ndarray:
    """False next to silhouettes, where a pixel mixes two surfaces."""
    padded = np.pad(depth, 1, mode="edge")
    height, width = depth.shape
    around = np.stack([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)])
    return np.ptp(around, axis=0) < 0.02 * depth


def _visible(view: View, points: np.ndarray, depth: np.ndarray) -> np.ndarray:
    pixels, distance = view.project(points)
    in_front = distance > 0.05
    column, row = np.floor(np.where(in_front[:, None], pixels, -1.0)).astype(int).T
    inside = in_front & (column >= 0) & (row >= 0) & (column < view.width) & (row < view.height)
    seen_depth = depth[np.clip(row, 0, view.height - 1), np.clip(column, 0, view.width - 1)]
    return inside & (np.abs(seen_depth - distance) < DEPTH_AGREEMENT * distance)
