"""What is blended for each Gaussian besides its opacity, and what stands behind it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from gaussian_splatting.geometry.sh import eval_sh


def view_colors(colors: Tensor, means: Tensor, centre: Tensor, sh_degree: int | None) -> Tensor:
    """The colours [M, D] towards a camera at `centre` [3]: `colors` [M, D], or those of SH coefficients [M, K, 3]."""
    if sh_degree is None:
        return colors
    directions = normalize(means - centre, dim=-1)
    return (eval_sh(sh_degree, colors.transpose(-1, -2), directions) + 0.5).clamp_min(0)


def features(colors: Tensor, depths: Tensor, render_mode: str) -> Tensor:
    """The channels [M, X] that `render_mode` blends: `colors` [M, D], `depths` [M], or both."""
    channels = [colors] if render_mode.startswith("RGB") else []
    if render_mode.endswith("D"):
        channels.append(depths[:, None])
    return torch.cat(channels, dim=-1)


def finish(blended: Tensor, background: Tensor | None, render_mode: str) -> tuple[Tensor, Tensor]:
    """Picture [H, W, X] and alpha [H, W, 1] of what `blend` gave: background behind colours, expected depth divided."""
    picture, transmittance = blended[..., :-1], blended[..., -1:]
    alpha = 1 - transmittance
    if background is not None and render_mode.startswith("RGB"):
        picture = picture + transmittance * pad(background, (0, picture.shape[-1] - len(background)))
    if render_mode.endswith("ED"):
        picture = torch.cat([picture[..., :-1], picture[..., -1:] / alpha.clamp_min(1e-10)], dim=-1)
    return picture, alpha
