"""What goes into a rasteriser backend and what comes out: the types of the call that the model makes.

Every backend module offers two functions. `rasterization(...)` has gsplat's own signature and takes activated values.
`render_gaussians(parameters, view)` takes the raw parameters of a model, so that a backend may fuse the activations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class GaussianParameters:
    """The raw, trainable values of N Gaussians with K spherical-harmonics coefficients per colour channel."""

    means: Tensor  # [N, 3] world
    quats: Tensor  # [N, 4] wxyz, normalised on use
    log_scales: Tensor  # [N, 3]
    opacity_logits: Tensor  # [N, 1]
    features_dc: Tensor  # [N, 1, 3]
    features_rest: Tensor  # [N, K-1, 3]


@dataclass(frozen=True)
class RasterView:
    """One pinhole view. `viewmat` may require a gradient (camera optimisation)."""

    viewmat: Tensor  # [4, 4] camera from world, OpenCV axes
    K: Tensor  # [3, 3] pixels, principal point included
    width: int
    height: int
    sh_degree: int
    background: Tensor  # [3]
    antialiased: bool = False
    scale_modifier: float = 1.0
    near_plane: float = 0.01
    far_plane: float = 1e10
    eps2d: float = 0.3
    packed: bool = False  # what is in between is kept of the visible Gaussians only; changes no result
    sparse_grad: bool = False  # gradients are sparse tensors, which hold the rows in view only
    radius_clip: float = 0.0  # pixels; Gaussians of this radius or less are not shown
    absgrad: bool = False  # backward also puts the sums of absolute gradients into `means2d.absgrad`


@dataclass
class RasterOutput:
    """What a backend rendered, before clamping and post-processing."""

    colors: Tensor  # [H, W, 3], background included
    alphas: Tensor  # [H, W]
    depth: Tensor  # [H, W] expected z: sum of w z divided by alpha, 0 where alpha is 0
    inverse_depth: Tensor  # [H, W] sum of w / z, not divided by alpha
    radii: Tensor  # [N] int32 pixels, 0 where not visible
    means2d: Tensor  # [N, 2] pixels; after backward `.grad` holds d loss / d pixel position
    extras: dict[str, Tensor] = field(default_factory=dict)  # 2DGS: normals, distortion, median depth


class Backend(Protocol):
    """A rasteriser backend: a module with these two functions."""

    def rasterization(
        self,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        viewmats: Tensor,
        Ks: Tensor,
        width: int,
        height: int,
        **options: Any,
    ) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """Pictures [C, H, W, X], alphas [C, H, W, 1] and `meta`, as `gsplat.rasterization` gives them."""
        ...

    def render_gaussians(self, parameters: GaussianParameters, view: RasterView) -> RasterOutput:
        """One view of raw parameters."""
        ...
