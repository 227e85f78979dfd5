"""The reference of surface splatting: plain PyTorch, any device, float32 or float64, differentiable in every input.

It is slow and exact, and the oracle of the other 2DGS backends. What it computes is what gsplat 1.5.3 computes.
"""

from __future__ import annotations

from gaussian_splatting.rasterizer.reference_2dgs.api import rasterization, rasterization_2dgs, render_gaussians
from gaussian_splatting.rasterizer.surface import EXTRAS

__all__ = ["EXTRAS", "rasterization", "rasterization_2dgs", "render_gaussians"]
