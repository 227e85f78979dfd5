"""The common motion of cameras: what moves all of them is found, what moves them apart is not."""

from __future__ import annotations

import torch

from gaussian_splatting.geometry.rotations import (
    matrix_to_quaternion,
    quaternion_raw_multiply,
    quaternion_to_matrix,
)
from gaussian_splatting.trainer.gauge import Poses, centres, common_motion

EXTENT = 4.0


def poses(num: int = 12) -> Poses:
    generator = torch.Generator().manual_seed(3)
    quaternions = torch.nn.functional.normalize(torch.randn((num, 4), generator=generator, dtype=torch.float64), dim=1)
    return Poses(quaternions, torch.randn((num, 3), generator=generator, dtype=torch.float64))


def moved(rotation: torch.Tensor, shift: torch.Tensor, growth: float) -> Poses:
    """Every camera moved with the world around the mean of the centres."""
    quaternions, translations = poses()
    start = centres(quaternions, translations)
    centre = start.mean(dim=0)
    places = centre + shift + (1 + growth) * (start - centre) @ rotation.T
    turned = quaternion_to_matrix(quaternions) @ rotation.T
    return Poses(matrix_to_quaternion(turned), -(turned @ places[..., None])[..., 0])


def rotation_of(vector: torch.Tensor) -> torch.Tensor:
    return torch.linalg.matrix_exp(
        torch.tensor([[0, -vector[2], vector[1]], [vector[2], 0, -vector[0]], [-vector[1], vector[0], 0]]).double()
    )


def test_cameras_that_stay_have_no_motion():
    assert common_motion(poses(), poses(), EXTENT).abs().max() < 1e-12


def test_a_common_rotation_shift_and_growth_are_found():
    turn, shift = torch.tensor([0.01, -0.02, 0.005]).double(), torch.tensor([0.4, 0.0, -0.2]).double()
    found = common_motion(moved(rotation_of(turn), shift, 0.03), poses(), EXTENT)
    torch.testing.assert_close(found[:3], turn, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[3:6], shift / EXTENT, atol=1e-9, rtol=0)
    torch.testing.assert_close(found[6], torch.tensor(0.03).double(), atol=1e-3, rtol=0)


def test_the_sign_of_a_quaternion_does_not_matter():
    quaternions, translations = poses()
    flipped = quaternions * torch.where(torch.arange(12) % 2 == 0, 1.0, -1.0)[:, None]
    assert common_motion(Poses(flipped, translations), poses(), EXTENT).abs().max() < 1e-12


def test_opposite_motions_cancel():
    quaternions, translations = poses(2)
    half = torch.tensor([[1.0, 0.01, 0, 0], [1.0, -0.01, 0, 0]]).double()
    # Turned around world axes by opposite angles, with the centres in place.
    turned = quaternion_raw_multiply(quaternions, half)
    still = centres(quaternions, translations)
    held = -(quaternion_to_matrix(turned) @ still[..., None])[..., 0]
    found = common_motion(Poses(turned, held), Poses(quaternions, translations), EXTENT)
    assert found.abs().max() < 1e-9


def test_one_camera_alone_has_a_motion_without_growth():
    quaternions, translations = poses(1)
    found = common_motion(Poses(quaternions, translations + 1.0), Poses(quaternions, translations), EXTENT)
    assert torch.isfinite(found).all()
    assert found[6] == 0
