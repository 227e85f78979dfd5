"""A scene of three small views made on the spot, with masks and depth maps: what `check_trainer` trains on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gaussian_splatting.camera import Camera, pinhole_camera
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.dataset.trainable import TrainableCameraDataset
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.models import model_class
from gaussian_splatting.trainer.base import BaseTrainer

HEIGHT, WIDTH = 24, 32


class TinyDataset(CameraDataset):
    """Three views around the origin, each with a picture, a mask and an inverse depth map."""

    def __init__(self) -> None:
        self.cameras = [_camera(index) for index in range(3)]

    def to(self, device: str | torch.device) -> TinyDataset:
        """Stay on the CPU: the check is about bits."""
        return self

    def __len__(self) -> int:
        return len(self.cameras)

    def __getitem__(self, idx: int) -> Camera:
        if not -len(self) <= idx < len(self):
            raise IndexError(idx)
        return self.cameras[idx]


def tiny_dataset(trainer: type[BaseTrainer] = BaseTrainer) -> CameraDataset:
    """A new tiny scene, with cameras that can be trained when the trainer trains them."""
    return TrainableCameraDataset(TinyDataset()) if trainer.trains_cameras else TinyDataset()


def tiny_model(trainer: type[BaseTrainer] = BaseTrainer) -> GaussianModel:
    """Sixty Gaussians in front of the cameras of `TinyDataset`, of the kind that the trainer needs."""
    generator = torch.Generator().manual_seed(7)
    points = torch.rand((60, 3), generator=generator) - 0.5
    kind = model_class(True, trainer.trains_cameras) if trainer.trains_surfels else trainer.model_class
    return kind(2).create_from_pcd(points, torch.rand((60, 3), generator=generator))


def _camera(index: int) -> Camera:
    angle = 0.4 * (index - 1)
    rotation = torch.tensor(
        [[math.cos(angle), 0.0, -math.sin(angle)], [0.0, 1.0, 0.0], [math.sin(angle), 0.0, math.cos(angle)]]
    )
    camera = pinhole_camera(HEIGHT, WIDTH, 30.0, 30.0, rotation, torch.tensor([0.1, 0.0, 2.0]), cx=15.0, cy=12.5)
    y, x = torch.meshgrid(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH), indexing="ij")
    return camera._replace(
        ground_truth_image=_picture(x, y, index).permute(2, 0, 1),
        ground_truth_image_mask=(x > 0.2).float(),
        ground_truth_depth=0.4 + 0.2 * y,
        ground_truth_depth_mask=torch.ones(HEIGHT, WIDTH),
        custom_data={"name": f"tiny_{index}"},
    )


def _picture(x: Tensor, y: Tensor, index: int) -> Tensor:
    waves = torch.sin(9 * x + index) * torch.cos(7 * y)
    return torch.stack((0.5 + 0.4 * waves, 0.6 * x + 0.2, 0.7 * y + 0.1), dim=-1)
