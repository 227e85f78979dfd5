"""Models of surfels: flat whatever happens, and never changed by saving."""

from __future__ import annotations

import math

import pytest
import torch

from gaussian_splatting import models, prepare
from gaussian_splatting.trainer.tiny_scene import TinyDataset

FLAT = math.log(1e-6)


def filled(model):
    generator = torch.Generator().manual_seed(0)
    points = torch.rand((40, 3), generator=generator) - 0.5
    return model.create_from_pcd(points, torch.rand((40, 3), generator=generator))


@pytest.mark.parametrize(
    ("cls", "backend"),
    [
        (models.SurfelGaussianModel, "auto-2dgs"),
        (models.CameraTrainableSurfelGaussianModel, "auto-2dgs"),
        (models.Gsplat2DGSGaussianModel, "gsplat-2dgs"),
        (models.CameraTrainableGsplat2DGSGaussianModel, "gsplat-2dgs"),
    ],
)
def test_a_new_model_is_flat_and_has_its_backend(cls, backend):
    model = filled(cls(2))
    assert model.backend == backend
    assert model.kind == "2dgs"
    assert (model._scaling[:, 2] == FLAT).all()
    assert (model._scaling[:, :2] > FLAT).all()
    assert model._scaling.requires_grad


def test_the_least_scale_is_a_choice():
    model = filled(models.Gsplat2DGSGaussianModel(1, min_scale=1e-4))
    torch.testing.assert_close(model.get_scaling[:, 2], torch.full((40,), 1e-4))
    with pytest.raises(ValueError, match="min_scale is 0; it must be positive"):
        models.SurfelGaussianModel(1, min_scale=0)


def test_saving_flattens_the_file_and_not_the_model(tmp_path):
    model = filled(models.SurfelGaussianModel(1))
    with torch.no_grad():
        model._scaling[:, 2] = -3.0
    model.save_ply(tmp_path / "surfels.ply")
    assert (model._scaling[:, 2] == -3.0).all()
    again = models.GaussianModel(1).load_ply(tmp_path / "surfels.ply")
    assert (again._scaling[:, 2] == FLAT).all()
    assert torch.equal(again._scaling[:, :2], model._scaling[:, :2])


def test_loading_flattens(tmp_path):
    filled(models.GaussianModel(1)).save_ply(tmp_path / "gaussians.ply")
    loaded = models.SurfelGaussianModel(1).load_ply(tmp_path / "gaussians.ply")
    assert (loaded._scaling[:, 2] == FLAT).all()


@pytest.mark.parametrize("backend", ["reference-2dgs", "cpu-2dgs"])
def test_a_camera_sees_surfels(backend):
    camera = TinyDataset()[0]
    out = filled(models.SurfelGaussianModel(1, backend))(camera)
    size = (camera.image_height, camera.image_width)
    assert out["render"].shape == out["render_normals"].shape == out["normals_from_depth"].shape == (3, *size)
    assert out["depth"].shape == out["render_distort"].shape == out["render_median"].shape == (1, *size)
    (out["render"].sum() + out["render_distort"].sum()).backward()
    assert out["get_viewspace_grad"](out).shape == (40, 2)
    assert out["get_viewspace_grad"](out).any()


def test_activated_values_can_be_rendered():
    model = filled(models.SurfelGaussianModel(1, "cpu-2dgs"))
    camera = TinyDataset()[0]
    whole = model(camera)
    parts = model.render(
        camera, model.get_xyz, model.get_opacity, model.get_scaling, model.get_rotation, model.get_features
    )
    torch.testing.assert_close(parts["render"], whole["render"], atol=1e-6, rtol=0)
    torch.testing.assert_close(parts["depth"], whole["depth"], atol=1e-5, rtol=0)


def test_the_pose_gets_a_gradient():
    from gaussian_splatting.dataset.trainable import TrainableCameraDataset

    dataset = TrainableCameraDataset(TinyDataset())
    out = filled(models.CameraTrainableSurfelGaussianModel(1, "cpu-2dgs"))(dataset[0])
    out["render"].square().sum().backward()
    assert dataset.Ts.grad is not None
    assert dataset.Ts.grad.any()


@pytest.mark.parametrize("cameras", [False, True])
def test_backends_of_surfels_have_models_of_surfels(cameras):
    for backend in ("auto-2dgs", "cpu-2dgs", "reference-2dgs", "gsplat-2dgs"):
        cls = prepare.get_gaussian_model_class(backend, cameras)
        assert cls is models.model_class(True, cameras)
    assert prepare.get_gaussian_model_class("cpu", cameras) is models.model_class(False, cameras)


def test_auto_means_surfels_for_a_mode_that_needs_normals():
    normal, plain = prepare.trainer_class("normal-densify"), prepare.trainer_class("densify")
    assert prepare.backend_of_trainer(normal, "auto") == "auto-2dgs"
    assert prepare.backend_of_trainer(plain, "auto") == "auto"
    assert prepare.backend_of_trainer(normal, "reference-2dgs") == "reference-2dgs"
