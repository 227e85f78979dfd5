"""The common motion of cameras: what moves all of them is found, what moves them apart is not."""

from __future__ import annotations

import torch

from gaussian_splatting.camera import pinhole_camera
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.geometry.rotations import (
    matrix_to_quaternion,
    quaternion_raw_multiply,
    quaternion_to_matrix,
)
from gaussian_splatting.trainer import BaseTrainer
from gaussian_splatting.trainer.gauge import (
    Poses,
    Similarity,
    centres,
    common_motion,
    move_gaussians,
    moved_poses,
    rotation_of,
    way_home,
)
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

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


def test_the_way_home_takes_away_what_the_cameras_have_in_common():
    turn, shift = torch.tensor([0.03, -0.02, 0.05]).double(), torch.tensor([0.4, 0.0, -0.2]).double()
    away = moved(rotation_of(turn), shift, 0.03)
    generator = torch.Generator().manual_seed(5)
    jitter = (0.01 * torch.randn(values.shape, generator=generator).double() for values in away)
    away = Poses(*(values + noise for values, noise in zip(away, jitter, strict=True)))
    motion = way_home(away, poses(), EXTENT)
    assert motion is not None
    assert common_motion(away, poses(), EXTENT).norm() > 0.05
    assert common_motion(moved_poses(away, motion), poses(), EXTENT).norm() < 1e-6


def test_cameras_that_stayed_have_no_way_to_go():
    assert way_home(poses(), poses(), EXTENT) is None


@torch.no_grad()
def test_a_scene_that_is_moved_with_its_cameras_looks_the_same():
    model, camera = tiny_model(BaseTrainer), TinyDataset()[1]
    assert model.max_sh_degree >= 2
    model._features_rest.normal_(0, 0.3, generator=torch.Generator().manual_seed(2))
    model.active_sh_degree = model.max_sh_degree
    before = model(camera)["render"].clone()
    motion = Similarity(
        1.3, rotation_of(torch.tensor([0.4, -0.9, 0.2]).double()), torch.tensor([0.5, -2.0, 1.0]).double()
    )
    move_gaussians(model, motion)
    assert (model(camera)["render"] - before).abs().max() > 0.1
    quaternion, translation = (rows[0] for rows in moved_poses(Poses(camera.quaternion[None], camera.T[None]), motion))
    focal, centre = camera.K.diagonal(), camera.K[:, 2]
    along = pinhole_camera(
        camera.image_height, camera.image_width, float(focal[0]), float(focal[1]), quaternion_to_matrix(quaternion),
        translation, cx=float(centre[0]), cy=float(centre[1]),
    )  # fmt: skip
    torch.testing.assert_close(model(along)["render"], before, atol=2e-5, rtol=0)


def test_gaussians_of_one_colour_are_moved_too():
    model = GaussianModel(0).create_from_pcd(torch.rand(10, 3), torch.rand(10, 3))
    before = model.get_xyz.detach().clone()
    move_gaussians(model, Similarity(2.0, torch.eye(3).double(), torch.ones(3).double()))
    torch.testing.assert_close(model.get_xyz, 2 * before + 1)
