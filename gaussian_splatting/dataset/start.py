"""Where Gaussians start: at the points of the scene, at random ones, at its depth maps, or at a file."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar, cast

import numpy as np
import torch

from gaussian_splatting.dataset.colmap.start import FEWEST_POINTS, Startable, colmap_init, random_box
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.dataset.scenes import Scene, find_scene, open_scene, scene_points
from gaussian_splatting.dataset.start_hull import outlooks, points_inside
from gaussian_splatting.errors import SceneError
from gaussian_splatting.geometry.arrays import float64_array
from gaussian_splatting.io.ply import read_point_cloud
from gaussian_splatting.io.ply_rows import PlyBody
from gaussian_splatting.io.reader import Reader

log = logging.getLogger("gaussian_splatting")
PathLike = str | os.PathLike[str]
InitKind = Literal["points", "random", "depth"]
DEFAULT_COUNT = 100_000
MOST = 50_000_000
SYNTHETIC_HALF_SIDE = 1.3
"""NeRF-synthetic scenes lie in the cube from -1.3 to 1.3."""


class StartableModel(Startable, Protocol):
    """What can start from points or from a splat file: a `GaussianModel`."""

    started_at_random: bool

    def load_ply(self, path: PathLike) -> object:
        """Takes the Gaussians of a splat file."""


Model = TypeVar("Model", bound=StartableModel)


@dataclass(frozen=True)
class Init:
    """How to start, and with how many points where that is free."""

    kind: InitKind
    count: int = DEFAULT_COUNT


def parse_init(text: str) -> Init:
    """`points`, `random`, `random:50000`, `depth` or `depth:200000`; a `SceneError` for anything else."""
    kind, colon, number = text.partition(":")
    choices: dict[str, InitKind] = {"points": "points", "random": "random", "depth": "depth"}
    if kind in choices and not colon:
        return Init(choices[kind])
    if kind in ("random", "depth") and number.isascii() and number.isdigit() and len(number) < 10:
        if FEWEST_POINTS <= int(number) <= MOST:
            return Init(choices[kind], int(number))
        raise SceneError(f"--init {text}: {number} points; give from {FEWEST_POINTS} to {MOST}")
    raise SceneError(f"--init {text}: expected points, random, random:COUNT, depth or depth:COUNT")


def start_gaussians(
    model: Model,
    source: PathLike,
    *,
    init: str | Init = "points",
    init_ply: PathLike | None = None,
    seed: int = 0,
    cameras: CameraDataset | None = None,
) -> Model:
    """Starts the model where `init` says, or at the points or Gaussians of `init_ply`; says what it did in the log.

    "points" takes the sparse points of the scene, and random ones with a warning when there are too few. "random:N"
    draws N grey points in a box around the cameras and what they look at; in the cube of 1.3 for NeRF-synthetic scenes.
    At least three views see each; where pictures have an alpha channel that lays them over the background, the points
    lie inside the silhouettes.
    "depth:N" draws N pixels of the depth maps and puts points there, see `depth_points`. `cameras` are the views to use
    for that (all views of the scene by default), so that held-out views stay unseen.
    """
    if init_ply is not None:
        return _start_at_file(model, Path(init_ply))
    init = parse_init(init) if isinstance(init, str) else init
    scene = find_scene(source)
    if init.kind == "points":
        return _start_at_points(model, scene, init.count, seed, cameras)
    if cameras is None:
        cameras = open_scene(source, load_mask=init.kind == "depth", load_depth=init.kind == "depth")
    if init.kind == "random":
        return _start_at_random(model, scene, init.count, seed, cameras)
    from gaussian_splatting.dataset.start_depth import depth_points

    points, colors = depth_points(cameras, lambda: scene_points(scene), init.count, seed)
    return _start(model, points, colors)


def _start_at_points(model: Model, scene: Scene, count: int, seed: int, cameras: CameraDataset | None) -> Model:
    if scene.kind == "colmap":
        return colmap_init(model, scene.path, seed=seed)
    found = scene_points(scene)
    xyz = np.zeros((0, 3)) if found is None else found[0]
    distinct = len(np.unique(xyz, axis=0)) if len(xyz) < 10 * FEWEST_POINTS else len(xyz)
    if found is not None and distinct >= FEWEST_POINTS:
        log.info("starting from the %d points of the scene", len(xyz))
        return _start(model, xyz, _fractions(found[1], len(xyz)))
    stated = "no points" if found is None else f"{len(xyz)} points in {distinct} places, too few to start from"
    warnings.warn(f"{scene.path}: {stated}; starting from {count} random points (seed {seed})", stacklevel=3)
    return _start_at_random(model, scene, count, seed, cameras or open_scene(scene.path, load_depth=False))


def _start_at_random(model: Model, scene: Scene, count: int, seed: int, cameras: CameraDataset) -> Model:
    if scene.is_synthetic:
        low, high = np.full(3, -SYNTHETIC_HALF_SIDE), np.full(3, SYNTHETIC_HALF_SIDE)
    else:
        geometry = [cameras.geometry(index) for index in range(len(cameras))]
        low, high = random_box([(float64_array(camera.R), float64_array(camera.T)) for camera in geometry])
    views = outlooks(cameras)
    points, said = points_inside(lambda random, num: random.uniform(low, high, (num, 3)), count, seed, views)
    corners = (np.array2string(corner, precision=3) for corner in (low, high))
    log.info("starting from %d random points in the box from %s to %s (seed %d)%s", count, *corners, seed, said)
    started = _start(model, points, np.full((count, 3), 0.5))
    started.started_at_random = True
    return started


def _start_at_file(model: Model, path: Path) -> Model:
    if path.suffix.lower() != ".ply" or _holds_gaussians(path):
        log.info("starting from the Gaussians of %s", path)
        return cast(Model, model.load_ply(path))
    xyz, rgb = read_point_cloud(path)
    if len(xyz) < FEWEST_POINTS:
        raise SceneError(f"{path}: {len(xyz)} points; give a point cloud with at least {FEWEST_POINTS}")
    log.info("starting from the %d points of %s", len(xyz), path)
    return _start(model, xyz, _fractions(rgb, len(xyz)))


def _holds_gaussians(path: Path) -> bool:
    """Whether a PLY file holds splats, plain or packed, rather than points."""
    elements = PlyBody(Reader.open(path)).header.elements
    names = {column.name for element in elements for column in element.scalars}
    return bool(names & {"f_dc_0", "packed_position"})


def _start(model: Model, points: np.ndarray, colors: np.ndarray) -> Model:
    model.create_from_pcd(
        torch.from_numpy(np.ascontiguousarray(points, np.float32)),
        torch.from_numpy(np.ascontiguousarray(colors, np.float32)),
    )
    return model


def _fractions(rgb: np.ndarray | None, count: int) -> np.ndarray:
    """Colours [M, 3] in [0, 1]; grey where there are none."""
    return np.full((count, 3), 0.5) if rgb is None else rgb / 255.0
