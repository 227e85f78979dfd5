"""A plant in a pot: bent stems, leaves in pairs, berries at the tips."""

from __future__ import annotations

import math

import numpy as np

from demo_scene.shapes import ball, drum, ring, rod
from demo_scene.solids import CAP_BOTTOM, CAP_TOP, ELLIPSOID, Solid, Surface

SEED = 7
NUM_STEMS = 9
SEGMENTS = 7
STEM = Surface(("stem",), reflectance=(0.03,) * 3, sharpness=30.0)
LEAF = Surface(("leaf",), reflectance=(0.04,) * 3, sharpness=25.0)
BERRY = Surface(("berry",), reflectance=(0.05,) * 3, sharpness=150.0)


def plant(x: float, y: float) -> list[Solid]:
    """The pot with its plant, standing on the table at (x, y)."""
    clay = Surface(("pot", "soil", "soil"), reflectance=(0.03,) * 3, sharpness=14.0)
    rim = Surface(("pot",), (1.0, 0.1), (0.03,) * 3, 14.0)
    solids = [
        drum(x, y, 0.0, (0.20, 0.21), 0.02, rim, CAP_BOTTOM | CAP_TOP),
        drum(x, y, 0.02, (0.135, 0.185), 0.27, clay, CAP_BOTTOM | CAP_TOP),
        ring(x, y, 0.29, (0.183, 0.017), rim),
    ]
    rng = np.random.default_rng(SEED)
    for number in range(NUM_STEMS):
        solids += _stem(rng, np.array([x, y, 0.28]), 2 * math.pi * (number + 0.35 * rng.random()) / NUM_STEMS, number)
    return solids


def _stem(rng: np.random.Generator, root: np.ndarray, azimuth: float, number: int) -> list[Solid]:
    outward = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    height, reach = 0.42 + 0.30 * rng.random(), 0.14 + 0.16 * rng.random()
    if number % 3 == 0:
        height, reach = height + 0.12, 0.4 * reach
    share = np.linspace(0.0, 1.0, SEGMENTS + 1)[:, None]
    path = root + 0.07 * outward + reach * share**2 * outward + height * (share - 0.22 * share**3) * [0.0, 0.0, 1.0]
    thickness = np.linspace(0.0085, 0.0045, SEGMENTS)
    solids = [rod(path[i], path[i + 1], float(thickness[i]), STEM) for i in range(SEGMENTS)]
    for joint in range(2, SEGMENTS + 1):
        along = path[joint] - path[joint - 1]
        for side in (-1.0, 1.0):
            heading = azimuth + side * (0.9 + 0.5 * rng.random())
            solids += _leaf(path[joint], along, heading, 0.055 + 0.03 * rng.random(), 0.35 + 0.5 * rng.random())
    return [*solids, ball(*(path[-1] + [0.0, 0.0, 0.014]), 0.020, BERRY)]


def _leaf(joint: np.ndarray, along: np.ndarray, heading: float, length: float, lift: float) -> list[Solid]:
    """A leaf on a short stalk that leaves the stem at `joint`, rising by about `lift` radians."""
    direction = np.array([math.cos(heading) * math.cos(lift), math.sin(heading) * math.cos(lift), math.sin(lift)])
    across = np.cross(along, direction)
    across /= np.linalg.norm(across)
    stalk = joint + 0.03 * direction
    frame = np.stack([direction, across, np.cross(direction, across)])
    blade = Solid(ELLIPSOID, stalk + length * direction, frame, (length, 0.42 * length, 0.0025, 1.0), LEAF)
    return [rod(joint, stalk, 0.003, STEM), blade]
