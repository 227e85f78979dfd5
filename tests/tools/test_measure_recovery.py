"""The table of recovery: similarities are found, errors are angles and lengths, and views are measured alike."""

from __future__ import annotations

from pathlib import Path

import measure_recovery as tool
import pytest
import torch

from gaussian_splatting.camera_trainable import CameraTrainableGaussianModel
from gaussian_splatting.dataset import TrainableCameraDataset
from gaussian_splatting.errors import SplatError
from gaussian_splatting.geometry.rotations import quaternion_raw_multiply, quaternion_to_matrix
from gaussian_splatting.runs.folder import RunFolder
from gaussian_splatting.trainer import BaseCameraTrainer
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


def turn(degrees: float, axis: tuple[float, float, float] = (0.0, 1.0, 0.0)) -> torch.Tensor:
    half = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64)) / 2
    return torch.cat([half.cos()[None], half.sin() * torch.tensor(axis, dtype=torch.float64)])


def test_a_similarity_is_found() -> None:
    points = torch.randn((9, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotation, shift = quaternion_to_matrix(turn(70.0, (0.6, 0.0, 0.8))), torch.tensor([1.0, -2.0, 3.0]).double()
    found = tool.fitted(points, 1.7 * points @ rotation.T + shift)
    assert found.scale == pytest.approx(1.7)
    torch.testing.assert_close(found.rotation, rotation)
    torch.testing.assert_close(found.shift, shift)


def test_a_mirrored_cloud_gives_a_rotation() -> None:
    points = torch.randn((9, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = tool.fitted(points, points * torch.tensor([1.0, 1.0, -1.0]).double())
    assert float(torch.det(found.rotation)) == pytest.approx(1.0)


def test_errors_are_those_of_the_middle_camera() -> None:
    """Cameras turned on the spot by 0.1, 0.2 and 0.9 degrees have a median error of 0.2 degrees and none in place."""
    scene = TinyDataset()
    cameras = TrainableCameraDataset(scene)
    centres = tool.centres_of(cameras)
    for index, degrees in enumerate((0.1, 0.2, 0.9)):
        turned = quaternion_raw_multiply(turn(degrees), cameras.quaternions.data[index].double())
        cameras.quaternions.data[index] = turned.float()
        cameras.Ts.data[index] = (-quaternion_to_matrix(turned) @ centres[index]).float()
    still = tool.Similarity(1.0, torch.eye(3).double(), torch.zeros(3).double())
    turned, moved = tool.pose_errors(cameras, scene, still)
    assert turned == pytest.approx(0.2, abs=1e-4)
    assert moved < 1e-5


def test_the_refinement_finds_the_pose_that_was_rendered() -> None:
    model, scene = tiny_model(BaseCameraTrainer), TinyDataset()
    assert isinstance(model, CameraTrainableGaussianModel)
    with torch.no_grad():
        scene.cameras = [camera._replace(ground_truth_image=model(camera)["render"]) for camera in scene.cameras]
    shifted = tool.Similarity(1.0, quaternion_to_matrix(turn(0.5)), torch.tensor([0.01, 0.0, 0.01]).double())
    before = model.get_xyz.detach().clone()
    start = tool.mean_psnr(tool.renders(model, tool.refined_cameras(model, scene, shifted, 1.0, 1)))
    end = tool.mean_psnr(tool.renders(model, tool.refined_cameras(model, scene, shifted, 1.0, 60)))
    assert end > start + 6
    assert torch.equal(model.get_xyz, before)


def test_a_tint_does_not_count_after_recolouring() -> None:
    photo = torch.rand((3, 8, 8), generator=torch.Generator().manual_seed(0)) * 0.5 + 0.2
    tinted = torch.stack([0.8 * photo[0] + 0.1, 1.1 * photo[1], 0.9 * photo[2] + 0.1 * photo[0]])
    torch.testing.assert_close(tool.recoloured(tinted, photo), photo, atol=1e-5, rtol=0)


def test_the_table_says_what_was_regained() -> None:
    found = {
        role: tool.Measured(turned, 0.01, {"as is": psnr})
        for role, turned, psnr in (("clean", 0.0, 30.0), ("perturbed", 0.5, 20.0), ("recovered", 0.1, 29.5))
    }
    assert "recovered" in tool.table(found)
    assert tool.conclusions(found) == [
        "as is: 9.50 of 10.00 dB regained, 95 %",
        "median rotation error: 5.0 times smaller",
    ]


def test_a_run_of_another_scene_is_refused() -> None:
    other = TinyDataset()
    other.cameras = other.cameras[:2]
    with pytest.raises(SplatError, match="run: its cameras are not the training views of --truth"):
        tool.matched(other, TinyDataset(), Path("run"))


def test_a_run_without_held_out_views_is_refused(tmp_path: Path) -> None:
    (tmp_path / "point_cloud" / "iteration_5").mkdir(parents=True)
    (tmp_path / "point_cloud" / "iteration_5" / "point_cloud.ply").write_bytes(b"")
    (tmp_path / "settings.json").write_text('{"eval": false}')
    with pytest.raises(SplatError, match="was not trained with --eval"):
        tool.measured(RunFolder(tmp_path), "scene", 1)
