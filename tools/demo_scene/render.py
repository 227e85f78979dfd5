"""Pictures, depths and normals of the scene through one camera."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from demo_scene.intersect import nearest_or_room, surface_at
from demo_scene.shade import radiance
from demo_scene.vectors import add_scaled, normalised, rotated_back, row

if TYPE_CHECKING:
    from demo_scene.cameras import View
    from demo_scene.solids import PackedScene

EXPOSURE = 1.1
SHOULDER = 0.6
FILTER_RADIUS = 1.0


class Geometry(NamedTuple):
    """What the centre of each pixel sees."""

    depth: np.ndarray  # [H, W] along the optical axis, in scene units
    normal: np.ndarray  # [H, W, 3] unit, world coordinates, towards the camera
    solid: np.ndarray  # [H, W] index in the packed scene; the last one is the room


def render_picture(scene: PackedScene, view: View, samples_per_side: int = 6) -> np.ndarray:
    """The photograph [H, W, 3] in display-referred sRGB, float in [0, 1], averaged over samples_per_side² per pixel."""
    rotation, centre, intrinsics = _camera_arrays(view)
    picture = np.empty((view.height, view.width, 3))
    seed = zlib.crc32(view.name.encode())
    _expose(scene, rotation, centre, intrinsics, samples_per_side, seed, picture)
    return np.where(picture <= 0.0031308, 12.92 * picture, 1.055 * picture ** (1.0 / 2.4) - 0.055)


def render_geometry(scene: PackedScene, view: View) -> Geometry:
    """True depth, normal and solid at every pixel centre."""
    rotation, centre, intrinsics = _camera_arrays(view)
    shape = (view.height, view.width)
    geometry = Geometry(np.empty(shape), np.empty((*shape, 3)), np.empty(shape, dtype=np.int64))
    _measure(scene, rotation, centre, intrinsics, geometry.depth, geometry.normal, geometry.solid)
    return geometry


def _camera_arrays(view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rotation = np.ascontiguousarray(view.camera_from_world[:, :3])
    return rotation, view.centre[None], np.array([*view.focal, *view.principal])


@njit(inline="always")
def _ray(rotation, intrinsics, x, y):
    """Unit world direction through pixel coordinates (x, y), and its component along the optical axis."""
    local = normalised(((x - intrinsics[2]) / intrinsics[0], (y - intrinsics[3]) / intrinsics[1], 1.0))
    return rotated_back(rotation, local), local[2]


@njit(inline="always")
def _toned(value):
    """Linear up to SHOULDER, then bent smoothly towards one."""
    if value <= SHOULDER:
        return value
    return 1.0 - (1.0 - SHOULDER) * math.exp((SHOULDER - value) / (1.0 - SHOULDER))


@njit(inline="always")
def _tent(share):
    """Offset in pixels that spreads even shares of [0, 1] with the weight of a tent: a pixel blends a little."""
    if share < 0.5:
        return FILTER_RADIUS * (math.sqrt(2.0 * share) - 1.0)
    return FILTER_RADIUS * (1.0 - math.sqrt(2.0 - 2.0 * share))


@njit(nogil=True)
def _expose(scene, rotation, centre, intrinsics, side, seed, picture):
    origin = row(centre, 0)
    height, width = picture.shape[:2]
    for y in range(height):
        for x in range(width):
            total = (0.0, 0.0, 0.0)
            pixel_seed = (seed + y * width + x) & 0xFFFFFFF
            for sample in range(side * side):
                sub_x, sub_y = _tent((sample % side + 0.5) / side), _tent((sample // side + 0.5) / side)
                direction, _ = _ray(rotation, intrinsics, x + 0.5 + sub_x, y + 0.5 + sub_y)
                colour = radiance(scene, origin, direction, pixel_seed, sample)
                toned = (_toned(EXPOSURE * colour[0]), _toned(EXPOSURE * colour[1]), _toned(EXPOSURE * colour[2]))
                total = add_scaled(total, 1.0 / (side * side), toned)
            picture[y, x, 0], picture[y, x, 1], picture[y, x, 2] = total


@njit(nogil=True)
def _measure(scene, rotation, centre, intrinsics, depth, normal, solid):
    origin = row(centre, 0)
    height, width = depth.shape
    for y in range(height):
        for x in range(width):
            direction, forward = _ray(rotation, intrinsics, x + 0.5, y + 0.5)
            distance, index = nearest_or_room(scene.solids, scene.nodes, origin, direction)
            facing = surface_at(scene.solids[index], add_scaled(origin, distance, direction), direction)[1]
            depth[y, x], solid[y, x] = distance * forward, index
            normal[y, x, 0], normal[y, x, 1], normal[y, x, 2] = facing
