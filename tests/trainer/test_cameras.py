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
        model, dataset, camera_gauge_interval=0, camera_warmup_until_iter=0, camera_rotation_lr_init=1e-3,
        camera_rotation_lr_final=1e-5, camera_position_lr_init=2e-3, camera_position_lr_final=1e-5,
        camera_rotation_lr_max_steps=150, camera_position_lr_max_steps=150, **frozen,
    )  # fmt: skip
    for _ in range(150):
        trainer.step(dataset[0])
    after = error()
    assert after[0] < before[0] / 25  # 1 - cos of half the angle: the angle itself falls five times
    assert after[1] < before[1] / 5


def drifting(**options) -> BaseTrainer:
    """A pull on all cameras in one direction, as Gaussians exert it that are off as a whole."""
    trainer = make_trainer(
        CameraPoses, camera_rotation_lr_init=1e-3, camera_position_lr_init=1e-3, camera_warmup_until_iter=0, **options
    )
    trainer.model._xyz.data += 0.05
    return trainer


def motion_of(trainer: BaseTrainer) -> float:
    start = trainer.start_poses.poses()
    return float(common_motion(poses_of(trainer), start, trainer.scene_extent).norm())


@pytest.mark.parametrize("options", [{"camera_gauge_interval": 20}, {"run_length": 60}])
def test_the_cameras_as_a_whole_go_back_every_few_steps_and_at_the_end(options: dict[str, int]):
    away, home = drifting(camera_gauge_interval=0), drifting(**options)
    for trainer in (away, home):
        for _ in trainer.run(trainer.dataset, 60):
            pass
    assert motion_of(away) > 1e-3
    assert motion_of(home) < 1e-6


def test_the_scene_goes_back_with_its_cameras():
    trainer = drifting(camera_gauge_interval=0)
    for _ in trainer.run(trainer.dataset, 60):
        pass
    with torch.no_grad():
        before = [trainer.model(camera)["render"].clone() for camera in trainer.dataset]
        centres, pivots = trainer.model.get_xyz.clone(), trainer.turning.pivots.clone()
        trainer._go_home()
        assert (trainer.model.get_xyz - centres).abs().max() > 1e-3
        assert (trainer.turning.pivots - pivots).abs().max() > 1e-3
        for camera, picture in zip(trainer.dataset, before, strict=True):
            torch.testing.assert_close(trainer.model(camera)["render"], picture, atol=2e-5, rtol=0)


def test_a_turn_is_a_turn_about_the_pivot():
    """With only the rotation free, what the camera sees in the middle of its picture stays there."""
    still = {"camera_position_lr_init": 0.0, "camera_position_lr_final": 0.0, "camera_gauge_interval": 0}
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
    trainer = make_trainer(CameraPoses)
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
    for name, first, last, warmth in (
        ("quaternions", 1e-4, 1e-6, 0.02),
        ("Ts", 1.6e-4 * extent, 1.6e-6 * extent, 0.02),
        ("exposures", 1e-3, 1e-4, 1.0),
    ):
        assert rates[name](0) == pytest.approx(warmth * first)
        assert rates[name](30_000) == pytest.approx(last)
    names = [group["name"] for group in trainer.optimizer.param_groups]
    assert sorted(names[6:]) == ["Ts", "exposures", "quaternions"]


def test_the_rates_of_poses_rise_on_a_line_until_the_end_of_the_warm_up():
    usual, trainer = make_trainer(camera_warmup_until_iter=0), make_trainer()
    for name in ("quaternions", "Ts"):
        for step, part in ((3_000, 0.265), (6_000, 0.51), (12_000, 1.0), (20_000, 1.0)):
            assert trainer.schedulers[name](step) == pytest.approx(part * usual.schedulers[name](step))


@pytest.mark.parametrize(
    ("length", "poses", "exposures"),
    [(30_000, 1.0, 1.0), (60_000, 1.0, 1.0), (2_000, 15**0.5, 15**0.4), (100, 8.0, 8.0)],
)
def test_rates_are_higher_in_short_runs(length: int, poses: float, exposures: float):
    usual, trainer = make_trainer(), make_trainer(run_length=length)
    given = make_trainer(run_length=length, camera_length_power=0, camera_exposure_length_power=0)
    for name, factor in (("quaternions", poses), ("Ts", poses), ("exposures", exposures)):
        for step in (0, 10_000, 30_000):
            assert trainer.schedulers[name](step) == pytest.approx(factor * usual.schedulers[name](step))
            assert given.schedulers[name](step) == usual.schedulers[name](step)


def test_the_length_follows_the_run():
    options = prepare.scaled_options(BaseCameraTrainer, 2_000, {})
    assert options["run_length"] == 2_000
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
