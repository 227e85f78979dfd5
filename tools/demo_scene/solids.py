"""Solids, surfaces and lights, and their packed form that the ray tracer reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

ELLIPSOID, BOX, FRUSTUM, CAPSULE, TORUS = range(5)
CAP_BOTTOM, CAP_TOP = 1, 2
NUM_SLOTS = 6


@dataclass(frozen=True)
class Surface:
    """How a solid looks: textures per face, how often they repeat, and how it shines."""

    textures: tuple[str, ...]
    """One name for the whole solid, (side, top, bottom) for a frustum, (+x, -x, +y, -y, +z, -z) for a box."""
    tiling: tuple[float, float] = (1.0, 1.0)
    """Repeats of the texture along u and v."""
    reflectance: tuple[float, float, float] = (0.04, 0.04, 0.04)
    """Share of light reflected at normal incidence."""
    sharpness: float = 40.0
    """Exponent of the highlight; large is polished."""
    mirror: bool = False
    """Trace the reflection of the room instead of adding a highlight only."""


@dataclass(frozen=True)
class Solid:
    """One primitive: its kind, pose, four sizes whose meaning the kind gives, and its surface."""

    kind: int
    centre: np.ndarray  # [3]
    local_from_world: np.ndarray  # [3, 3]
    size: tuple[float, float, float, float]
    surface: Surface

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The axis-aligned box in world coordinates, as two corners [3]."""
        half = _local_half_extent(self.kind, self.size)
        reach = np.abs(self.local_from_world.T) @ half
        return self.centre - reach, self.centre + reach


@dataclass(frozen=True)
class Light:
    """A rectangle that emits from one side."""

    corner: np.ndarray  # [3]
    edge_u: np.ndarray  # [3]
    edge_v: np.ndarray  # [3]; edge_u x edge_v points to the lit side
    radiance: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """Everything that can be photographed."""

    solids: list[Solid]
    room: Solid
    lights: list[Light]
    textures: dict[str, np.ndarray]  # [H, W, 3] linear RGB


class PackedScene(NamedTuple):
    """The scene as arrays; the room is the last of the solids and stands outside the tree.

    Rays read `solids` and `nodes` only: two arrays travel through the compiled calls more cheaply than twenty.
    """

    solids: np.ndarray  # [P, 17] kind, centre (3), local-from-world (9), size (4)
    nodes: np.ndarray  # [M, 8] low (3), high (3), next node when missed, solid of a leaf or -1
    texture: np.ndarray  # [P, 6]
    tiling: np.ndarray  # [P, 2]
    reflectance: np.ndarray  # [P, 3]
    sharpness: np.ndarray  # [P]
    mirror: np.ndarray  # [P]
    light_corner: np.ndarray  # [L, 3]
    light_u: np.ndarray  # [L, 3]
    light_v: np.ndarray  # [L, 3]
    light_radiance: np.ndarray  # [L, 3]
    texels: np.ndarray  # [T, 3] float32
    texture_start: np.ndarray  # [K]
    texture_shape: np.ndarray  # [K, 2] height, width


def _local_half_extent(kind: int, size: tuple[float, float, float, float]) -> np.ndarray:
    a, b, c, _ = size
    if kind in (ELLIPSOID, BOX):
        return np.array([a, b, c])
    if kind == FRUSTUM:
        radius = max(a, b)
        return np.array([radius, radius, c])
    if kind == CAPSULE:
        return np.array([a, a, b + a])
    assert kind == TORUS
    return np.array([a + b, a + b, b])


def pack(scene: Scene) -> PackedScene:
    """The arrays of a scene: a depth-first bounding tree, flat texture memory, one row per solid."""
    solids = [*scene.solids, scene.room]
    names = sorted(scene.textures)
    shapes = np.array([scene.textures[name].shape[:2] for name in names])
    starts = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))[:-1]])
    return PackedScene(
        solids=np.array([_geometry_row(solid) for solid in solids]),
        nodes=_tree(scene.solids),
        texture=np.array([_slots(solid.surface, names) for solid in solids]),
        tiling=np.array([solid.surface.tiling for solid in solids], dtype=np.float64),
        reflectance=np.array([solid.surface.reflectance for solid in solids], dtype=np.float64),
        sharpness=np.array([solid.surface.sharpness for solid in solids], dtype=np.float64),
        mirror=np.array([solid.surface.mirror for solid in solids]),
        light_corner=np.array([light.corner for light in scene.lights], dtype=np.float64),
        light_u=np.array([light.edge_u for light in scene.lights], dtype=np.float64),
        light_v=np.array([light.edge_v for light in scene.lights], dtype=np.float64),
        light_radiance=np.array([light.radiance for light in scene.lights], dtype=np.float64),
        texels=np.concatenate([scene.textures[name].reshape(-1, 3) for name in names]).astype(np.float32),
        texture_start=starts,
        texture_shape=shapes,
    )


def _geometry_row(solid: Solid) -> np.ndarray:
    return np.concatenate([[solid.kind], solid.centre, solid.local_from_world.ravel(), solid.size])


def _slots(surface: Surface, names: list[str]) -> list[int]:
    indices = [names.index(name) for name in surface.textures]
    return indices + [indices[-1]] * (NUM_SLOTS - len(indices))


def _tree(solids: list[Solid]) -> np.ndarray:
    """Bounding boxes in depth-first order [M, 8]; a miss jumps to `next`, so that no stack is needed."""
    bounds = np.array([solid.bounds() for solid in solids])  # [P, 2, 3]
    nodes: list[np.ndarray] = []

    def add(members: np.ndarray) -> None:
        low, high = bounds[members, 0].min(axis=0), bounds[members, 1].max(axis=0)
        leaf = members[0] if len(members) == 1 else -1
        node = np.array([*low, *high, 0.0, leaf])
        nodes.append(node)
        if len(members) > 1:
            first, second = _cheapest_split(bounds, members)
            add(first)
            add(second)
        node[6] = len(nodes)

    add(np.arange(len(solids)))
    return np.array(nodes)


def _cheapest_split(bounds: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two halves of a sorted order with the least area times count (the surface area heuristic)."""
    best = (np.inf, members, members)
    for axis in range(3):
        ordered = members[np.argsort(bounds[members, :, axis].sum(axis=1), kind="stable")]
        before = _areas_of_prefixes(bounds[ordered])[:-1]
        after = _areas_of_prefixes(bounds[ordered[::-1]])[:-1][::-1]
        count = np.arange(1, len(members))
        cost = before * count + after * count[::-1]
        cut = int(np.argmin(cost))
        if cost[cut] < best[0]:
            best = (cost[cut], ordered[: cut + 1], ordered[cut + 1 :])
    return best[1], best[2]


def _areas_of_prefixes(bounds: np.ndarray) -> np.ndarray:
    """Surface area of the box around the first k bounds, for every k [P]."""
    x, y, z = (np.maximum.accumulate(bounds[:, 1]) - np.minimum.accumulate(bounds[:, 0])).T
    return x * y + y * z + z * x
