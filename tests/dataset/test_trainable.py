"""Cameras with parameters: what they compute, what reaches the parameters, and what is saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from gaussian_splatting.dataset import FixedTrainableCameraDataset, JSONCameraDataset, TrainableCameraDataset
from gaussian_splatting.dataset.camera_trainable import exposure_postprocess
from gaussian_splatting.errors import SceneError
from gaussian_splatting.geometry.rotations import quaternion_to_matrix
from gaussian_splatting.trainer.tiny_scene import TinyDataset

MATRICES = ("R", "T", "world_view_transform", "full_proj_transform", "camera_center", "quaternion")


def moved_dataset() -> TrainableCameraDataset:
    dataset = TrainableCameraDataset(TinyDataset())
    generator = torch.Generator().manual_seed(5)
    for parameter in (dataset.quaternions, dataset.Ts, dataset.exposures):
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return dataset


def test_at_the_start_cameras_are_those_of_the_source():
    for before, after in zip(TinyDataset(), TrainableCameraDataset(TinyDataset()), strict=True):
        for name in MATRICES:
            torch.testing.assert_close(getattr(after, name), getattr(before, name), atol=1e-6, rtol=0)
        assert after.ground_truth_image is before.ground_truth_image or torch.equal(
            after.ground_truth_image, before.ground_truth_image
        )


def test_the_matrices_of_a_moved_camera_agree_with_each_other():
    camera = moved_dataset()[1]
    view = camera.world_view_transform.T
    torch.testing.assert_close(camera.R, quaternion_to_matrix(camera.quaternion))
    torch.testing.assert_close(view[:3, :3] @ camera.camera_center + view[:3, 3], torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(camera.full_proj_transform, camera.world_view_transform @ camera.projection_matrix)
    torch.testing.assert_close(camera.quaternion.norm(), torch.tensor(1.0))


@pytest.mark.parametrize("name", MATRICES)
def test_gradients_reach_the_row_of_the_camera_and_no_other(name):
    dataset = moved_dataset()
    getattr(dataset[1], name).sum().backward()
    gradients = [p.grad for p in (dataset.quaternions, dataset.Ts) if p.grad is not None]
    assert gradients
    for gradient in gradients:
        assert (gradient[[0, 2]] == 0).all()
    assert any((gradient[1] != 0).any() for gradient in gradients)


def test_a_camera_stays_what_it_was_when_the_parameters_move():
    dataset = moved_dataset()
    camera = dataset[0]
    before = {name: getattr(camera, name).detach().clone() for name in MATRICES}
    exposure = camera.custom_data["exposures"].detach().clone()
    for parameter in (dataset.quaternions, dataset.Ts, dataset.exposures):
        parameter.data += 1.0
    assert all(torch.equal(getattr(camera, name).detach(), value) for name, value in before.items())
    assert torch.equal(camera.custom_data["exposures"].detach(), exposure)


def test_exposure_is_a_row_vector_times_the_matrix_plus_the_offset():
    generator = torch.Generator().manual_seed(1)
    picture, A = torch.rand((3, 2, 4), generator=generator), torch.rand((3, 4), generator=generator)
    camera = TinyDataset()[0]._replace(custom_data={"exposures": A})
    found = exposure_postprocess(camera, picture)
    expected = torch.empty_like(picture)
    for y in range(2):
        for x in range(4):
            expected[:, y, x] = picture[:, y, x] @ A[:, :3] + A[:, 3]
    torch.testing.assert_close(found, expected)


def test_the_identity_exposure_changes_nothing_and_a_gain_multiplies():
    dataset = TrainableCameraDataset(TinyDataset())
    picture = torch.rand((3, 5, 6), generator=torch.Generator().manual_seed(2))
    camera = dataset[0]
    torch.testing.assert_close(camera.postprocess(camera, picture), picture)
    dataset.exposures.data[0, :, :3] *= 1.5
    camera = dataset[0]
    torch.testing.assert_close(camera.postprocess(camera, picture), 1.5 * picture)


def test_pictures_can_be_rendered_without_exposure():
    dataset = moved_dataset()
    dataset.use_exposure = False
    camera, picture = dataset[0], torch.rand(3, 5, 6)
    assert camera.postprocess(camera, picture) is picture


def test_saved_cameras_come_back_as_parameters(tmp_path):
    dataset = moved_dataset()
    dataset.save_cameras(tmp_path / "cameras.json")
    again = TrainableCameraDataset.from_json(tmp_path / "cameras.json")
    assert torch.equal(again.exposures, dataset.exposures)
    for before, after in zip(dataset, again, strict=True):
        for name in MATRICES:
            torch.testing.assert_close(getattr(after, name), getattr(before, name), atol=2e-6, rtol=0)


def test_saved_cameras_come_back_fixed_with_their_exposure_and_keep_it(tmp_path):
    dataset = moved_dataset()
    dataset.save_cameras(tmp_path / "cameras.json")
    fixed = FixedTrainableCameraDataset(tmp_path / "cameras.json")
    picture = torch.rand(3, 5, 6)
    for before, after in zip(dataset, fixed, strict=True):
        torch.testing.assert_close(after.postprocess(after, picture), before.postprocess(before, picture).detach())
    fixed.save_cameras(tmp_path / "again.json")
    stored = [json.loads((tmp_path / name).read_text()) for name in ("cameras.json", "again.json")]
    assert [entry["exposure"] for entry in stored[0]] == [entry["exposure"] for entry in stored[1]]
    plain = FixedTrainableCameraDataset(tmp_path / "cameras.json", use_exposure=False)
    assert plain[0].postprocess(plain[0], picture) is picture


def test_cameras_without_exposure_are_exposed_alike(tmp_path):
    TinyDataset().save_cameras(tmp_path / "cameras.json")
    fixed = FixedTrainableCameraDataset(tmp_path / "cameras.json")
    assert torch.equal(fixed.exposures, torch.eye(3, 4).repeat(3, 1, 1))


def test_a_path_to_cameras_json_is_accepted(tmp_path):
    TinyDataset().save_cameras(tmp_path / "cameras.json")
    assert len(TrainableCameraDataset(tmp_path / "cameras.json")) == 3
    assert isinstance(TrainableCameraDataset(str(tmp_path / "cameras.json")).source, JSONCameraDataset)


def test_extent_and_digest_are_those_of_the_start():
    dataset = TrainableCameraDataset(TinyDataset())
    extent, digest = dataset.scene_extent(), dataset.scene_digest()
    dataset.Ts.data += torch.randn(3, 3)
    assert (dataset.scene_extent(), dataset.scene_digest()) == (extent, digest)


def test_moving_to_a_device_keeps_the_parameters_that_an_optimiser_holds():
    dataset = moved_dataset()
    before = (dataset.quaternions, dataset.Ts, dataset.exposures)
    assert dataset.to("cpu") is dataset
    assert all(a is b for a, b in zip(before, (dataset.quaternions, dataset.Ts, dataset.exposures), strict=True))


def test_indices_count_from_both_ends_and_stop():
    dataset = TrainableCameraDataset(TinyDataset())
    assert dataset[-1].custom_data["index"] == 2
    assert len(list(dataset)) == 3
    with pytest.raises(IndexError):
        dataset[3]


@pytest.mark.parametrize(
    ("exposures", "message"),
    [
        ([None], "1 exposures for 3 cameras; give one each, or None"),
        ([np.eye(3)] * 3, r"finite matrix \[3, 4\]"),
        ([np.full((3, 4), np.nan)] * 3, r"finite matrix \[3, 4\]"),
    ],
)
def test_wrong_exposures_are_refused(exposures, message):
    with pytest.raises(SceneError, match=message):
        TrainableCameraDataset(TinyDataset(), exposures)


def test_a_colmap_folder_becomes_trainable(shared_data):
    from gaussian_splatting.dataset.colmap import ColmapTrainableCameraDataset

    opened = TrainableCameraDataset(shared_data / "fox_colmap")
    made = ColmapTrainableCameraDataset(shared_data / "fox_colmap", image_scale=0.1)
    assert len(opened) == len(made) == 50
    assert made.geometry(0).image_width == 53
    assert opened.names == made.names
    assert opened.scene_digest() != made.scene_digest()
