"""How much of the pictures is left at a smaller size, and how much of a run such pictures are good for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import interpolate

from gaussian_splatting.dataset.split import even_choice
from gaussian_splatting.trainer.pyramid import area_mean

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset

MOST_SAMPLED = 12
NOTHING, EVERYTHING = 22.0, 36.0
"""PSNR in dB of pictures at which no step, and every step, of a run may be taken at their size."""
HIGHEST_SHARE = 0.95


def kept_detail(dataset: CameraDataset, factor: int) -> float | None:
    """PSNR in dB of pictures that were reduced by `factor` and enlarged again: the best that training on them can give.

    The mean error of up to 12 pictures, evenly spread. None when a picture is missing or smaller than the factor.
    """
    errors: list[float] = []
    for index in even_choice(len(dataset), MOST_SAMPLED):
        picture = dataset[index].ground_truth_image
        if picture is None or min(picture.shape[1:]) < factor:
            return None
        errors.append(_lost(picture, factor))
    mean = sum(errors) / len(errors)
    return math.inf if mean == 0 else -10 * math.log10(mean)


def _lost(picture: Tensor, factor: int) -> float:
    """The mean squared error of a picture [3, H, W] that was averaged over squares and enlarged again."""
    height, width = (side // factor * factor for side in picture.shape[1:])
    small = area_mean(picture, factor)
    enlarged = interpolate(small[None], scale_factor=factor, mode="bilinear", align_corners=False)[0]
    return float((enlarged - picture[:, :height, :width]).double().square().mean())


def share_of_run(decibels: float) -> float:
    """The part of a run, from its start, in which pictures that keep `decibels` of the full ones are good enough.

    A run comes nearer to its pictures at a steady pace, and below what a small picture keeps there is nothing to learn
    from it. Compare Chen et al. 2025, "DashGaussian", which takes the same from spectra.
    """
    return min(HIGHEST_SHARE, max(0.0, (decibels - NOTHING) / (EVERYTHING - NOTHING)))
