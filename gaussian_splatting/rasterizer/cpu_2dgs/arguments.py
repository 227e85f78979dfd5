"""The groups of arrays that the kernels of surfels take beside those of the CPU backend. Arrays are flat."""

from __future__ import annotations

from typing import NamedTuple

from gaussian_splatting.rasterizer.cpu.simd import Array


class Maps(NamedTuple):
    """What surfels show, or its gradients. A gradient that is zero everywhere has size 0."""

    colors: Array  # float32 [H * W * 3], background included
    alphas: Array  # float32 [H * W]
    depths: Array  # float32 [H * W], sum of w z over alpha
    inverse_depths: Array  # float32 [H * W], sum of w / z
    normals: Array  # float32 [H * W * 3], world
    distortions: Array  # float32 [H * W]
    medians: Array  # float32 [H * W], depth


class Walk(NamedTuple):
    """What the backward pass must know of the forward pass at each pixel."""

    spreads: Array  # float32 [H * W], sum of w (z - z of the nearest contribution)
    median_places: Array  # float32 [H * W], place in the tile's list of the surfel of the median depth, -1 for none
