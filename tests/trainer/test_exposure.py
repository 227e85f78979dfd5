"""Exposure compensation: a gain of one view is learnt by that view and not by the scene."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting.dataset import TrainableCameraDataset
from gaussian_splatting.trainer import Exposure
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
