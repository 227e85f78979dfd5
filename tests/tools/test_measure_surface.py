"""The measure of normals and depths: the truth has no error, and a turned normal has the angle of the turn."""

from __future__ import annotations

from pathlib import Path

import measure_surface
import numpy as np
import pytest
import torch
from demo_scene.cameras import camera_rig
from demo_scene.render import render_geometry
from demo_scene.still_life import packed_scene
from PIL import Image

from gaussian_splatting.geometry.rotations import quaternion_raw_multiply
from gaussian_splatting.models import SurfelGaussianModel

VIEW = camera_rig()[0]
TRUTH = render_geometry(packed_scene(), VIEW)
EVERYWHERE = np.ones(TRUTH.depth.shape, dtype=bool)


def maps_of(normal: np.ndarray, depth: np.ndarray) -> dict[str, np.ndarray]:
    scaled = 0.5 * normal  # blended normals are as long as the coverage
    return {
        "render_normals": scaled, "normals_from_depth": normal, "depth": depth[..., None],
        "render_median": depth[..., None],
    }  # fmt: skip


def test_the_truth_has_no_error() -> None:
    found = measure_surface.figures(maps_of(TRUTH.normal, TRUTH.depth), TRUTH, EVERYWHERE)
    assert all(value == pytest.approx(0, abs=1e-5) for value in found.values())


def test_a_turn_and_a_factor_are_found() -> None:
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    flat = np.zeros_like(TRUTH.normal)
    flat[..., 0] = 1
    truth = TRUTH._replace(normal=flat)
    found = measure_surface.figures(maps_of(flat @ turn.T, 1.1 * TRUTH.depth), truth, EVERYWHERE)
    assert [found[key] for key in ("normal", "normal_median", "normal_of_depth")] == pytest.approx([20, 20, 20])
    assert [found[key] for key in ("depth", "median_depth")] == pytest.approx([0.1, 0.1])


def test_no_normal_is_a_right_angle_away() -> None:
    assert (measure_surface.angle(np.zeros_like(TRUTH.normal), TRUTH.normal) == 90).all()


def test_a_run_is_measured_and_shown(demo_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    surface = np.load(demo_scene / "truth" / "surface.npz")
    points = torch.from_numpy(surface["points"])
    model = SurfelGaussianModel(0, "cpu-2dgs")
    model.create_from_pcd(points, torch.full_like(points, 0.5))
    everywhere = torch.ones(len(points), dtype=torch.bool)
    model.overwrite_rows("opacity", everywhere, torch.full((len(points), 1), 6.0))
    angles = {}
    for name in ("among neighbours", "on edge"):
        model.save_ply(tmp_path / name / "point_cloud" / "iteration_1" / "point_cloud.ply")
        arguments = ["-d", str(tmp_path / name), "-s", str(demo_scene), "--backend", "cpu-2dgs"]
        assert measure_surface.main([*arguments, "--pictures", str(tmp_path / "pictures")]) == 0
        table = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| table"))
        angles[name] = float(table.split("|")[2].strip().rstrip("°"))
        quarter_turn = torch.tensor([0.5**0.5, 0.5**0.5, 0.0, 0.0])  # about the first axis
        model.overwrite_rows("rotation", everywhere, quaternion_raw_multiply(model._rotation.detach(), quarter_turn))
    assert 5 < angles["among neighbours"] < 0.6 * angles["on edge"] < 60
    with Image.open(tmp_path / "pictures" / "view_008.png") as picture:
        assert picture.size == (3 * VIEW.width, VIEW.height)
