"""Every way from the camera to the pixels gives the same pixel, also with an off-centre principal point."""

import math

import pytest
import torch

from gaussian_splatting.geometry.projection import (
    focal2fov,
    fov2focal,
    getK,
    getProjectionMatrix,
    getWorld2View,
    getWorld2View2,
    projection_from_K,
    unproject,
)
from gaussian_splatting.geometry.rotations import quaternion_to_matrix

WIDTH, HEIGHT = 64, 48


def some_pose() -> tuple[torch.Tensor, torch.Tensor]:
    R = quaternion_to_matrix(torch.tensor([0.9, 0.1, -0.3, 0.2], dtype=torch.float64))
    return R, torch.tensor([0.3, -0.2, 4.0], dtype=torch.float64)


def test_focal_length_and_field_of_view_are_inverse():
    assert focal2fov(fov2focal(1.1, 640), 640) == pytest.approx(1.1)
    assert fov2focal(math.pi / 2, 100) == pytest.approx(50)
    fov = torch.tensor([0.5, 1.5], dtype=torch.float64)
    torch.testing.assert_close(focal2fov(fov2focal(fov, 7), 7), fov)


def test_K_has_the_middle_as_its_principal_point_unless_told():
    assert getK(math.pi / 2, math.pi / 2, 100, 50).tolist() == [[50, 0, 50], [0, 25, 25], [0, 0, 1]]
    K = getK(torch.tensor(1.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64), 100, 50, cx=40, cy=30)
    assert K[:2, 2].tolist() == [40, 30]


def test_the_clip_matrix_finds_the_pixel_that_K_finds():
    K = torch.tensor([[70.0, 0, 25.5], [0, 60.0, 30.25], [0, 0, 1]], dtype=torch.float64)
    points = torch.randn(20, 3, dtype=torch.float64) + torch.tensor([0.0, 0.0, 5.0])
    clip = torch.cat([points, torch.ones_like(points[:, :1])], dim=1) @ projection_from_K(K, WIDTH, HEIGHT).T
    normalised = clip[:, :2] / clip[:, 3:]
    pixels = (normalised + 1) / 2 * torch.tensor([WIDTH, HEIGHT], dtype=torch.float64)
    expected = points @ K.T
    torch.testing.assert_close(pixels, expected[:, :2] / expected[:, 2:])


def test_the_clip_matrix_maps_near_to_zero_and_far_to_one():
    P = getProjectionMatrix(0.01, 100.0, torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64))
    for depth, expected in ((0.01, 0.0), (100.0, 1.0)):
        clip = P @ torch.tensor([0, 0, depth, 1], dtype=torch.float64)
        assert float(clip[2] / clip[3]) == pytest.approx(expected, abs=1e-12)
        assert float(clip[3]) == pytest.approx(depth)


def test_the_clip_matrix_is_the_published_one_for_a_centred_camera():
    P = getProjectionMatrix(0.01, 100.0, 1.0, 0.7)
    expected = torch.zeros(4, 4)
    expected[0, 0], expected[1, 1] = 1 / math.tan(0.5), 1 / math.tan(0.35)
    expected[2, 2], expected[2, 3], expected[3, 2] = 100 / 99.99, -1 / 99.99, 1
    torch.testing.assert_close(P, expected)


def test_world_points_move_into_the_camera():
    R, t = some_pose()
    point = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    moved = getWorld2View(R, t) @ torch.cat([point, torch.ones(1, dtype=torch.float64)])
    torch.testing.assert_close(moved[:3], R @ point + t)
    assert getWorld2View(R, t)[3].tolist() == [0, 0, 0, 1]


def test_the_view_matrix_carries_gradients():
    R, t = (value.requires_grad_() for value in some_pose())
    getWorld2View(R, t).sum().backward()
    assert torch.equal(t.grad, torch.ones(3, dtype=torch.float64))
    assert torch.equal(R.grad, torch.ones(3, 3, dtype=torch.float64))


def test_recentring_moves_and_scales_the_camera_centre():
    R, t = some_pose()
    centre = -R.T @ t
    shift = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    moved = torch.linalg.inv(getWorld2View2(R, t, shift, 3.0))
    torch.testing.assert_close(moved[:3, 3], (centre + shift) * 3)
    torch.testing.assert_close(getWorld2View2(R, t), getWorld2View(R, t))


def test_unprojected_points_fall_back_on_pixel_centres():
    K = torch.tensor([[70.0, 0, 25.5], [0, 60.0, 30.25], [0, 0, 1]], dtype=torch.float64)
    depth = torch.rand(HEIGHT, WIDTH, dtype=torch.float64) + 1
    points = unproject(depth, K)
    pixels = points @ K.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    assert points.shape == (HEIGHT, WIDTH, 3)
    assert torch.equal(points[..., 2], depth)
    torch.testing.assert_close(pixels[5, 7], torch.tensor([7.5, 5.5], dtype=torch.float64))
    torch.testing.assert_close(pixels[-1, -1], torch.tensor([WIDTH - 0.5, HEIGHT - 0.5], dtype=torch.float64))
