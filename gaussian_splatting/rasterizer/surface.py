"""What surface splatting gives beyond colour and depth, in one shape for every 2DGS backend.

2D Gaussian Splatting (Huang et al. 2024) renders flat Gaussians, surfels, with the conventions of gsplat 1.5.3: the
depth of a surfel is the z of its centre, normals look towards the camera, distortion is the L1 variant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from gaussian_splatting.errors import BackendError, UnsupportedError
from gaussian_splatting.rasterizer.arguments import check_modes, refuse_gsplat_only

EXTRAS = frozenset({"render_normals", "normals_from_depth", "render_alphas", "render_distort", "render_median"})
"""The keys of `RasterOutput.extras` that every 2DGS backend fills."""

DEPTH_MODES = ("expected", "median")


def surface_extras(
    normals: Tensor, from_depth: Tensor, alphas: Tensor, distortion: Tensor, median: Tensor
) -> dict[str, Tensor]:
    """The extras, channels first, from world normals [H, W, 3] and from maps [H, W]."""
    return {
        "render_normals": normals.permute(2, 0, 1),
        "normals_from_depth": from_depth.permute(2, 0, 1),
        "render_alphas": alphas[None],
        "render_distort": distortion[None],
        "render_median": median[None],
    }


def world_normals(normals: Tensor, viewmat: Tensor) -> Tensor:
    """Normals [..., 3] of camera axes in world axes."""
    # Without a check for singular matrices, for which the host would wait for a card.
    return normals @ torch.linalg.inv_ex(viewmat[:3, :3]).inverse.T


def normals_from_depth(depth: Tensor, viewmat: Tensor, K: Tensor) -> Tensor:
    """World normals [H, W, 3] of the surface that a depth map [H, W] shows, by central differences.

    They look towards the camera. The border has none, nor has a pixel whose neighbours span no area: zeros there.
    """
    height, width = depth.shape
    x = (torch.arange(width, dtype=depth.dtype, device=depth.device) + 0.5 - K[0, 2]) / K[0, 0]
    y = (torch.arange(height, dtype=depth.dtype, device=depth.device) + 0.5 - K[1, 2]) / K[1, 1]
    rays = torch.stack([x.expand(height, width), y[:, None].expand(height, width), torch.ones_like(depth)], dim=-1)
    points = rays * depth[..., None]  # [H, W, 3] camera axes
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    right = points[1:-1, 2:] - points[1:-1, :-2]
    crossed = torch.cross(down, right, dim=-1)
    # Where there is no area there is no direction, and no gradient either.
    known = (crossed.detach() != 0).any(dim=-1, keepdim=True)
    normals = torch.where(known, normalize(torch.where(known, crossed, 1), dim=-1), 0)
    return pad(world_normals(normals, viewmat), (0, 0, 1, 1, 1, 1))


def check_surface_view(backend: str, antialiased: bool) -> None:
    """Refuse the compensation that only 3D Gaussians have."""
    if antialiased:
        raise BackendError(
            f"the {backend} backend has no antialiased mode, its low-pass filter is always on; leave antialiased out"
        )


def check_surface_modes(
    backend: str, render_mode: str, depth_mode: str, absgrad: bool, distloss: bool, sparse_grad: bool = False
) -> None:
    """Refuse a mode of `rasterization_2dgs` that is unknown or that `backend` does not support."""
    check_modes(backend, render_mode, "classic", "pinhole", sparse_grad)
    if depth_mode not in DEPTH_MODES:
        raise BackendError(f"the {backend} backend has no depth_mode {depth_mode!r}; use one of expected, median")
    if absgrad:
        raise UnsupportedError(f"the {backend} backend gives no absolute gradients; leave absgrad=False")
    if distloss and render_mode == "RGB":
        raise BackendError("distloss needs a depth: render_mode must be D, ED, RGB+D or RGB+ED, found 'RGB'")


def without_surface(
    backend: str, rasterization_2dgs: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Call `rasterization_2dgs` as `gsplat.rasterization` is called: pictures, alphas, and all else in `meta`."""
    options = dict(options)
    check_surface_view(backend, options.pop("rasterize_mode", "classic") == "antialiased")
    check_modes(backend, "RGB", "classic", options.pop("camera_model", "pinhole"), False)
    options.pop("channel_chunk", None)
    known = {name: options.pop(name) for name in tuple(options) if name in _OPTIONS}
    refuse_gsplat_only(backend, options)
    pictures, alphas, normals, from_depth, distortion, median, meta = rasterization_2dgs(*args, **known)
    surface = {"render_normals": normals, "normals_from_depth": from_depth, "render_alphas": alphas}
    surface |= {"render_distort": distortion, "render_median": median}
    return pictures, alphas, meta | surface | {"means2d": meta["gradient_2dgs"]}


_OPTIONS = frozenset({
    "means", "quats", "scales", "opacities", "colors", "viewmats", "Ks", "width", "height", "near_plane", "far_plane",
    "radius_clip", "eps2d", "sh_degree", "packed", "tile_size", "backgrounds", "render_mode", "sparse_grad", "absgrad",
    "distloss", "depth_mode",
})  # fmt: skip
