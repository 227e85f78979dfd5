"""Camera optimisation: only the seen view moves, the scene keeps its place, and wrong set-ups are refused."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting import prepare
from gaussian_splatting.camera_trainable import CameraTrainableGaussianModel
from gaussian_splatting.dataset import TrainableCameraDataset
from gaussian_splatting.errors import TrainingError
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.geometry.rotations import quaternion_to_matrix
from gaussian_splatting.trainer import BaseCameraTrainer, BaseTrainer, CameraPoses, Exposure
from gaussian_splatting.trainer.gauge import Poses, common_motion
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_dataset, tiny_model


def make_trainer(cls: type[BaseTrainer] = BaseCameraTrainer, **options) -> BaseTrainer:
    return cls(tiny_model(cls), tiny_dataset(cls), **options)


def poses_of(trainer: BaseTrainer) -> Poses:
    return Poses(trainer.dataset.quaternions.detach().clone(), trainer.dataset.Ts.detach().clone())


def true_scene(model: GaussianModel) -> TinyDataset:
    """The tiny scene with pictures that `model` renders."""
    scene = TinyDataset()
    with torch.no_grad():
        scene.cameras = [camera._replace(ground_truth_image=model(camera)["render"]) for camera in scene.cameras]
    return scene


def test_only_the_pose_of_the_seen_view_moves():
    trainer = make_trainer()
    for seen in (1, 1, 2):
        before = poses_of(trainer)
        trainer.step(trainer.dataset[seen])
        for old, new in zip(before, poses_of(trainer), strict=True):
            others = [index for index in range(3) if index != seen]
            assert torch.equal(new[others], old[others])
            assert not torch.equal(new[seen], old[seen])


def test_a_disturbed_camera_finds_back():
    model = tiny_model(BaseCameraTrainer)
    dataset = TrainableCameraDataset(true_scene(model))
    truth = dataset.quaternions.detach()[0].clone(), dataset.Ts.detach()[0].clone()
    dataset.quaternions.data[0] += torch.tensor([0.0, 0.01, -0.01, 0.005])
    dataset.Ts.data[0] += torch.tensor([0.02, -0.02, 0.0])

    def error() -> tuple[float, float]:
        turn = 1 - torch.nn.functional.normalize(dataset.quaternions.detach()[0], dim=0) @ truth[0]
        return float(turn), float((dataset.Ts.detach()[0] - truth[1]).norm())

    before = error()
    frozen = dict.fromkeys(("position_lr_init", "position_lr_final", "feature_lr", "opacity_lr"), 0.0)
    frozen |= {"scaling_lr": 0.0, "rotation_lr": 0.0, "camera_exposure_lr_init": 0.0, "camera_exposure_lr_final": 0.0}
    trainer = BaseCameraTrainer(
        model, dataset, camera_gauge_weight=0.0, camera_rotation_lr_init=1e-3, camera_rotation_lr_final=1e-5,
        camera_position_lr_init=2e-3, camera_position_lr_final=1e-5, camera_rotation_lr_max_steps=150,
        camera_position_lr_max_steps=150, **frozen,
    )  # fmt: skip
    for _ in range(150):
        trainer.step(dataset[0])
    after = error()
    assert after[0] < before[0] / 25  # 1 - cos of half the angle: the angle itself falls five times
    assert after[1] < before[1] / 5


def test_the_cameras_as_a_whole_stay_in_place():
    """A pull on all cameras in one direction, as Gaussians exert it that are off as a whole."""
    motions = []
    for weight in (0.0, 100.0):
        trainer = make_trainer(camera_gauge_weight=weight, camera_rotation_lr_init=1e-3, camera_position_lr_init=1e-3)
        start = poses_of(trainer)
        trainer.model._xyz.data += 0.05
        for _ in trainer.run(trainer.dataset, 60):
            pass
        motions.append(float(common_motion(poses_of(trainer), start, trainer.scene_extent).norm()))
    assert motions[1] < 0.5 * motions[0]


def test_the_gauge_term_pulls_the_seen_camera_against_the_common_motion():
    trainer = make_trainer(CameraPoses, camera_gauge_weight=2.0)
    trainer.dataset.Ts.data += 0.1
    trainer.curr_step = 1
    camera = trainer.dataset[0]
    term = dict(trainer.losses(trainer.model(camera), camera))["camera_gauge"]
    start = trainer.start_poses.poses()
    whole = common_motion(poses_of(trainer), start, trainer.scene_extent)
    assert term.item() == pytest.approx(3 * float((whole * whole).sum()), rel=1e-5)
    term.backward()
    assert (trainer.dataset.Ts.grad[1:] == 0).all()
    assert (trainer.dataset.Ts.grad[0] != 0).any()
    trainer.dataset.Ts.data[0] -= 1e-3 * trainer.dataset.Ts.grad[0]
    closer = common_motion(poses_of(trainer), start, trainer.scene_extent)
    assert closer.norm() < whole.norm()


def test_a_turn_is_a_turn_about_the_pivot():
    """With only the rotation free, what the camera sees in the middle of its picture stays there."""
    still = {"camera_position_lr_init": 0.0, "camera_position_lr_final": 0.0, "camera_gauge_weight": 0.0}
    trainer = make_trainer(CameraPoses, camera_rotation_lr_init=1e-2, **still)
    pivots = trainer.turning.pivots.clone()
    before = [camera.R @ pivot + camera.T for camera, pivot in zip(trainer.dataset, pivots, strict=True)]
    turned = trainer.dataset.quaternions.detach().clone()
    for _ in trainer.run(trainer.dataset, 9):
        pass
    assert not torch.equal(trainer.dataset.quaternions, turned)
    for camera, pivot, start in zip(trainer.dataset, pivots, before, strict=True):
        torch.testing.assert_close(camera.R @ pivot + camera.T, start, atol=1e-5, rtol=0)


def test_the_rotation_gradient_is_that_of_a_turn_about_the_pivot():
    trainer = make_trainer(CameraPoses, camera_gauge_weight=0.0)
    dataset, pivot = trainer.dataset, trainer.turning.pivots[1]
    camera = trainer.preprocess(dataset[1])
    target = torch.tensor([0.3, -0.2, 0.5])
    seen = camera.world_view_transform.T[:3, :3] @ target + camera.world_view_transform.T[:3, 3]
    seen.sum().backward()
    free = dataset.quaternions.detach()[1].requires_grad_()
    (quaternion_to_matrix(free) @ (target - pivot)).sum().backward()
    torch.testing.assert_close(dataset.quaternions.grad[1], free.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(camera.T, dataset.Ts[1])


def test_the_start_poses_are_part_of_the_state():
    trainer = make_trainer()
    assert torch.equal(trainer.states()["start_poses"].translations, trainer.dataset.Ts)


def test_position_rates_are_in_extents_and_all_rates_fall():
    trainer = make_trainer()
    rates, extent = trainer.schedulers, trainer.scene_extent
    for name, first, last in (
        ("quaternions", 1e-4, 1e-6),
        ("Ts", 1.6e-4 * extent, 1.6e-6 * extent),
        ("exposures", 1e-3, 1e-4),
    ):
        assert rates[name](0) == pytest.approx(first)
        assert rates[name](30_000) == pytest.approx(last)
    names = [group["name"] for group in trainer.optimizer.param_groups]
    assert sorted(names[6:]) == ["Ts", "exposures", "quaternions"]


@pytest.mark.parametrize(("length", "factor"), [(30_000, 1.0), (60_000, 1.0), (2_000, 15**0.4), (100, 8.0)])
def test_rates_are_higher_in_short_runs(length: int, factor: float):
    lengths = {"camera_length": length, "camera_exposure_length": length}
    usual, trainer = make_trainer(), make_trainer(**lengths)
    for name in ("quaternions", "Ts", "exposures"):
        for step in (0, 10_000, 30_000):
            assert trainer.schedulers[name](step) == pytest.approx(factor * usual.schedulers[name](step))


def test_the_length_follows_the_run():
    options = prepare.scaled_options(BaseCameraTrainer, 2_000, {})
    assert options["camera_length"] == options["camera_exposure_length"] == 2_000
    assert options["camera_rotation_lr_max_steps"] == 2_000


def test_fixed_cameras_are_refused_with_the_cure():
    with pytest.raises(TrainingError, match=r"found a TinyDataset; pass dataset=TrainableCameraDataset\(dataset\)"):
        BaseCameraTrainer(CameraTrainableGaussianModel(2).create_from_pcd(*cloud()), TinyDataset())
    with pytest.raises(
        TrainingError, match="exposure compensation needs cameras that can be trained, found no dataset"
    ):
        Exposure(tiny_model(), scene_extent=1.0)


def test_a_model_without_pose_gradient_is_refused_with_the_cure():
    with pytest.raises(TrainingError, match="found GaussianModel; use CameraTrainableGaussianModel"):
        BaseCameraTrainer(tiny_model(), tiny_dataset(BaseCameraTrainer))


def cloud() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand((10, 3), generator=generator), torch.rand((10, 3), generator=generator)
