"""Short names for posing solids."""

from __future__ import annotations

import math

import numpy as np

from demo_scene.solids import BOX, CAP_BOTTOM, CAP_TOP, CAPSULE, ELLIPSOID, FRUSTUM, TORUS, Solid, Surface

CLOSED = CAP_BOTTOM | CAP_TOP


def pose(turn_degrees: float = 0.0, tilt_degrees: float = 0.0) -> np.ndarray:
    """Local-from-world [3, 3] of a solid tilted about its x axis, then turned about the vertical."""
    turn, tilt = math.radians(turn_degrees), math.radians(tilt_degrees)
    about_z = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    return (about_z @ about_x).T


def rod(start, end, radius: float, surface: Surface) -> Solid:
    """A round-ended rod between two points."""
    start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    axis = (end - start) / np.linalg.norm(end - start)
    side = np.cross(axis, [0.0, 0.0, 1.0] if abs(axis[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    half = 0.5 * float(np.linalg.norm(end - start))
    return Solid(
        CAPSULE, 0.5 * (start + end), np.stack([side, np.cross(axis, side), axis]), (radius, half, 0, 0), surface
    )


def block(x: float, y: float, bottom: float, half: tuple[float, float, float], turn: float, surface: Surface) -> Solid:
    """A box that stands on height `bottom`, turned about the vertical by degrees."""
    return Solid(BOX, np.array([x, y, bottom + half[2]]), pose(turn), (*half, 0.0), surface)


def drum(x, y, bottom, radii, height, surface, caps=CLOSED, turn=0.0) -> Solid:
    """An upright cylinder or cone; `radii` are those of the bottom and the top."""
    return Solid(FRUSTUM, np.array([x, y, bottom + height / 2]), pose(turn), (*radii, height / 2, float(caps)), surface)


def ball(x: float, y: float, z: float, radius: float, surface: Surface, turn=0.0, tilt=0.0) -> Solid:
    """A sphere around a point."""
    return Solid(ELLIPSOID, np.array([x, y, z]), pose(turn, tilt), (radius, radius, radius, 0.0), surface)


def ring(x: float, y: float, z: float, radii: tuple[float, float], surface: Surface, turn=0.0, tilt=0.0) -> Solid:
    """A torus of radii (ring, tube)."""
    return Solid(TORUS, np.array([x, y, z]), pose(turn, tilt), (*radii, 0.0, 0.0), surface)
