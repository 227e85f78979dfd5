"""Differences between pictures, as losses and as figures to report. Nothing changes its arguments."""

from __future__ import annotations

import torch
from torch import Tensor


def l1_loss(network_output: Tensor, gt: Tensor) -> Tensor:
    """The mean absolute difference [] of two tensors of one shape."""
    return (network_output - gt).abs().mean()


def l2_loss(network_output: Tensor, gt: Tensor) -> Tensor:
    """The mean squared difference [] of two tensors of one shape."""
    return ((network_output - gt) ** 2).mean()


def mse(img1: Tensor, img2: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean squared difference of two pictures [C, H, W], or of each pair of a batch [B, C, H, W] as [B, 1].

    With `mask` [H, W] (or [B, 1, H, W]) it is the mean over the valid pixels, each weighted by its mask; NaN when
    there are none.
    """
    squared = (img1 - img2) ** 2
    weights = torch.ones_like(squared) if mask is None else mask.to(squared).expand_as(squared)
    mean = (squared * weights).sum(dim=(-3, -2, -1)) / weights.sum(dim=(-3, -2, -1))
    return mean if img1.ndim == 3 else mean[:, None]


def psnr(img1: Tensor, img2: Tensor, mask: Tensor | None = None) -> Tensor:
    """The peak signal-to-noise ratio in dB of pictures with values in [0, 1], over all channels at once.

    A scalar for [C, H, W], one value per picture [B, 1] for a batch [B, C, H, W]; infinite for equal pictures. `mask`
    is as for `mse`: masked pixels do not count.
    """
    return -10 * mse(img1, img2, mask).log10()
