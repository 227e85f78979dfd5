"""Smooth camera paths from the cameras of a scene: around what they look at, through them, or near their middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from gaussian_splatting.camera import Camera, pinhole_camera
from gaussian_splatting.errors import SceneError
from gaussian_splatting.geometry.arrays import float64_array
from gaussian_splatting.rendering.scene_frame import (
    Floats,
    Poses,
    horizontal_axes,
    look_at_point,
    looking,
    up_direction,
)

Turn = Literal["auto", "full", "covered"]

LARGEST_GAP = np.radians(100)
"""An orbit goes all the way round unless the cameras leave out more than this."""

ARC_USED = 0.85
"""The share of an arc that an orbit swings over: beyond the outermost cameras, and near them, there is less to see."""

SMOOTHING = np.radians(20)
"""Cameras within about this angle decide how far out and how high an orbit is."""


def poses_of(cameras: Sequence[Camera]) -> Poses:
    """Centres and rotations of cameras in float64. Raises SceneError without any."""
    if len(cameras) == 0:
        raise SceneError("a camera path needs cameras to start from; the data set has none")
    rotations = np.stack([float64_array(camera.R) for camera in cameras])  # camera from world
    translations = np.stack([float64_array(camera.T) for camera in cameras])
    return Poses(-np.einsum("mji,mj->mi", rotations, translations), rotations.transpose(0, 2, 1))


def orbit(cameras: Sequence[Camera], frames: int = 120, *, turn: Turn = "auto") -> list[Camera]:
    """A turntable: a ring around the point that the cameras look at, as far out and as high as cameras near it.

    Where the cameras cover only an arc, "auto" swings to and fro over it, because nobody knows what the other side
    looks like; "full" goes round all the same, and "covered" always swings. The last frame leads over to the first. The
    cameras have no pictures and the intrinsics of the first one. Raises SceneError when the cameras do not look at a
    common point.
    """
    poses = poses_of(cameras)
    target = look_at_point(poses)
    if target is None:
        raise SceneError(
            "the cameras do not look at a common point, so there is nothing to go round; use the path "
            "'interpolate' or 'spiral'"
        )
    up = up_direction(poses)
    offsets = poses.centers - target
    first, second = horizontal_axes(up, offsets[0])
    angles = np.arctan2(offsets @ second, offsets @ first)
    ring = sweep(angles, frames, turn)
    near = _nearness(ring, angles)  # [F, M]
    radii = near @ np.hypot(offsets @ first, offsets @ second)
    heights = near @ (offsets @ up)
    around = np.cos(ring)[:, None] * first + np.sin(ring)[:, None] * second
    centers = target + heights[:, None] * up + radii[:, None] * around
    return [_camera_at(cameras[0], center, looking(center, target, up)) for center in centers]


def sweep(angles: Floats, frames: int, turn: Turn) -> Floats:
    """The angles [frames] of an orbit, given those [M] of the cameras: once round, or to and fro within their arc."""
    ordered = np.sort(np.mod(angles, 2 * np.pi))
    gaps = np.diff(np.append(ordered, ordered[0] + 2 * np.pi))
    widest = int(np.argmax(gaps))
    start, arc = ordered[(widest + 1) % len(ordered)], 2 * np.pi - gaps[widest]
    phase = 2 * np.pi * np.arange(frames) / frames
    if turn == "full" or (turn == "auto" and gaps[widest] <= LARGEST_GAP):
        return start + phase
    return start + arc * (0.5 - ARC_USED / 2 * np.cos(phase))


def _nearness(ring: Floats, angles: Floats) -> Floats:
    """Weights [F, M] of the cameras at each angle of a ring. They add up to one; where none is near they are equal."""
    apart = np.mod(ring[:, None] - angles + np.pi, 2 * np.pi) - np.pi
    weights = np.exp(-0.5 * (apart / SMOOTHING) ** 2) + 1e-4
    return weights / weights.sum(axis=1, keepdims=True)


def spiral(cameras: Sequence[Camera], frames: int = 120, *, turns: int = 2) -> list[Camera]:
    """A gentle spiral around the middle of the cameras, for scenes that were taken from the front.

    It spans 60 % of what the cameras span (90th percentile, along the axes of the mean camera) and looks at their
    common point, or straight ahead where they have none.
    """
    poses = poses_of(cameras)
    center, up = poses.centers.mean(axis=0), up_direction(poses)
    ahead = poses.forwards.mean(axis=0)
    target = look_at_point(poses)
    if target is None or (target - center) @ ahead <= 0:
        target = center + ahead * 4 * max(1e-3, float(np.linalg.norm(poses.centers - center, axis=1).max()))
    axes = looking(center, target, up)
    reach = 0.6 * np.percentile(np.abs((poses.centers - center) @ axes), 90, axis=0)
    phase = 2 * np.pi * np.arange(frames) / frames
    waves = np.stack([np.cos(turns * phase), np.sin(turns * phase), np.sin(phase)], axis=1)
    centers = center + (waves * reach) @ axes.T
    return [_camera_at(cameras[0], point, looking(point, target, up)) for point in centers]


def interpolate(cameras: Sequence[Camera], frames: int = 120, *, keys: int = 12, closed: bool = False) -> list[Camera]:
    """A smooth flight through at most `keys` of the cameras, in their order; twice continuously differentiable.

    Time between two cameras grows with the distance and the angle between them. `closed` returns to the first one. All
    frames have the intrinsics of the first camera.
    """
    poses_of(cameras)
    chosen = np.unique(np.linspace(0, len(cameras) - 1, min(keys, len(cameras))).round().astype(int))
    alike = [cameras[index]._replace(**_lens_of(cameras[0])) for index in chosen]
    return through(alike, frames, closed=closed)


def through(keys: Sequence[Camera], frames: int, *, closed: bool = False) -> list[Camera]:
    """A smooth flight through every one of `keys`, in their order, whose focal lengths change on the way too.

    Twice continuously differentiable. Size and principal point are those of the first key. Raises SceneError without
    any.
    """
    from scipy.interpolate import CubicSpline
    from scipy.spatial.transform import Rotation, RotationSpline

    poses = poses_of(keys)
    centers, turns, focals = poses.centers, poses.rotations, np.stack([_focals(key, keys[0]) for key in keys])
    if closed and len(keys) > 1:
        centers, turns, focals = (np.concatenate([values, values[:1]]) for values in (centers, turns, focals))
    if len(centers) == 1:
        return [_camera_at(keys[0], centers[0], turns[0]) for _ in range(frames)]
    rotations = Rotation.from_matrix(turns)
    times = _travel_times(centers, (rotations[:-1].inv() * rotations[1:]).magnitude())
    moments = np.linspace(0, times[-1], frames, endpoint=not closed)
    ends = "periodic" if closed else "not-a-knot"
    places = CubicSpline(times, centers, bc_type=ends)(moments)
    facing = RotationSpline(times, rotations)(moments).as_matrix()
    zooms = np.exp(CubicSpline(times, np.log(focals), bc_type=ends)(moments))
    frames_of_path = zip(places, facing, zooms, strict=True)
    return [_camera_at(keys[0], place, rotation, zoom) for place, rotation, zoom in frames_of_path]


PATHS: dict[str, Callable[[Sequence[Camera], int], list[Camera]]] = {
    "orbit": orbit,
    "spiral": spiral,
    "interpolate": interpolate,
}
"""Every path by its name: a function of the cameras and the number of frames."""


def _travel_times(centers: Floats, turns: Floats) -> Floats:
    distances = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    typical = float(np.median(distances)) or 1.0
    # The square root keeps a spline from overshooting between keys of very different distance.
    costs = np.sqrt(distances / typical + turns)
    return np.concatenate([[0.0], np.cumsum(np.maximum(costs, 0.05))])


def _focals(camera: Camera, like: Camera) -> Floats:
    """The focal lengths [2] that show the vertical extent of `camera` in a picture of the size of `like`."""
    K = camera.K.detach().double().cpu()
    return np.array([float(K[0, 0]), float(K[1, 1])]) * (like.image_height / camera.image_height)


def _lens_of(camera: Camera) -> dict[str, Any]:
    names = ("image_height", "image_width", "FoVx", "FoVy", "K")
    return {name: getattr(camera, name) for name in names}


def _camera_at(like: Camera, center: Floats, rotation: Floats, focals: Floats | None = None) -> Camera:
    """A camera with the size, intrinsics and background of `like`, at `center` with camera-to-world `rotation`."""
    K = like.K.detach().double().cpu()
    fx, fy = (float(K[0, 0]), float(K[1, 1])) if focals is None else (float(focals[0]), float(focals[1]))
    made = pinhole_camera(
        like.image_height,
        like.image_width,
        fx,
        fy,
        rotation.T,
        -rotation.T @ center,
        cx=float(K[0, 2]),
        cy=float(K[1, 2]),
        device=like.K.device,
    )
    return made._replace(bg_color=like.bg_color)


def resized(camera: Camera, width: int, height: int) -> Camera:
    """The camera for a picture of another size: the vertical field of view stays, the sides are cut or widened."""
    K, scale = camera.K.detach().double().cpu(), height / camera.image_height
    made = pinhole_camera(
        height,
        width,
        float(K[0, 0]) * scale,
        float(K[1, 1]) * scale,
        camera.R.detach(),
        camera.T.detach(),
        cx=width / 2 + (float(K[0, 2]) - camera.image_width / 2) * scale,
        cy=float(K[1, 2]) * scale,
        device=camera.K.device,
    )
    return made._replace(bg_color=camera.bg_color, postprocess=camera.postprocess, custom_data=camera.custom_data)
