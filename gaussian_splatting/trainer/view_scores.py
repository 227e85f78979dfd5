"""What every Gaussian does in a few views: how much it contributes to them, and to how much of their error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaussian_splatting.geometry.sh import C0
from gaussian_splatting.trainer.pyramid import area_mean, reduced_geometry

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.gaussian_model import GaussianModel

SIDE = 200
"""Views are looked at with a shorter side of about this many pixels: for sums, detail does not matter."""


def some_views(dataset: CameraDataset, number: int, generator: torch.Generator) -> list[int]:
    """Indices of `number` different views, or of all when there are fewer."""
    return torch.randperm(len(dataset), generator=generator)[:number].tolist()


def contributions(model: GaussianModel, dataset: CameraDataset, views: list[int], share: float = 1.0) -> Tensor:
    """The sum of the blend weights of every Gaussian [N] over all pixels of the views, times `share`."""
    total = torch.zeros(len(model), device=model.get_xyz.device)
    for index in views:
        camera = dataset.geometry(index)
        total += _weighted(model, reduced_geometry(camera, divisor(camera)), share)
    return total


def error_scores(model: GaussianModel, dataset: CameraDataset, views: list[int], share: float = 1.0) -> Tensor:
    """The sum over all pixels of the views of blend weight times absolute error times `share`, for every Gaussian [N].

    Each view's errors are divided by their mean, so that a dark or an easy view counts like any other.
    """
    total = torch.zeros(len(model), device=model.get_xyz.device)
    for index in views:
        camera = dataset[index]
        assert camera.ground_truth_image is not None
        factor = divisor(camera)
        photo = area_mean(camera.ground_truth_image, factor)
        total += _weighted(model, reduced_geometry(camera, factor), share, photo)
    return total


def divisor(camera: Camera) -> int:
    """What width and height of a view are divided by."""
    return max(1, min(camera.image_height, camera.image_width) // SIDE)


def _weighted(model: GaussianModel, camera: Camera, share: float, photo: Tensor | None = None) -> Tensor:
    """Sums of blend weights [N] times `share`, times the error where there is a photo [3, H, W].

    The derivative of a pixel by the base colour of a Gaussian is its blend weight, times the constant of the first
    harmonic; the backward pass of any rasteriser therefore gives the sums.
    """
    with torch.enable_grad():
        render = model(camera)["render"]
        weight = torch.ones_like(render)
        if photo is not None:
            error = (render.detach() - photo).abs().mean(dim=0)
            weight = (error / error.mean().clamp_min(1e-8)).expand_as(render).contiguous()
        (gradient,) = torch.autograd.grad(render, model._features_dc, share * weight)
    return gradient.to_dense()[:, 0].sum(dim=1).clamp_min(0) / (3 * C0)
