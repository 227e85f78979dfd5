"""Where the Gaussians of a COLMAP scene start: at its sparse points, or at random ones when there are too few."""

from __future__ import annotations

import os
import warnings
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.dataset.colmap.model import find_model, qvec2rotmat, read_images, read_points
from gaussian_splatting.dataset.extent import scene_extent_of

FEWEST_POINTS = 4
"""Each Gaussian's size comes from its three nearest neighbours, so fewer points are no start."""
NUM_RANDOM = 20_000


class Startable(Protocol):
    """What can start from a point cloud: a `GaussianModel`."""

    def create_from_pcd(self, points: Tensor, colors: Tensor) -> object:
        """Starts from points [M, 3] with colours [M, 3] in [0, 1]."""


Model = TypeVar("Model", bound=Startable)


def colmap_init(model: Model, colmap_folder: str | os.PathLike[str], *, seed: int = 0) -> Model:
    """Starts the model at the sparse points of a COLMAP scene: points3D.ply, else .bin, else .txt.

    Points that are not finite are dropped with a count, missing colours are grey. Without at least four points in
    different places, 20 000 random grey points between and in front of the cameras are used, with a warning.
    """
    folder = find_model(colmap_folder)
    stored = read_points(folder)
    points = np.zeros((0, 3)) if stored is None else stored.xyz
    colors = np.zeros((0, 3)) if stored is None else stored.rgb / 255.0
    distinct = len(np.unique(points, axis=0)) if len(points) < 10 * FEWEST_POINTS else len(points)
    if distinct < FEWEST_POINTS:
        warnings.warn(
            f"{folder}: {len(points)} sparse points in {distinct} places, too few to start from; "
            f"starting from {NUM_RANDOM} random points (seed {seed})",
            stacklevel=2,
        )
        poses = [(qvec2rotmat(image.qvec), np.array(image.tvec)) for image in read_images(folder).values()]
        points, colors = random_points(poses, seed), np.full((NUM_RANDOM, 3), 0.5)
    model.create_from_pcd(
        torch.from_numpy(np.ascontiguousarray(points, np.float32)),
        torch.from_numpy(np.ascontiguousarray(colors, np.float32)),
    )
    return model


def random_points(poses: list[tuple[np.ndarray, np.ndarray]], seed: int, count: int = NUM_RANDOM) -> np.ndarray:
    """Points [count, 3], evenly in the box of `random_box`, the same for the same seed."""
    low, high = random_box(poses)
    # A seeded draw, not a secret.
    return np.random.default_rng(seed).uniform(low, high, (count, 3))


def random_box(poses: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest corner [3] of a box around the cameras and what they look at.

    `poses` are R [3, 3] and T [3] from world to camera. The box spans the camera centres and, for each camera, the
    point two scene extents in front of it; it is made 10 % larger.
    """
    centers = np.stack([-R.T @ T for R, T in poses])
    forward = np.stack([R[2] for R, _ in poses])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the dataset says what is odd about the cameras; here it changes little
        extent = scene_extent_of(centers)
    corners = np.concatenate([centers, centers + 2 * extent * forward])
    low, high = np.percentile(corners, [1, 99], axis=0)  # one stray camera must not blow the box up
    margin = np.maximum(0.1 * (high - low), 0.1 * extent)
    return low - margin, high + margin
