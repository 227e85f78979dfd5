"""A model starts at the sparse points, or at random ones when there are too few; never at nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from example_scenes import SceneMaker
from torch import Tensor

from gaussian_splatting.dataset.colmap import colmap_init, read_colmap_points3D
from gaussian_splatting.dataset.colmap.model import read_points
from gaussian_splatting.dataset.colmap.start import NUM_RANDOM, random_points
from gaussian_splatting.errors import SceneError
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.io.ply import write_point_cloud


class Recorder:
    """Keeps the points it is started with."""

    def create_from_pcd(self, points: Tensor, colors: Tensor) -> Recorder:
        self.points, self.colors = points, colors
        return self


def test_the_sparse_points_are_the_start(make_scene: SceneMaker) -> None:
    scene = make_scene()
    stored = read_points(scene / "sparse" / "0")
    assert stored is not None
    started = colmap_init(Recorder(), scene)
    torch.testing.assert_close(started.points, torch.from_numpy(stored.xyz).float())
    torch.testing.assert_close(started.colors, torch.from_numpy(stored.rgb).float() / 255)


@pytest.mark.parametrize(("scene", "count"), [("fox_colmap", 10979), ("kermit_raw", 647)])
def test_real_scenes_start_a_model(shared_data: Path, scene: str, count: int) -> None:
    model = GaussianModel(3)
    assert colmap_init(model, shared_data / scene) is model
    assert model.get_xyz.shape == (count, 3)
    assert torch.isfinite(model._scaling).all()


def test_a_ply_wins(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_point_cloud(scene / "sparse" / "0" / "points3D.ply", np.arange(15.0).reshape(5, 3))
    started = colmap_init(Recorder(), scene)
    assert started.points.tolist() == np.arange(15.0).reshape(5, 3).tolist()
    assert torch.allclose(started.colors, torch.full((5, 3), 128 / 255))


@pytest.mark.parametrize("num_points", [0, 1, 3])
def test_too_few_points_are_replaced_by_random_ones(make_scene: SceneMaker, num_points: int) -> None:
    scene = make_scene(num_points=num_points)
    message = (
        rf"{num_points} sparse points in {num_points} places, too few .* from {NUM_RANDOM} random points \(seed 0\)"
    )
    with pytest.warns(UserWarning, match=message):
        started = colmap_init(Recorder(), scene)
    assert started.points.shape == started.colors.shape == (NUM_RANDOM, 3)
    assert (started.colors == 0.5).all()


def test_missing_points_are_replaced_by_random_ones(make_scene: SceneMaker) -> None:
    scene = make_scene()
    (scene / "sparse" / "0" / "points3D.bin").unlink()
    with pytest.warns(UserWarning, match="0 sparse points in 0 places, too few to start from"):
        assert len(colmap_init(Recorder(), scene).points) == NUM_RANDOM
    with pytest.raises(SceneError, match=r"no points3D\.ply, \.bin or \.txt; start from random points"):
        read_colmap_points3D(scene)


def test_coincident_points_are_too_few(make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_point_cloud(scene / "sparse" / "0" / "points3D.ply", np.ones((30, 3)))
    with pytest.warns(UserWarning, match="30 sparse points in 1 places, too few"):
        assert len(colmap_init(Recorder(), scene).points) == NUM_RANDOM


def test_points_that_are_not_finite_are_dropped_with_a_count(make_scene: SceneMaker) -> None:
    scene = make_scene()
    rows = ["1 2 3", "nan 0 0", "4 5 6", "7 8 9", "1 inf 1", "3 2 1"]
    header = "ply\nformat ascii 1.0\nelement vertex 6\n" + "".join(f"property float {axis}\n" for axis in "xyz")
    (scene / "sparse" / "0" / "points3D.ply").write_text(header + "end_header\n" + "\n".join(rows) + "\n")
    with pytest.warns(UserWarning, match="2 of 6 points"):
        assert len(colmap_init(Recorder(), scene).points) == 4


def test_black_points_stay_black(make_scene: SceneMaker) -> None:
    scene = make_scene()
    path = scene / "sparse" / "0" / "points3D.ply"
    write_point_cloud(path, np.arange(15.0).reshape(5, 3), np.zeros((5, 3), np.uint8))
    assert not colmap_init(Recorder(), scene).colors.any()


def test_random_points_are_equal_for_equal_seeds_and_surround_what_is_looked_at() -> None:
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    poses = []
    for angle in angles:  # on a circle of radius 4 around the origin, looking at it
        R = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        poses.append((R, np.array([0.0, 0.0, 4.0])))
    points = random_points(poses, seed=3)
    np.testing.assert_array_equal(points, random_points(poses, seed=3))
    assert not np.array_equal(points, random_points(poses, seed=4))
    assert (np.linalg.norm(points, axis=1) < 3).sum() > 100
    assert np.abs(points).max() < 20
