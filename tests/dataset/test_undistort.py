"""Undistorted pictures are those that COLMAP makes, in size, in geometry and in content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_lenses import LENSES
from PIL import Image

from gaussian_splatting.dataset.colmap import ColmapCameraDataset
from gaussian_splatting.dataset.colmap.model import read_model
from gaussian_splatting.dataset.lenses import Lens
from gaussian_splatting.dataset.undistort import pixel_map, undistort, undistorted_pinhole
from gaussian_splatting.errors import SceneError

DISTORTED = [lens for lens in LENSES if lens.distorted]
BARREL = Lens("OPENCV", 640, 480, (500.0, 510.0, 330.0, 230.0, -0.25, 0.1, 0.002, -0.003))
WIDE = Lens("OPENCV_FISHEYE", 640, 480, (200.0, 200.0, 320.0, 240.0, 0.0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize("lens", DISTORTED, ids=lambda lens: lens.model)
def test_the_pinhole_camera_is_the_one_that_colmap_chooses(lens: Lens) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    camera = pycolmap.Camera(model=lens.model, width=lens.width, height=lens.height, params=lens.params)
    expected = pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(), camera)
    pinhole = undistorted_pinhole(lens)
    assert (pinhole.width, pinhole.height) == (expected.width, expected.height)
    found = [pinhole.fx, pinhole.fy, pinhole.cx, pinhole.cy]
    np.testing.assert_allclose(found, expected.params, rtol=1e-12)


@pytest.mark.parametrize("lens", [*DISTORTED, BARREL], ids=lambda lens: lens.model)
def test_no_pixel_is_blank(lens: Lens) -> None:
    assert pixel_map(lens).covered is None


def test_a_pinhole_is_left_as_it_is() -> None:
    pinhole = undistorted_pinhole(Lens("OPENCV", 64, 48, (50.0, 51.0, 30.0, 20.0, 0.0, 0.0, 0.0, 0.0)))
    assert (pinhole.width, pinhole.height, pinhole.fx, pinhole.fy, pinhole.cx, pinhole.cy) == (64, 48, 50, 51, 30, 20)


def test_a_lens_of_more_than_90_degrees_to_each_side_has_a_pinhole_within_limits() -> None:
    pinhole = undistorted_pinhole(WIDE)
    assert (pinhole.width, pinhole.height, pinhole.cx, pinhole.cy) == (1280, 960, 640.0, 480.0)


def test_what_a_lens_did_not_see_is_marked() -> None:
    """COLMAP's limit on how much smaller the picture may become leaves this one blank around its middle."""
    pixels = pixel_map(Lens("SIMPLE_RADIAL", 640, 480, (100.0, 320.0, 240.0, 50.0)))
    assert pixels.covered is not None
    assert 0 < (pixels.covered == 255).mean() < 1
    inside = (np.abs(pixels.x - 319.5) <= 320) & (np.abs(pixels.y - 239.5) <= 240)
    np.testing.assert_array_equal(pixels.covered == 255, inside)


def test_a_lens_that_folds_the_picture_is_refused() -> None:
    lens = Lens("SIMPLE_RADIAL", 640, 480, (100.0, 320.0, 240.0, -0.9))
    with pytest.raises(SceneError, match="cannot be undistorted: its distortion folds the picture over; estimate"):
        undistorted_pinhole(lens)


def test_a_picture_that_opencv_cannot_address_is_refused() -> None:
    with pytest.raises(SceneError, match=r"40000 x 10 pixels is too large to undistort \(limit 32766 per side\)"):
        pixel_map(Lens("OPENCV", 40_000, 10, (9e4, 9e4, 2e4, 5.0, -0.1, 0.0, 0.0, 0.0)))


def test_a_straight_line_through_the_lens_becomes_straight_again() -> None:
    """A picture whose colour is the position of the ray: undistorted, the colour grows linearly across it."""
    pixels = np.stack(np.meshgrid(np.arange(640) + 0.5, np.arange(480) + 0.5), -1)
    rays = BARREL.rays(pixels.reshape(-1, 2)).reshape(480, 640, 2).astype(np.float32)
    straight = undistort(rays, pixel_map(BARREL))
    pinhole = undistorted_pinhole(BARREL)
    x = (np.arange(pinhole.width) + 0.5 - pinhole.cx) / pinhole.fx
    y = (np.arange(pinhole.height) + 0.5 - pinhole.cy) / pinhole.fy
    inner = slice(2, -2)  # the outermost pixels are filled by repetition
    error = straight - np.stack(np.meshgrid(x, y), -1)
    assert np.abs(error[inner, inner] * pinhole.fx).max() < 0.1


def test_points_of_a_real_scene_land_where_their_distorted_projections_map_to(shared_data: Path) -> None:
    """The undistortion of the projection through the lens is the projection by the view, to 0.1 pixels."""
    scene = shared_data / "sceaux_opencv"
    model, dataset = read_model(scene / "sparse" / "0"), ColmapCameraDataset(scene)
    assert model.points is not None
    lens = Lens(*next((c.model, c.width, c.height, c.params) for c in model.cameras.values()))
    for view in dataset.views:
        points = model.points.xyz @ view.R.T + view.T
        points = points[points[:, 2] > 0]
        rays = points[:, :2] / points[:, 2:]
        distorted = lens.project(rays)
        inside = ((distorted > 1) & (distorted < (lens.width - 1, lens.height - 1))).all(axis=1)
        projected = rays * (view.fx, view.fy) + (view.cx, view.cy)
        seen = inside & ((projected > 1) & (projected < (view.width - 1, view.height - 1))).all(axis=1)
        assert seen.sum() > 500
        back = lens.rays(distorted[seen]) * (view.fx, view.fy) + (view.cx, view.cy)
        np.testing.assert_allclose(back, projected[seen], rtol=0, atol=1e-4)
        # The map in use, read at the undistorted position, points at the distorted one.
        pixels = pixel_map(lens)
        column, row = np.floor(projected[seen]).astype(int).T
        ray = (np.stack([column, row], -1) + 0.5 - (view.cx, view.cy)) / (view.fx, view.fy)
        found = np.stack([pixels.x[row, column], pixels.y[row, column]], -1) + 0.5
        assert np.abs(found - lens.project(ray)).max() < 0.1


def test_pictures_of_a_real_scene_are_those_that_colmap_makes(shared_data: Path, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    scene = shared_data / "sceaux_opencv"
    pycolmap.undistort_images(
        tmp_path, scene / "sparse" / "0", scene / "images", image_names=["100_7100.jpg", "100_7105.jpg"]
    )
    dataset = ColmapCameraDataset(scene)
    for name in ("100_7100.jpg", "100_7105.jpg"):
        ours = dataset.pictures[dataset.names.index(name)].colors
        assert ours is not None
        theirs = np.asarray(Image.open(tmp_path / "images" / name)).astype(float)
        assert ours.shape == theirs.shape
        psnr = 10 * np.log10(255**2 / np.mean((ours.numpy() - theirs) ** 2))
        assert psnr > 45  # COLMAP's result went through JPEG
