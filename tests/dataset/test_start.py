"""Starts: at points, at random, at depth maps, at files; each states what it did."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from example_scenes import SceneMaker
from transforms_scenes import SHARED, write_scene

from gaussian_splatting.dataset.colmap import read_colmap_points3D
from gaussian_splatting.dataset.scenes import open_scene
from gaussian_splatting.dataset.start import Init, parse_init, start_gaussians
from gaussian_splatting.dataset.start_depth import fitted_line
from gaussian_splatting.errors import SceneError
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.io.ply import write_point_cloud
from gaussian_splatting.trainer import SHLiftTrainer

POINTS = np.random.default_rng(1).uniform(-1, 1, (40, 3))


def started(source: Path, **choices: object) -> np.ndarray:
    """The places [N, 3] where a model starts."""
    return start_gaussians(GaussianModel(1), source, **choices).get_xyz.detach().numpy()  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "init"),
    [
        ("points", Init("points")),
        ("random", Init("random", 100_000)),
        ("random:500", Init("random", 500)),
        ("depth:4", Init("depth", 4)),
    ],
)
def test_init_as_it_is_written(text: str, init: Init) -> None:
    assert parse_init(text) == init


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rendom", "expected points, random, random:COUNT, depth or depth:COUNT"),
        ("points:5", "expected points"),
        ("random:", "expected points"),
        ("random:-5", "expected points"),
        ("random:3", "3 points; give from 4 to 50000000"),
        ("random:999999999", "give from 4 to"),
    ],
)
def test_init_that_means_nothing(text: str, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        parse_init(text)


def test_the_points_that_the_file_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_scene(tmp_path, shared=SHARED | {"ply_file_path": "cloud.ply"})
    colors = np.arange(120, dtype=np.uint8).reshape(40, 3)
    write_point_cloud(root / "cloud.ply", POINTS, colors)
    with caplog.at_level("INFO"):
        model = start_gaussians(GaussianModel(0), root)
    np.testing.assert_allclose(model.get_xyz.detach().numpy(), POINTS, atol=1e-6)
    torch.testing.assert_close(model.get_features_dc[:, 0] * 0.28209479177 + 0.5, torch.from_numpy(colors) / 255)
    assert "starting from the 40 points of the scene" in caplog.text


def test_no_points_are_replaced_by_random_ones_and_this_is_said(tmp_path: Path) -> None:
    root = write_scene(tmp_path)
    with pytest.warns(UserWarning, match=r"no points; starting from 100000 random points \(seed 0\)"):
        assert len(started(root)) == 100_000
    write_point_cloud(root / "points3d.ply", np.ones((30, 3)))
    with pytest.warns(UserWarning, match="30 points in 1 places, too few to start from"):
        assert len(started(root)) == 100_000


@pytest.mark.parametrize("kind", ["colmap", "nerf", "blender"])
def test_random_points_follow_the_seed_and_stay_in_their_box(
    make_scene: SceneMaker, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    shared = {"camera_angle_x": 0.7} if kind == "blender" else None
    root = make_scene() if kind == "colmap" else write_scene(tmp_path / "nerf", shared=shared)
    with caplog.at_level("INFO"):
        first = started(root, init="random:500", seed=5)
    np.testing.assert_array_equal(first, started(root, init="random:500", seed=5))
    assert not np.array_equal(first, started(root, init="random:500", seed=6))
    assert len(first) == 500
    limit = 1.3 if kind == "blender" else 12
    assert limit / 6 < np.abs(first).max() <= limit
    assert "starting from 500 random points in the " in caplog.text


def wall_scene(root: Path, *, scales: tuple[float, float] | None, with_points: bool = True) -> Path:
    """Level cameras around a cylinder of radius 1 as far as depth maps tell: the true inverse depth, or distorted."""
    root = write_scene(root, shared=SHARED | {"ply_file_path": "cloud.ply"})
    (root / "depths").mkdir()
    dataset = open_scene(root, load_depth=False)
    points = []
    for index, name in enumerate(dataset.names):
        camera = dataset.geometry(index)
        rows, columns = np.mgrid[: camera.image_height, : camera.image_width] + 0.5
        across = (columns - float(camera.K[0, 2])) / float(camera.K[0, 0])
        inside = np.abs(across) < 0.3  # the cylinder is in front there: |t x| = 1 has a solution
        a, b, c = across**2 + 1, -6.0, 8.0
        depth = np.where(inside, (-b - np.sqrt(np.maximum(b * b - 4 * a * c, 0))) / (2 * a), 0)
        inverse = np.divide(1, depth, out=np.zeros_like(depth), where=depth > 0)
        down = (rows - float(camera.K[1, 2])) / float(camera.K[1, 1])
        seen = np.stack([across, down, np.ones_like(across)], -1)[inside] * depth[inside][:, None]
        points.append((seen - camera.T.numpy()) @ camera.R.numpy())
        stored = inverse if scales is None else np.where(inside, (inverse - scales[1]) / scales[0], 0)
        tifffile.imwrite(root / "depths" / f"{Path(name).stem}.tiff", stored.astype(np.float32))
    cloud = np.concatenate(points)[::7]
    hidden = np.random.default_rng(0).uniform(-0.5, 0.5, (len(cloud) // 5, 3))  # behind the surface, from everywhere
    write_point_cloud(root / "cloud.ply", np.concatenate([cloud, hidden]) if with_points else np.zeros((0, 3)))
    return root


def on_the_wall(points: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(points[:, 0], points[:, 1]) - 1)


@pytest.mark.parametrize("scales", [(1.0, 0.0), (0.01, 0.2)])
def test_free_depth_maps_are_fitted_to_the_sparse_points(
    tmp_path: Path, scales: tuple[float, float], caplog: pytest.LogCaptureFixture
) -> None:
    """Most sparse points that fall on a view are hidden from it; the fit is not misled."""
    root = wall_scene(tmp_path, scales=scales)
    with caplog.at_level("INFO"):
        points = started(root, init="depth:600")
    assert 500 < len(points) <= 600
    assert np.median(on_the_wall(points)) < 2e-3
    assert "0 of 3 depth maps in known units, 3 fitted to" in caplog.text
    line = fitted_line(open_scene(root)[0], np.zeros((5, 3)), 0)
    assert line is None, "five points are no fit"


def test_depth_maps_in_known_units_need_no_points(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = wall_scene(tmp_path, scales=(0.01, 0.2), with_points=False)
    params = {stem: {"scale": 0.01 * 65536, "offset": 0.2} for stem in "abc"}
    (root / "depth_params.json").write_text(json.dumps(params))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with caplog.at_level("INFO"):
            points = started(root, init="depth:300")
    near = on_the_wall(points) < 1e-4
    assert near.mean() > 0.3, "pixels without the cylinder hold 0, which the scale makes 1/5"
    assert "3 of 3 depth maps in known units, 0 fitted" in caplog.text


def test_depth_maps_without_scale_or_points_are_refused(tmp_path: Path) -> None:
    root = wall_scene(tmp_path, scales=(0.01, 0.2), with_points=False)
    with pytest.raises(SceneError, match="3 left out.*give depth_params.json or sparse points"):
        started(root, init="depth")
    with pytest.raises(SceneError, match="none of the 3 views has a depth map; use --init points or random"):
        started(write_scene(tmp_path / "flat"), init="depth")


def test_depth_starts_use_only_the_given_views(tmp_path: Path) -> None:
    """Held-out views stay unseen: the side of the cylinder that only they see gets no points."""
    root = wall_scene(tmp_path, scales=(1.0, 0.0))
    towards = open_scene(root, "test").geometry(0).camera_center.numpy() / 3
    assert (started(root, init="depth:300") @ towards).max() > 0.9
    assert (started(root, init="depth:300", cameras=open_scene(root, "train")) @ towards).max() < 0.9


def test_files_as_starts(tmp_path: Path, make_scene: SceneMaker) -> None:
    scene = make_scene()
    write_point_cloud(tmp_path / "cloud.ply", POINTS)
    np.testing.assert_allclose(started(scene, init_ply=tmp_path / "cloud.ply"), POINTS, atol=1e-6)
    model = start_gaussians(GaussianModel(1), scene)
    with torch.no_grad():
        model._scaling += 1.5
    model.save_ply(tmp_path / "splat.ply")
    again = start_gaussians(GaussianModel(1), scene, init_ply=tmp_path / "splat.ply")
    torch.testing.assert_close(again._scaling, model._scaling)
    write_point_cloud(tmp_path / "few.ply", POINTS[:2])
    with pytest.raises(SceneError, match="2 points; give a point cloud with at least 4"):
        started(scene, init_ply=tmp_path / "few.ply")


def test_depth_maps_of_the_demo_lie_on_its_points(demo_scene: Path) -> None:
    """The shipped depth maps have no scale; fitted, they lie where the sparse points are."""
    from scipy.spatial import cKDTree

    points = started(demo_scene, init="depth:20000")
    sparse = read_colmap_points3D(demo_scene)[0]
    near = sparse[np.linalg.norm(sparse, axis=1) < 2]
    assert np.median(cKDTree(points).query(near)[0]) < 0.04


@pytest.mark.parametrize(("scene", "steps"), [("lego400_blender", 60), ("fox_nerf", 40)])
def test_real_scenes_train_from_random_points(shared_data: Path, scene: str, steps: int) -> None:
    """A quarter of the size and a few steps: the loss falls by a third at least."""
    cameras = open_scene(shared_data / scene, "train", resolution=8)
    cameras.bg_color = (1.0, 1.0, 1.0)
    model = start_gaussians(GaussianModel(0, "cpu"), shared_data / scene, init="random:4000", cameras=cameras)
    trainer = SHLiftTrainer(model, cameras, position_lr_init=1e-3, opacity_lr=0.1, scaling_lr=0.02, feature_lr=0.02)
    losses = [float(trainer.step(cameras[step % 8])[0]) for step in range(steps)]
    assert np.mean(losses[-8:]) < 0.67 * np.mean(losses[:8])
