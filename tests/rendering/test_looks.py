"""Depth, coverage and normals as pictures: what is near is bright, and normals point where they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_run import HEIGHT, WIDTH, ring_cameras, splat

from gaussian_splatting.camera import pinhole_camera
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.models import SurfelGaussianModel
from gaussian_splatting.rendering.looks import LOOKS, depth_range, film_depth_range, picture_of
from gaussian_splatting.rendering.picture_files import to_bytes


def wall(model: GaussianModel, normal: tuple[float, float, float]) -> GaussianModel:
    """A densely covered plane through the origin with this unit normal."""
    n = torch.tensor(normal)
    first = torch.linalg.cross(n, torch.tensor([0.3, 1.0, 0.2]))
    first = first / first.norm()
    second = torch.linalg.cross(n, first)
    steps = torch.linspace(-3, 3, 41)
    grid = torch.cartesian_prod(steps, steps)
    model.create_from_pcd(grid[:, :1] * first + grid[:, 1:] * second, torch.full((len(grid), 3), 0.5))
    with torch.no_grad():
        model._opacity.fill_(4.0)
        if model.kind == "2dgs":
            from gaussian_splatting.geometry.rotations import matrix_to_quaternion

            model._rotation[:] = matrix_to_quaternion(torch.stack([first, second, n], dim=1))
        else:
            model._scaling.fill_(float(np.log(0.1)))
    return model


@pytest.mark.parametrize("kind", [GaussianModel, SurfelGaussianModel])
@pytest.mark.parametrize(
    ("normal", "color"),
    [((0.0, 0.0, -1.0), (128, 128, 255)), ((0.6, 0.0, -0.8), (204, 128, 230)), ((0.0, -0.6, -0.8), (128, 204, 230))],
)
def test_normals_are_red_to_the_right_green_up_and_blue_towards_the_camera(kind, normal, color):
    model = wall(kind(0, backend="reference" if kind is GaussianModel else "reference-2dgs"), normal)
    camera = pinhole_camera(24, 24, 60.0, 60.0, np.eye(3), np.array([0.0, 0.0, 3.0]))
    with torch.no_grad():
        picture = picture_of(model(camera), camera, "normal")
    assert np.abs(picture[12, 12].astype(int) - color).max() <= 6


def test_near_is_bright_and_nothing_is_black():
    camera = ring_cameras(1)[0]
    inverse = torch.zeros(1, HEIGHT, WIDTH)
    inverse[0, :, :10], inverse[0, :, 10:20] = 1.0, 0.2
    picture = picture_of({"invdepth": inverse}, camera, "depth").sum(axis=2)
    assert picture[0, 0] > picture[0, 15] >= picture[0, 40]
    assert picture_of({"invdepth": inverse}, camera, "depth", (0.0, 2.0)).sum(axis=2)[0, 0] < picture[0, 0]
    assert picture_of({"invdepth": 0 * inverse}, camera, "depth").max() == picture[0, 40].max() == 4


def test_color_and_coverage_are_what_was_rendered():
    camera, model = ring_cameras(1)[0], splat()
    with torch.no_grad():
        out = model(camera)
    assert np.array_equal(picture_of(out, camera, "color"), to_bytes(out["render"]))
    assert np.array_equal(picture_of(out, camera, "alpha")[..., 1], to_bytes(out["alpha"].expand(3, -1, -1))[..., 0])
    assert {picture_of(out, camera, look).shape for look in LOOKS} == {(HEIGHT, WIDTH, 3)}


def test_a_film_has_one_depth_range():
    cameras, model = ring_cameras(9, arc=3.0), splat()
    low, high = film_depth_range(model, cameras)
    with torch.no_grad():
        own = [depth_range([model(camera)["invdepth"][0].numpy()]) for camera in cameras]
    assert min(o[0] for o in own) <= low < high <= max(o[1] for o in own)
    assert depth_range([np.zeros((2, 2), np.float32)]) == (0.0, 1.0)
