"""The gradient of the pose: right in size and sign, counted once, and absent from the plain model."""

from __future__ import annotations

import pytest
import torch

from gaussian_splatting.camera import Camera
from gaussian_splatting.camera_trainable import CameraTrainableGaussianModel
from gaussian_splatting.dataset import TrainableCameraDataset
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.models import CameraTrainableGsplatGaussianModel, GsplatGaussianModel
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


class DoubleDataset(TinyDataset):
    """The tiny scene in float64."""

    def __getitem__(self, idx: int) -> Camera:
        camera = super().__getitem__(idx)
        doubled = {name: value.double() for name, value in camera._asdict().items() if torch.is_tensor(value)}
        return camera._replace(**doubled)


def view_dependent_rows() -> dict[str, torch.Tensor]:
    """The tiny Gaussians with colours that depend on the direction, through which the pose has a gradient too."""
    rows = {name: value.detach().clone() for name, value in tiny_model().rows().items()}
    rows["f_rest"] = 0.3 * torch.randn(rows["f_rest"].shape, generator=torch.Generator().manual_seed(4))
    return rows


def double_scene() -> tuple[CameraTrainableGaussianModel, TrainableCameraDataset]:
    model = CameraTrainableGaussianModel(2, backend="reference")
    model.adopt_rows({name: value.double() for name, value in view_dependent_rows().items()})
    dataset = TrainableCameraDataset(DoubleDataset())
    for parameter in (dataset.quaternions, dataset.Ts, dataset.exposures):
        parameter.data = parameter.data.double()
    return model, dataset


def loss_of(model: GaussianModel, dataset: TrainableCameraDataset) -> torch.Tensor:
    # A grey background: black pixels would lie on the edge of the clamp, where there is no derivative.
    camera = dataset[1]._replace(bg_color=torch.full_like(dataset[1].bg_color, 0.3))
    assert camera.ground_truth_image is not None
    return ((model(camera)["render"] - camera.ground_truth_image) ** 2).sum()


@pytest.mark.parametrize("name", ["quaternions", "Ts", "exposures"])
def test_gradients_agree_with_finite_differences(name):
    model, dataset = double_scene()
    parameter = getattr(dataset, name)
    loss_of(model, dataset).backward()
    flat, gradient = parameter.data[1].view(-1), parameter.grad[1].view(-1)
    for index in range(flat.numel()):
        start = flat[index].item()
        values = []
        for offset in (1e-6, -1e-6):
            flat[index] = start + offset
            values.append(loss_of(model, dataset).item())
        flat[index] = start
        numeric = (values[0] - values[1]) / 2e-6
        assert gradient[index].item() == pytest.approx(numeric, rel=1e-3, abs=1e-4)


def test_following_the_gradient_of_the_pose_lowers_the_loss():
    model, dataset = double_scene()
    loss = loss_of(model, dataset)
    loss.backward()
    for parameter in (dataset.quaternions, dataset.Ts):
        parameter.data -= 1e-6 * parameter.grad
    assert loss_of(model, dataset) < loss


def test_pictures_are_those_of_the_plain_model():
    plain = tiny_model()
    trainable = CameraTrainableGaussianModel(2, backend=plain.backend)
    trainable.adopt_rows({name: value.detach() for name, value in plain.rows().items()})
    camera = TinyDataset()[0]
    assert torch.equal(plain(camera)["render"], trainable(camera)["render"])


def test_the_plain_model_gives_the_pose_no_gradient():
    dataset = TrainableCameraDataset(TinyDataset())
    camera = dataset[0]
    tiny_model()(camera)["render"].sum().backward()
    assert dataset.quaternions.grad is None
    assert dataset.Ts.grad is None
    assert dataset.exposures.grad is not None


def test_the_default_backend_agrees_with_the_reference():
    """The pose gradient of the backend that training uses, against the oracle."""
    gradients = []
    for backend in ("auto", "reference"):
        dataset, model = TrainableCameraDataset(TinyDataset()), CameraTrainableGaussianModel(2, backend=backend)
        model.adopt_rows(view_dependent_rows())
        loss_of(model, dataset).backward()
        gradients.append((dataset.quaternions.grad, dataset.Ts.grad, dataset.exposures.grad))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_known_names_fix_their_backend():
    assert GsplatGaussianModel(3).backend == "gsplat"
    assert CameraTrainableGsplatGaussianModel(3).backend == "gsplat"
