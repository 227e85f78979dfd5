"""Smooth camera paths from the cameras of a scene: around what they look at, through them, or near their middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from gaussian_splatting.camera import Camera, pinhole_camera
from gaussian_splatting.errors import SceneError
from gaussian_splatting.scene_frame import Floats, Poses, horizontal_axes, look_at_point, looking, up_direction

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
    rotations = np.stack([camera.R.detach().double().cpu().numpy() for camera in cameras])  # camera from world
    translations = np.stack([camera.T.detach().double().cpu().numpy() for camera in cameras])
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

    Time between two cameras grows with the distance and the angle between them. `closed` returns to the first one.
    """
    from scipy.interpolate import CubicSpline
    from scipy.spatial.transform import Rotation, RotationSpline

    poses = poses_of(cameras)
    chosen = np.unique(np.linspace(0, len(cameras) - 1, min(keys, len(cameras))).round().astype(int))
    if closed and len(chosen) > 1:
        chosen = np.append(chosen, chosen[0])
    if len(chosen) == 1:
        return [_camera_at(cameras[0], poses.centers[0], poses.rotations[0]) for _ in range(frames)]
    centers, rotations = poses.centers[chosen], Rotation.from_matrix(poses.rotations[chosen])
    times = _travel_times(centers, (rotations[:-1].inv() * rotations[1:]).magnitude())
    moments = np.linspace(0, times[-1], frames, endpoint=not closed)
    places = CubicSpline(times, centers, bc_type="periodic" if closed else "not-a-knot")(moments)
    facing = RotationSpline(times, rotations)(moments).as_matrix()
    return [_camera_at(cameras[0], place, rotation) for place, rotation in zip(places, facing, strict=True)]


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


def _camera_at(like: Camera, center: Floats, rotation: Floats) -> Camera:
    """A camera with the size, intrinsics and background of `like`, at `center` with camera-to-world `rotation`."""
    K = like.K.detach().double().cpu()
    made = pinhole_camera(
        like.image_height,
        like.image_width,
        float(K[0, 0]),
        float(K[1, 1]),
        rotation.T,
        -rotation.T @ center,
        cx=float(K[0, 2]),
        cy=float(K[1, 2]),
        device=like.K.device,
    )
    return made._replace(bg_color=like.bg_color)
