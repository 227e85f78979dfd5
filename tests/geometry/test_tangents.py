"""Frames of a surface that only points tell: across it, right-handed, and defined for any points."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting.geometry.rotations import quaternion_to_matrix
from gaussian_splatting.geometry.tangents import tangent_frames

GENERATOR = torch.Generator().manual_seed(0)


def degrees_between(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(torch.arccos((first * second).sum(-1).abs().clamp_max(1)))


def test_the_third_axis_is_the_normal_of_a_noisy_plane():
    normal = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -0.5]), dim=0)
    points = 4 * torch.rand((400, 3), generator=GENERATOR) - 2
    points -= (points @ normal)[:, None] * normal
    points += 0.01 * torch.randn((400, 1), generator=GENERATOR) * normal
    across = quaternion_to_matrix(tangent_frames(points))[:, :, 2]
    assert degrees_between(across, normal).mean() < 3


def test_the_third_axis_is_the_radius_of_a_sphere():
    points = torch.nn.functional.normalize(torch.randn((2000, 3), generator=GENERATOR), dim=1)
    across = quaternion_to_matrix(tangent_frames(points))[:, :, 2]
    assert degrees_between(across, points).mean() < 4


def test_frames_are_rotations_of_the_dtype_of_the_points():
    frames = tangent_frames(torch.randn((50, 3), generator=GENERATOR))
    assert frames.dtype == torch.float32
    torch.testing.assert_close(frames.norm(dim=1), torch.ones(50))
    torch.testing.assert_close(torch.linalg.det(quaternion_to_matrix(frames)), torch.ones(50))


@pytest.mark.parametrize("points", [torch.eye(3), torch.zeros((9, 3)), torch.ones((1, 3))])
def test_points_without_a_surface_get_the_identity(points):
    assert torch.equal(tangent_frames(points), torch.tensor([1.0, 0, 0, 0]).expand(len(points), 4))


def test_points_on_a_line_have_a_frame():
    points = torch.linspace(0, 1, 20)[:, None] * torch.tensor([1.0, 1.0, 0.0])
    frames = quaternion_to_matrix(tangent_frames(points))
    assert torch.isfinite(frames).all()
    assert degrees_between(frames[:, :, 0], torch.tensor([1.0, 1.0, 0.0]) / 2**0.5).max() < 0.1
