"""Exposure compensation: a gain of one view is learnt by that view and not by the scene."""

from __future__ import annotations

import math

import pytest
import torch

from gaussian_splatting.dataset import TrainableCameraDataset
from gaussian_splatting.geometry.rotations import matrix_to_quaternion
from gaussian_splatting.trainer import Exposure
from gaussian_splatting.trainer.exposure import gauge_functions
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_dataset, tiny_model


def brightened() -> TrainableCameraDataset:
    """Pictures that the tiny model renders, the one of view 1 brighter by a fifth and a little reddish."""
    scene, model = TinyDataset(), tiny_model()
    gains = (1.0, torch.tensor([1.2, 1.1, 1.1])[:, None, None], 1.0)
    with torch.no_grad():
        scene.cameras = [
            camera._replace(ground_truth_image=(gain * model(camera)["render"]).clamp(0, 1))
            for camera, gain in zip(scene.cameras, gains, strict=True)
        ]
    return TrainableCameraDataset(scene)


def half_orbit(num_views: int, spread: float = math.pi) -> TrainableCameraDataset:
    """Views that look in directions over an arc of `spread` radians, nodding a little."""
    scene = TinyDataset()
    first = scene.cameras[0]
    scene.cameras = []
    for index in range(num_views):
        turn, nod = spread * (index / num_views - 0.5), 0.1 * spread * math.sin(index)
        aside, up = (torch.eye(3) for _ in range(2))
        aside[0, 0] = aside[2, 2] = math.cos(turn)
        aside[0, 2], aside[2, 0] = -math.sin(turn), math.sin(turn)
        up[1, 1] = up[2, 2] = math.cos(nod)
        up[1, 2], up[2, 1] = -math.sin(nod), math.sin(nod)
        rotation = up @ aside
        quaternion = matrix_to_quaternion(rotation)
        view = first._replace(R=rotation, quaternion=quaternion, custom_data={"name": f"view_{index}"})
        scene.cameras.append(view)
    return TrainableCameraDataset(scene)


def test_a_view_learns_its_gain():
    dataset = brightened()
    frozen = dict.fromkeys(("position_lr_init", "position_lr_final", "feature_lr", "opacity_lr"), 0.0)
    frozen |= {"scaling_lr": 0.0, "rotation_lr": 0.0}
    trainer = Exposure(
        tiny_model(), dataset, camera_exposure_lr_init=5e-3, camera_exposure_lr_final=1e-4,
        camera_exposure_lr_max_steps=300, camera_exposure_gauge_weight=0.0, **frozen,
    )  # fmt: skip
    losses = [float(loss) for loss, _ in trainer.run(dataset, 300)]
    camera = dataset[1]
    picture = torch.full((3, 2, 2), 0.5)
    found = camera.postprocess(camera, picture).detach()[:, 0, 0]
    torch.testing.assert_close(found, torch.tensor([0.6, 0.55, 0.55]), atol=0.02, rtol=0)
    assert sum(losses[-3:]) < 0.25 * sum(losses[:3])


def test_only_the_exposure_of_the_seen_view_moves():
    trainer = Exposure(tiny_model(Exposure), tiny_dataset(Exposure))
    before = trainer.dataset.exposures.detach().clone()
    trainer.step(trainer.dataset[2])
    after = trainer.dataset.exposures.detach()
    assert torch.equal(after[:2], before[:2])
    assert not torch.equal(after[2], before[2])


def test_poses_stay_when_only_exposures_are_trained():
    trainer = Exposure(tiny_model(Exposure), tiny_dataset(Exposure))
    before = trainer.dataset.quaternions.detach().clone()
    for _ in trainer.run(trainer.dataset, 6):
        pass
    assert torch.equal(trainer.dataset.quaternions, before)


def test_the_mean_exposure_stays_at_the_identity():
    """Pictures that are all brighter than the scene make the scene brighter, not the exposures."""
    drift = []
    for weight in (0.0, 10.0):
        scene = TinyDataset()
        scene.cameras = [c._replace(ground_truth_image=c.ground_truth_image * 0.5 + 0.5) for c in scene.cameras]
        dataset = TrainableCameraDataset(scene)
        trainer = Exposure(tiny_model(), dataset, camera_exposure_lr_init=1e-2, camera_exposure_gauge_weight=weight)
        for _ in trainer.run(dataset, 60):
            pass
        drift.append(float((dataset.exposures.detach().mean(dim=0) - torch.eye(3, 4)).norm()))
    assert drift[1] < 0.3 * drift[0]


def test_the_prior_pulls_the_exposure_of_the_seen_view_to_the_identity():
    dataset = tiny_dataset(Exposure)
    dataset.exposures.data[1, 0, 3] = 0.4
    trainer = Exposure(tiny_model(), dataset, camera_exposure_prior_weight=2.0)
    camera = dataset[1]
    term = dict(trainer.losses(trainer.model(camera), camera))["exposure_prior"]
    assert term.item() == pytest.approx(0.5 * 2.0 * 0.4**2)
    term.backward()
    wanted = torch.zeros(3, 3, 4)
    wanted[1, 0, 3] = 2.0 * 0.4
    torch.testing.assert_close(dataset.exposures.grad, wanted)


def test_the_gauge_functions_are_orthogonal_and_hold_every_linear_function_of_the_direction():
    dataset = half_orbit(24)
    functions = gauge_functions(dataset, directional=True).double()
    assert len(functions) == 4
    torch.testing.assert_close(functions @ functions.T / 24, torch.eye(4).double(), atol=1e-6, rtol=0)
    directions = torch.stack([dataset.geometry(index).R.detach()[2] for index in range(24)]).double()
    rising = directions @ torch.tensor([0.3, -0.2, 0.7]).double() + 0.1
    torch.testing.assert_close(functions.T @ (functions @ rising) / 24, rising, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("num_views", "spread", "directional"), [(23, math.pi, True), (24, 0.05, True), (24, math.pi, False)]
)
def test_without_many_views_of_many_directions_or_without_sh_only_the_mean_is_held(num_views, spread, directional):
    found = gauge_functions(half_orbit(num_views, spread), directional)
    assert torch.equal(found, torch.ones(1, num_views))


def test_exposures_that_follow_the_direction_are_pulled_back_and_others_are_not():
    """SH can make the scene brighter from one side, and then held-out views would be dark there."""
    dataset = half_orbit(24)
    weights = {"camera_exposure_gauge_weight": 2.0, "camera_exposure_prior_weight": 0.0}
    trainer = Exposure(tiny_model(), dataset, scene_extent=1.0, **weights)
    functions = trainer.states()["exposure_gauge"].functions
    camera = dataset[5]
    out = trainer.model(camera)
    free = torch.linalg.qr(torch.cat([functions.T, torch.eye(24)[:, :1]], dim=1)).Q[:, 4]
    for course, size in ((functions[1], 0.1), (free, 0.0)):
        dataset.exposures.data[:, 0, 3] = 0.1 * course
        term = dict(trainer.losses(out, dataset[5]))["exposure_gauge"]
        assert term.item() == pytest.approx(0.5 * 2.0 * 24 * size**2, abs=1e-6)
