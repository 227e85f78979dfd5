"""The still life itself: what stands on the table, what it is made of, and how it is lit."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np

from demo_scene.foliage import plant
from demo_scene.materials import all_textures
from demo_scene.shapes import CLOSED, ball, block, drum, pose, ring, rod
from demo_scene.solids import BOX, CAP_BOTTOM, CAP_TOP, FRUSTUM, Light, PackedScene, Scene, Solid, Surface, pack

TABLE_RADIUS = 1.34
FLOOR, CEILING = -0.95, 2.75
ROOM_HALF = 4.1
BRASS = Surface(("brass",), reflectance=(0.75, 0.55, 0.28), sharpness=400.0, mirror=True)


def _table() -> list[Solid]:
    wood = Surface(("table", "table", "table"), (1.0, 1.0), (0.045, 0.045, 0.045), 30.0)
    edge = Surface(("table_edge", "table", "table"), (3.0, 1.0), (0.045, 0.045, 0.045), 30.0)
    return [
        drum(0, 0, -0.07, (TABLE_RADIUS - 0.02, TABLE_RADIUS), 0.07, edge),
        drum(0, 0, FLOOR + 0.06, (0.11, 0.11), -FLOOR - 0.13, wood),
        drum(0, 0, FLOOR, (0.55, 0.45), 0.06, wood),
        block(-0.12, -0.18, 0.0, (0.78, 0.47, 0.004), 14.0, Surface(("cloth",), (2.0, 1.2), (0.01, 0.01, 0.01), 8.0)),
        block(0.62, 0.62, 0.0, (0.26, 0.36, 0.002), -38.0, Surface(("paper",) * 4 + ("newspaper", "paper"))),
        block(-0.98, 0.18, 0.0, (0.20, 0.28, 0.002), 24.0, Surface(("paper",) * 4 + ("letter", "paper"))),
    ]


def _book(x, y, bottom, half, turn, name: str) -> list[Solid]:
    """Two boards, a spine and the pages between them; no two faces share a plane, or rays could see either."""
    width, depth, thick = half
    board = 0.008
    cover = Surface(
        (f"{name}_plain",) * 4 + (f"{name}_cover", f"{name}_plain"), reflectance=(0.03,) * 3, sharpness=25.0
    )
    spine = Surface((f"{name}_spine",) * 4 + (f"{name}_plain",) * 2, reflectance=(0.03,) * 3, sharpness=25.0)
    pages = Surface(("pages",), (1.0, 1.0), (0.01,) * 3, 8.0)
    spine_offset = pose(turn).T @ np.array([0.0, -depth - 0.002 + board / 2, 0.0])
    inner = (width - 0.015, depth - 0.012, thick - board)
    inner_offset = pose(turn).T @ np.array([0.0, -0.004, 0.0])
    return [
        block(x, y, bottom, (width, depth, board / 2), turn, cover),
        block(x, y, bottom + 2 * thick - board, (width, depth, board / 2), turn, cover),
        block(x + spine_offset[0], y + spine_offset[1], bottom + 5e-4, (width, board / 2, thick - 5e-4), turn, spine),
        block(x + inner_offset[0], y + inner_offset[1], bottom + board, inner, turn, pages),
    ]


def _books() -> list[Solid]:
    return [
        *_book(-0.62, -0.40, 0.008, (0.34, 0.245, 0.055), 24.0, "red_book"),
        *_book(-0.60, -0.41, 0.118, (0.29, 0.21, 0.042), 9.0, "blue_book"),
        ring(-0.60, -0.41, 0.202 + 0.055, (0.135, 0.055), Surface(("swirl",), (2.0, 1.0), (0.05,) * 3, 90.0)),
        ball(-0.60, -0.41, 0.202 + 0.125, 0.105, Surface(("marble",), (1, 1), (0.05,) * 3, 900.0, mirror=True)),
    ]


def _globe() -> list[Solid]:
    x, y = 0.50, -0.38
    return [
        drum(x, y, 0.0, (0.15, 0.12), 0.03, Surface(("dark_wood",), (2, 1), (0.05,) * 3, 60.0)),
        drum(x, y, 0.03, (0.03, 0.03), 0.09, BRASS),
        ball(x, y, 0.40, 0.27, Surface(("globe",), (1, 1), (0.04,) * 3, 70.0), 40.0, 23.0),
        ring(x, y, 0.40, (0.296, 0.013), BRASS, 40.0, 90.0),
    ]


def _mug() -> list[Solid]:
    x, y, radius, height = -0.42, 0.44, 0.135, 0.27
    glaze = Surface(("mug", "white", "white"), reflectance=(0.05,) * 3, sharpness=600.0, mirror=True)
    white = Surface(("white",), reflectance=(0.05,) * 3, sharpness=600.0, mirror=True)
    coffee = Surface(("coffee",), reflectance=(0.03,) * 3, sharpness=2000.0, mirror=True)
    solids = [
        drum(x, y, 0.001, (radius * 0.93, radius), height, glaze, CAP_BOTTOM),
        drum(x, y, 0.02, (radius * 0.93 - 0.014, radius - 0.014), height - 0.02, white, CAP_BOTTOM),
        drum(x, y, 0.19, (radius - 0.016, radius - 0.016), 0.012, coffee, CAP_TOP),
        ring(x, y, height + 0.001, (radius - 0.007, 0.0075), white),
    ]
    turn = math.radians(160.0)
    outward = np.array([math.cos(turn), math.sin(turn), 0.0])
    arc = [
        np.array([x, y, 0.135])
        + (radius - 0.008) * outward
        + 0.085 * (math.sin(a) * outward + math.cos(a) * np.array([0, 0, 1]))
        for a in np.linspace(0.0, math.pi, 9)
    ]
    solids += [rod(first, last, 0.017, white) for first, last in pairwise(arc)]
    return solids


def _small_things() -> list[Solid]:
    tin = Surface(("label", "tin_lid", "tin_lid"), reflectance=(0.05,) * 3, sharpness=120.0)
    steel = Surface(("steel",), reflectance=(0.62, 0.62, 0.64), sharpness=500.0, mirror=True)
    die = Surface(tuple(f"die_{pips}" for pips in (1, 6, 2, 5, 3, 4)), reflectance=(0.05,) * 3, sharpness=100.0)
    glass_ball = Surface(("cobalt",), reflectance=(0.16, 0.16, 0.17), sharpness=6000.0, mirror=True)
    return [
        drum(0.98, 0.06, 0.0, (0.15, 0.15), 0.36, tin, turn=35.0),
        ring(0.98, 0.06, 0.36, (0.146, 0.009), steel),
        ring(0.98, 0.06, 0.008, (0.146, 0.009), steel),
        ball(0.03, -0.55, 0.008 + 0.165, 0.165, glass_ball),
        ball(-0.18, -0.86, 0.065, 0.065, Surface(("orange",), (1, 1), (0.05,) * 3, 90.0)),
        ball(0.30, -0.92, 0.05, 0.05, Surface(("swirl",), (2, 1), (0.05,) * 3, 800.0, mirror=True), 30.0, 40.0),
        block(0.66, -0.86, 0.0, (0.055,) * 3, 27.0, die),
        block(0.83, -0.74, 0.0, (0.055,) * 3, 61.0, die),
        block(0.74, -0.80, 0.11, (0.055,) * 3, 5.0, die),
        *_pencil((-0.36, 0.86), 152.0, "pencil_green"),
        *_pencil((-0.05, 0.92), 197.0, "pencil_yellow"),
        *_wire_star(-0.06, 0.02, 0.008),
    ]


def _pencil(place: tuple[float, float], turn: float, colour: str) -> list[Solid]:
    x, y = place
    angle, radius = math.radians(turn), 0.016
    along = np.array([math.cos(angle), math.sin(angle), 0.0])
    tail, neck, tip = (np.array([x, y, radius]) + reach * along for reach in (-0.28, 0.24, 0.31))
    side = np.array([-along[1], along[0], 0.0])
    cone = np.stack([side, np.cross(along, side), along])
    bare, lead = Surface(("bare_wood",)), Surface(("lead",))
    point = Solid(FRUSTUM, 0.5 * (neck + tip), cone, (radius, 0.003, 0.035, float(CLOSED)), bare)
    body = Solid(
        FRUSTUM,
        0.5 * (tail + neck),
        cone,
        (radius, radius, 0.26, float(CLOSED)),
        Surface((colour,), (1, 1), (0.05,) * 3, 80.0),
    )
    return [body, point, ball(*tip, 0.005, lead), rod(tail - 0.02 * along, tail, 0.0155, Surface(("eraser",)))]


def _wire_star(x: float, y: float, bottom: float, reach: float = 0.21) -> list[Solid]:
    """An octahedron of striped rods with brass knobs, standing on one face."""
    candy = Surface(("candy",), (1.0, 1.0), (0.05,) * 3, 80.0)
    corners = np.concatenate([np.eye(3), -np.eye(3)]) * reach
    axis = np.ones(3) / math.sqrt(3.0)
    side = np.array([1.0, -1.0, 0.0]) / math.sqrt(2.0)
    corners = corners @ np.stack([side, np.cross(axis, side), axis]).T @ pose(20.0)
    knob = 0.022
    corners += np.array([x, y, bottom + knob - corners[:, 2].min()])
    pairs = [(i, j) for i in range(6) for j in range(i) if i - j != 3]
    rods = [rod(corners[i], corners[j], 0.011, candy) for i, j in pairs]
    return rods + [ball(*corner, knob, BRASS) for corner in corners]


def _lights() -> list[Light]:
    """A warm window high on one side and a cooler, weaker lamp on the other."""
    return [
        _lamp(np.array([2.2, -2.0, 2.6]), 0.62, (33.0, 29.5, 24.5)),
        _lamp(np.array([-2.3, 1.5, 2.5]), 0.5, (8.5, 9.2, 10.6)),
    ]


def _lamp(centre: np.ndarray, half: float, radiance: tuple[float, float, float]) -> Light:
    towards = -centre / np.linalg.norm(centre)
    side = np.cross(towards, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    u, v = 2 * half * side, 2 * half * np.cross(towards, side)
    return Light(centre - 0.5 * (u + v), u, v, radiance)


@cache
def build_scene() -> Scene:
    """The still life, its room and its lights, built once."""
    wall = Surface(
        ("gallery", "shelves", "bricks", "wallpaper", "ceiling", "floor"), reflectance=(0.02,) * 3, sharpness=12.0
    )
    centre = np.array([0.0, 0.0, 0.5 * (FLOOR + CEILING)])
    room = Solid(BOX, centre, pose(), (ROOM_HALF, ROOM_HALF, 0.5 * (CEILING - FLOOR), 0.0), wall)
    solids = _table() + _books() + _globe() + _mug() + _small_things() + plant(0.16, 0.60)
    return Scene(solids, room, _lights(), all_textures())


@cache
def packed_scene() -> PackedScene:
    """The arrays of the still life, built once."""
    return pack(build_scene())
