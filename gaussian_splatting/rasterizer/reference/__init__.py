"""The reference backend: plain PyTorch, any device, float32 or float64, differentiable in every input.

It is slow and exact, and the oracle that every other backend is tested against. What it computes is what gsplat 1.5.3
computes; the intrinsics, which gsplat treats as constants, get gradients here too.
"""

from __future__ import annotations

from gaussian_splatting.rasterizer.reference.api import rasterization, render_gaussians

ABSOLUTE_GRADIENTS = True
"""Whether `render_gaussians` knows `RasterView.absgrad`."""
VIEW_OPTIONS = frozenset({"radius_clip"})
"""Fields of `RasterView` that are heeded, which not every backend does."""

__all__ = ["ABSOLUTE_GRADIENTS", "VIEW_OPTIONS", "rasterization", "render_gaussians"]
