"""Lens models agree with COLMAP's own, forward and back."""

from __future__ import annotations

import numpy as np
import pytest
from example_lenses import LENSES

from gaussian_splatting.dataset.colmap.model import MODEL_OF_NAME
from gaussian_splatting.dataset.lenses import LENS_MODELS, Lens

every_lens = pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.model)


def test_every_supported_model_is_tested() -> None:
    assert {lens.model for lens in LENSES} == set(LENS_MODELS)


@pytest.mark.parametrize("name", LENS_MODELS)
def test_parameter_counts_are_those_of_colmap(name: str) -> None:
    model = LENS_MODELS[name]
    assert model.num_focals + 2 + model.num_coefficients == len(MODEL_OF_NAME[name].parameters)


@every_lens
def test_pixels_are_those_of_colmap(lens: Lens) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    rays = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 2))
    camera = pycolmap.Camera(model=lens.model, width=lens.width, height=lens.height, params=lens.params)
    expected = camera.img_from_cam(np.concatenate([rays, np.ones((200, 1))], axis=1))
    np.testing.assert_allclose(lens.project(rays), expected, rtol=0, atol=1e-10)


@every_lens
def test_rays_of_pixels_project_back_to_them(lens: Lens) -> None:
    pixels = np.random.default_rng(0).uniform(0, 1, (500, 2)) * (lens.width, lens.height)
    np.testing.assert_allclose(lens.project(lens.rays(pixels)), pixels, rtol=0, atol=1e-6)


@every_lens
def test_a_scaled_lens_scales_its_pixels(lens: Lens) -> None:
    rays = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 2))
    scaled = lens.scaled(lens.width // 4, lens.height // 4)
    np.testing.assert_allclose(scaled.project(rays), lens.project(rays) / 4, atol=1e-9)


def test_the_centre_of_the_field_of_view_model_is_not_singular() -> None:
    lens = LENSES[-1]
    np.testing.assert_allclose(lens.project(np.zeros((1, 2))), [[320.0, 240.0]])
    slope = (lens.project(np.array([[1e-5, 0.0]])) - lens.project(np.zeros((1, 2))))[0, 0] / 1e-5
    assert slope == pytest.approx(500 * 2 * np.tan(0.4) / 0.8, rel=1e-6)


def test_pixels_that_no_ray_reaches_are_nan() -> None:
    lens = Lens("OPENCV_FISHEYE", 640, 480, (150.0, 150.0, 320.0, 240.0, 0.0, 0.0, 0.0, 0.0))
    rays = lens.rays(np.array([[0.5, 240.0], [320.0, 240.0]]))  # 122 degrees to the left, and straight ahead
    assert np.isnan(rays[0]).all()
    np.testing.assert_allclose(rays[1], 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("lens", "distorted"),
    [
        (Lens("PINHOLE", 4, 4, (4.0, 4.0, 2.0, 2.0)), False),
        (Lens("OPENCV", 4, 4, (4.0, 4.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0)), False),
        (Lens("OPENCV", 4, 4, (4.0, 4.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.1)), True),
        (Lens("SIMPLE_RADIAL_FISHEYE", 4, 4, (4.0, 2.0, 2.0, 0.0)), True),
    ],
)
def test_zero_coefficients_are_a_pinhole_unless_the_lens_is_a_fisheye(lens: Lens, distorted: bool) -> None:
    assert lens.distorted is distorted
