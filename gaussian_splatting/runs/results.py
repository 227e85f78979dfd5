"""What a run checks of its results: a splat file is what the model holds, and renders are compared with photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.gaussian_arrays import FIELDS
from gaussian_splatting.io.ply import read_gaussians
from gaussian_splatting.losses.metrics import psnr
from gaussian_splatting.rendering.quality import BEST_PSNR

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.gaussian_model import GaussianModel


def picture_psnr(render: torch.Tensor, camera: Camera) -> float | None:
    """PSNR of a render against the camera's picture over all channels and the pixels that its image mask keeps.

    At most 100 dB; None without a picture, or when the mask keeps nothing.
    """
    truth, mask = camera.ground_truth_image, camera.ground_truth_image_mask
    if truth is None or (mask is not None and not bool((mask > 0).any())):
        return None
    return min(BEST_PSNR, float(psnr(render.detach(), truth, mask)))


@torch.no_grad()
def mean_psnr(model: GaussianModel, views: CameraDataset) -> tuple[float, int]:
    """The mean of `picture_psnr` [dB] over the views that have one (0 without any), and the number of these views."""
    values = [picture_psnr(model(camera)["render"], camera) for camera in views]
    found = [value for value in values if value is not None]
    return sum(found) / max(1, len(found)), len(found)


def verify_splat(path: Path, model: GaussianModel) -> None:
    """Raise SplatError when the file just written does not hold the model's values."""
    stored, wanted = read_gaussians(path), model.arrays()
    for name in FIELDS:
        if not np.array_equal(getattr(stored, name), getattr(wanted, name)):
            raise SplatError(f"{path}: reading back gives other values for {name} than were written; check the disk")
