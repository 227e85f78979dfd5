"""Structural similarity of pictures (Wang et al. 2004), with the window and the constants that 3DGS papers use."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import conv2d

WINDOW_SIZE = 11  # pixels
SIGMA = 1.5  # pixels
C1 = 0.01**2
C2 = 0.03**2


def gaussian(window_size: int, sigma: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """The weights [window_size] of a Gaussian centred in a window; they add up to one."""
    offsets = torch.arange(window_size, dtype=torch.float64) - window_size // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return (weights / weights.sum()).to(dtype)


def create_window(window_size: int, channel: int) -> Tensor:
    """The two-dimensional window [channel, 1, window_size, window_size] of a convolution with one group per channel."""
    weights = gaussian(window_size, SIGMA)
    return torch.outer(weights, weights).expand(channel, 1, window_size, window_size).contiguous()


def ssim(img1: Tensor, img2: Tensor, window_size: int = WINDOW_SIZE, size_average: bool = True) -> Tensor:
    """The mean similarity of two pictures [C, H, W] or batches [B, C, H, W] with values in [0, 1]; 1 when equal.

    Differentiable. With `size_average=False` there is one mean [B] per picture. Outside the picture is zero.

    >>> ssim(torch.ones(3, 16, 16), torch.ones(3, 16, 16))
    tensor(1.)
    """
    return ssim_map(img1, img2, window_size).mean(dim=None if size_average else (-3, -2, -1))


def ssim_map(first: Tensor, second: Tensor, window_size: int = WINDOW_SIZE) -> Tensor:
    """The similarity at every pixel and channel, of the shape of the two pictures [..., H, W]."""
    products = (first, second, first * first, second * second, first * second)
    maps = torch.stack(torch.broadcast_tensors(*products))  # [5, ..., H, W]
    mean1, mean2, square1, square2, product = _filtered(maps, window_size).unbind(0)
    variance1, variance2 = square1 - mean1 * mean1, square2 - mean2 * mean2
    covariance = product - mean1 * mean2
    numerator = (2 * mean1 * mean2 + C1) * (2 * covariance + C2)
    return numerator / ((mean1 * mean1 + mean2 * mean2 + C1) * (variance1 + variance2 + C2))


def _filtered(maps: Tensor, window_size: int) -> Tensor:
    """The Gaussian mean around every pixel of `maps` [..., H, W]. The window is separable: two cheap passes."""
    weights = window_weights(window_size, maps.dtype, maps.device)
    half = window_size // 2
    planes = maps.reshape(-1, 1, *maps.shape[-2:])
    planes = conv2d(planes, weights[None, None, :, None], padding=(half, 0))
    planes = conv2d(planes, weights[None, None, None, :], padding=(0, half))
    return planes.reshape(maps.shape)


@lru_cache(maxsize=8)
def window_weights(window_size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The weights [window_size] of `gaussian` on a device, made once."""
    # Made outside inference mode, so that a window first used for a metric can serve a loss later.
    with torch.inference_mode(False):
        return gaussian(window_size, SIGMA, dtype).to(device)
