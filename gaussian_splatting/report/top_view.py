"""The scene from above: its Gaussians as a picture, its cameras as small frusta."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import SplatError
from gaussian_splatting.rendering.scene_frame import Floats, Poses, horizontal_axes, up_direction
from gaussian_splatting.report.charts import round_step, short_number
from gaussian_splatting.report.embed import data_uri
from gaussian_splatting.runs.folder import read_json

WIDTH, HEIGHT = 900, 560  # pixels
MOST_CAMERAS = 400
LARGEST_COORDINATE = 1e15
SH_C0 = 0.28209479177387814


@dataclass(frozen=True)
class Seen:
    """Cameras of a list: poses, half the horizontal field of view (radians) and names."""

    poses: Poses
    half_angles: Floats  # [M]
    names: list[str]


@dataclass(frozen=True)
class Plane:
    """World coordinates to pixels of the view from above."""

    first: Floats  # [3] world direction to the right of the picture
    second: Floats  # [3] world direction to its top
    middle: tuple[float, float]
    scale: float  # pixels per world unit

    def pixels(self, points: Floats) -> Floats:
        """Where points [M, 3] lie in the picture, [M, 2]."""
        column = WIDTH / 2 + (points @ self.first - self.middle[0]) * self.scale
        row = HEIGHT / 2 - (points @ self.second - self.middle[1]) * self.scale
        return np.stack([column, row], axis=1)


def top_view(cameras: Path, splat: Path | None, tested: Path | None = None) -> str:
    """The SVG of the scene seen along its up direction; nothing when there is no readable list of cameras."""
    seen = read_cameras(cameras)
    if seen is None:
        return ""
    extra = None if tested is None else read_cameras(tested)
    points, colors, weights = _points(splat)
    plane = _plane(seen, points)
    parts = [_background(plane, points, colors, weights)]
    parts += _frusta(plane, seen, "first")
    if extra is not None and set(extra.names) - set(seen.names):
        parts += _frusta(plane, extra, "second")
    parts.append(_scale_bar(plane))
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="scene from above">{"".join(parts)}</svg>'


def read_cameras(path: Path) -> Seen | None:
    """The cameras of a `cameras.json`, evenly thinned to `MOST_CAMERAS`; None when there are none to be had."""
    try:
        entries = read_json(path)
        entries = entries[:: math.ceil(len(entries) / MOST_CAMERAS)] if entries else []
        centers = np.array([entry["position"] for entry in entries], dtype=np.float64).reshape(-1, 3)
        rotations = np.array([entry["rotation"] for entry in entries], dtype=np.float64).reshape(-1, 3, 3)
        halves = np.array([math.atan(entry["width"] / (2 * entry["fx"])) for entry in entries])
        names = [str(entry.get("img_name", index)) for index, entry in enumerate(entries)]
    except (SplatError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    numbers = np.concatenate([centers, rotations.reshape(-1, 9), halves[:, None]], axis=1)
    usable = np.flatnonzero((np.abs(numbers) < LARGEST_COORDINATE).all(axis=1))  # false for NaN, too
    if len(usable) == 0:
        return None
    return Seen(Poses(centers[usable], rotations[usable]), halves[usable], [names[index] for index in usable])


def _points(splat: Path | None) -> tuple[Floats, Floats, Floats]:
    """Positions [N, 3], colours [N, 3] and opacities [N] of a splat; empty without one."""
    from gaussian_splatting.io.ply import read_gaussians

    if splat is None or not splat.is_file():
        return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)
    try:
        found = read_gaussians(splat)
    except SplatError:
        return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)
    colors = np.clip(found.features_dc[:, 0].astype(np.float64) * SH_C0 + 0.5, 0, 1)
    opacities = 1 / (1 + np.exp(-np.clip(found.opacity[:, 0].astype(np.float64), -30, 30)))
    return found.xyz.astype(np.float64), colors, opacities


def _plane(seen: Seen, points: Floats) -> Plane:
    """A plane that shows every camera and the middle of the points, its long side horizontal."""
    up = up_direction(seen.poses)
    first, second = horizontal_axes(up, -seen.poses.forwards[0])
    shown = [seen.poses.centers]
    if len(points):
        shown.append(points[_central(points, seen.poses.centers)])
    around = np.concatenate(shown)
    flat = np.stack([around @ first, around @ second], axis=1)
    _, _, directions = (
        np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False) if len(flat) > 2 else (0, 0, np.eye(2))
    )
    long = directions[0][0] * first + directions[0][1] * second
    first, second = horizontal_axes(up, long)
    low = np.array([(around @ first).min(), (around @ second).min()])
    high = np.array([(around @ first).max(), (around @ second).max()])
    size = np.maximum(high - low, 1e-6 + 0.05 * float((high - low).max()))
    scale = 0.86 * min(WIDTH / size[0], HEIGHT / size[1])
    middle = (low + high) / 2
    return Plane(first, second, (float(middle[0]), float(middle[1])), float(scale))


def _central(points: Floats, centers: Floats) -> NDArray[np.bool_]:
    """Points within the 5th and 95th percentiles, and within thrice the reach of the cameras."""
    low, high = np.percentile(points, (5, 95), axis=0)
    middle = np.median(np.concatenate([centers, np.median(points, axis=0)[None]]), axis=0)
    reach = 3 * max(float(np.linalg.norm(centers - middle, axis=1).max()), 1e-9)
    return ((points >= low) & (points <= high)).all(axis=1) & (np.linalg.norm(points - middle, axis=1) <= reach)


def _background(plane: Plane, points: Floats, colors: Floats, weights: Floats) -> str:
    if len(points) == 0:
        return ""
    places = np.clip(plane.pixels(points) / 2, -1e9, 1e9)  # one cell is 2 by 2 pixels; a stray point may lie anywhere
    cells = np.floor(places).astype(np.int64)
    columns, rows = WIDTH // 2, HEIGHT // 2
    inside = ((cells >= 0) & (cells < (columns, rows))).all(axis=1) & (weights > 0.05)
    index = cells[inside, 1] * columns + cells[inside, 0]
    mass = np.bincount(index, weights[inside], columns * rows)
    sums = [np.bincount(index, weights[inside] * colors[inside, k], columns * rows) for k in range(3)]
    typical = float(np.percentile(mass[mass > 0], 75)) if (mass > 0).any() else 1.0
    alpha = 1 - np.exp(-1.5 * mass / typical)
    mean = np.stack(sums, axis=1) / np.maximum(mass, 1e-12)[:, None]
    image = np.concatenate([mean, alpha[:, None]], axis=1).reshape(rows, columns, 4)
    uri = data_uri((image * 255).round().astype(np.uint8), lossless=True)
    return f'<image href="{uri}" width="{WIDTH}" height="{HEIGHT}"/>'


def _frusta(plane: Plane, seen: Seen, tone: str) -> list[str]:
    """One triangle per camera: its tip is the camera, its base what the camera looks towards."""
    centers = plane.pixels(seen.poses.centers)
    right = np.stack([seen.poses.rights @ plane.first, -(seen.poses.rights @ plane.second)], axis=1)
    ahead = np.stack([seen.poses.forwards @ plane.first, -(seen.poses.forwards @ plane.second)], axis=1)
    length = min(26.0, max(9.0, 900 / math.sqrt(len(centers)) / 4))
    spread = np.tan(np.minimum(seen.half_angles, 1.0))[:, None] * right
    corners = np.stack([centers, centers + length * (ahead - spread), centers + length * (ahead + spread)], axis=1)
    return [
        f'<polygon class="frustum {tone}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in corner)}">'
        f"<title>{escape(name)}</title></polygon>"
        for corner, name in zip(corners, seen.names, strict=True)
    ]


def _scale_bar(plane: Plane) -> str:
    length = round_step(120 / plane.scale)
    start, row, end = 20, HEIGHT - 18, 20 + length * plane.scale
    return (
        f'<path class="ruler" d="M{start} {row - 5}v5H{end:.1f}v-5"/>'
        f'<text x="{end + 8:.1f}" y="{row}">{short_number(length)} units</text>'
    )


def legend(names: Sequence[tuple[str, str]]) -> str:
    """Tone and meaning of each colour."""
    marks = (
        f'<span><i class="round" style="background: var(--{tone})"></i>{escape(name)}</span>' for tone, name in names
    )
    return f'<div class="legend">{"".join(marks)}</div>'
