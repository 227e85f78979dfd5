"""Penalties on the Gaussians themselves, whatever the pictures say."""

from __future__ import annotations

from torch import Tensor


def oversize(scales: Tensor, limit: float) -> Tensor:
    """The mean of s / limit - 1 over those of the `scales` [N, 3] that are above `limit`; zero when none is.

    Both are in world units.
    """
    above = scales > limit
    excess = (scales / limit - 1).where(above, 0)
    return excess.sum() / above.sum().clamp_min(1)


def mean_scale(scales: Tensor) -> Tensor:
    """The mean of the activated `scales` [N, 3] (3DGS-MCMC, Kheradmand et al. 2024, section 3.3)."""
    return scales.mean()


def mean_opacity(opacities: Tensor) -> Tensor:
    """The mean of the activated `opacities` [N, 1] (3DGS-MCMC, Kheradmand et al. 2024, section 3.3)."""
    return opacities.mean()
