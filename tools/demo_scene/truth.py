"""What only the maker of a scene knows: its exact surface, its extent, and the scale of the depth maps."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from demo_scene.cameras import TARGET, View
from demo_scene.render import Geometry
from demo_scene.still_life import CEILING, FLOOR, ROOM_HALF, TABLE_RADIUS

SEED = 5
NUM_SURFACE_POINTS = 2200
HOLD_OUT_EVERY = 8


def surface_sample(views: list[View], geometries: list[Geometry], room: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact points [N, 3] and unit normals [N, 3] of the table and what stands on it, about evenly by visible area."""
    rng = np.random.default_rng(SEED)
    counts = np.full(len(views), NUM_SURFACE_POINTS // len(views))
    counts[: NUM_SURFACE_POINTS % len(views)] += 1
    points, normals = [], []
    for view, geometry, count in zip(views, geometries, counts, strict=True):
        weights = _pixel_areas(view, geometry) * (geometry.solid != room)
        number = min(int(count), np.count_nonzero(weights))
        chosen = rng.choice(weights.size, number, replace=False, p=weights.ravel() / weights.sum())
        rows, columns = np.unravel_index(chosen, weights.shape)
        points.append(view.unproject(np.stack([columns, rows], axis=1) + 0.5, geometry.depth[rows, columns]))
        normals.append(geometry.normal[rows, columns])
    return np.concatenate(points), np.concatenate(normals)


def _pixel_areas(view: View, geometry: Geometry) -> np.ndarray:
    """Surface area under each pixel [H, W]; at grazing angles limited to ten times the head-on area."""
    y, x = np.mgrid[0 : view.height, 0 : view.width] + 0.5
    ray = np.stack([(x - view.principal[0]) / view.focal[0], (y - view.principal[1]) / view.focal[1], np.ones_like(x)])
    towards = np.tensordot(view.camera_from_world[:, :3].T, ray / np.linalg.norm(ray, axis=0), axes=1)  # [3, H, W]
    cosine = np.abs(np.einsum("chw,hwc->hw", towards, geometry.normal))
    return geometry.depth**2 / np.maximum(cosine, 0.1)


def surface_file(points: np.ndarray, normals: np.ndarray) -> bytes:
    """An .npz with `points` float32 and `normals` float16, without pickled objects."""
    stream = io.BytesIO()
    np.savez(stream, points=points.astype(np.float32), normals=normals.astype(np.float16))
    return stream.getvalue()


def description(views: list[View], depth_scale: float, num_points: int, samples_per_side: int) -> dict[str, Any]:
    """The contents of truth.json."""
    centres = np.array([view.centre for view in views])
    middle = centres.mean(axis=0)
    return {
        "pictures": {
            "count": len(views),
            "width": views[0].width,
            "height": views[0].height,
            "samples_per_pixel": samples_per_side**2,
            "hold_out": [view.name for view in views[::HOLD_OUT_EVERY]],
        },
        "depth": {
            "files": "depths/<stem>.png, 16 bits",
            "meaning": "value = round(scale / depth), depth along the optical axis at the pixel centre",
            "scale": depth_scale,
        },
        "masks": "images/<stem>_mask.png: 255 on the table and what stands on it, 0 on the room",
        "axes": "z up, the table top is z = 0 around the origin; one unit is about half a metre",
        "table_radius": TABLE_RADIUS,
        "room": {"low": [-ROOM_HALF, -ROOM_HALF, FLOOR], "high": [ROOM_HALF, ROOM_HALF, CEILING]},
        "target": list(TARGET),
        "camera_radius": float(np.linalg.norm(centres - middle, axis=1).max()),
        "num_sfm_points": num_points,
    }
