"""`gsplat.rasterization_2dgs` (1.5.3, Apache-2.0) on CPU tensors: the same arguments, results and `meta`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gaussian_splatting.errors import BackendError
from gaussian_splatting.geometry.rotations import quaternion_to_matrix
from gaussian_splatting.rasterizer.arguments import check_background, check_shapes
from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.function import check_inputs
from gaussian_splatting.rasterizer.cpu.model_call import MAX_DEGREE
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings
from gaussian_splatting.rasterizer.cpu_2dgs.arguments import Maps
from gaussian_splatting.rasterizer.cpu_2dgs.function import Rendering, render_view
from gaussian_splatting.rasterizer.cpu_2dgs.layout import BOX_TILE
from gaussian_splatting.rasterizer.cpu_2dgs.model_call import NAME
from gaussian_splatting.rasterizer.reference.layout import Layout
from gaussian_splatting.rasterizer.reference.projection import Lens
from gaussian_splatting.rasterizer.reference_2dgs.projection import Surfels, project
from gaussian_splatting.rasterizer.surface import check_surface_modes, normals_from_depth

CHANNELS = 3


def rasterization_2dgs(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = False,
    tile_size: int = BOX_TILE,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    distloss: bool = False,
    depth_mode: str = "expected",
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor, dict[str, Any]]:
    """Render N surfels into C views, with the arguments and the results of `gsplat.rasterization_2dgs`.

    Gives pictures [C, H, W, X], alphas [C, H, W, 1], world normals [C, H, W, 3], world normals of the depth
    [C, H, W, 3] (None unless the mode has colours and depth), distortion [C, H, W, 1], median depth [C, H, W, 1] and
    `meta`, which has gsplat's keys except those of its tile lists. Only `meta["gradient_2dgs"]` gets a gradient there:
    after a backward pass its `.grad` is that for densification, in pixels. Tiles are those of gsplat's default.
    """
    check_surface_modes(NAME, render_mode, depth_mode, sparse_grad, absgrad, distloss)
    check_inputs(means=means, quats=quats, scales=scales, opacities=opacities, colors=colors, viewmats=viewmats)
    check_shapes(means, quats, scales, opacities, colors, viewmats, Ks, sh_degree)
    check_background(backgrounds, len(viewmats), 3 if sh_degree is not None else colors.shape[-1])
    if tile_size != BOX_TILE:
        raise BackendError(f"the {NAME} backend has tiles of {BOX_TILE} pixels; leave tile_size={tile_size} out")
    if sh_degree is not None and sh_degree > MAX_DEGREE:
        raise BackendError(f"the {NAME} backend supports sh_degree up to {MAX_DEGREE}, found {sh_degree}")
    lenses = [Lens(K, width, height, near_plane, far_plane, eps2d, radius_clip, False) for K in Ks]
    passes: list[list[Rendering]] = []
    for index, (viewmat, lens) in enumerate(zip(viewmats, lenses, strict=True)):
        own = colors[index] if colors.dim() == (3 if sh_degree is None else 4) else colors
        parts = _in_threes(own, None if backgrounds is None else backgrounds[index], sh_degree)
        parts = parts if render_mode.startswith("RGB") else parts[:1]
        settings = _settings(lens, sh_degree)
        passes.append([
            render_view(means, quats, scales, opacities, part, None, viewmat, background, settings)
            for part, background in parts
        ])  # fmt: skip
    seen = [
        _describe(own[0], (means, quats, scales, opacities), viewmat, lens)
        for own, viewmat, lens in zip(passes, viewmats, lenses, strict=True)
    ]
    meta, leaves = _meta(seen, passes, packed, len(means))
    num_channels = colors.shape[-1] if render_mode.startswith("RGB") else 0
    views = [
        _view_results([Maps(*part.attach(leaf)) for part in own], num_channels, render_mode, depth_mode, viewmat, K)
        for own, leaf, viewmat, K in zip(passes, leaves, viewmats, Ks, strict=True)
    ]
    pictures, alphas, normals, from_depth, distortion, median = (
        None if parts[0] is None else torch.stack(parts) for parts in zip(*views, strict=True)
    )
    meta |= {"width": width, "height": height, "tile_size": tile_size, "n_cameras": len(viewmats)}
    meta |= {"tile_width": -(-width // tile_size), "tile_height": -(-height // tile_size)}
    meta["render_distort"] = distortion
    return pictures, alphas, normals, from_depth, distortion, median, meta  # pyright: ignore[reportReturnType]


def _in_threes(colors: Tensor, background: Tensor | None, sh_degree: int | None) -> list[tuple[Tensor, Tensor]]:
    """Colours and background for each rendering: three channels at a time, the last ones filled up with zeros."""
    behind = colors.new_zeros(colors.shape[-1]) if background is None else background
    if sh_degree is not None:
        return [(colors, behind)]
    missing = -colors.shape[-1] % CHANNELS
    colors, behind = pad(colors, (0, missing)), pad(behind, (0, missing))
    return list(zip(colors.split(CHANNELS, dim=-1), behind.split(CHANNELS), strict=True))


def _settings(lens: Lens, sh_degree: int | None) -> RenderSettings:
    return RenderSettings(
        lens.K.detach().double().numpy(), lens.width, lens.height, sh_degree, False, False, lens.near_plane,
        lens.far_plane, lens.radius_clip, lens.eps2d, radii_stride=2
    )  # fmt: skip


@torch.no_grad()
def _describe(view: Rendering, values: tuple[Tensor, ...], viewmat: Tensor, lens: Lens) -> Surfels:
    """What gsplat reports of the surfels that a rendered view shows."""
    counts = view.frame.projection.counts
    slots = np.flatnonzero((np.arange(layout.PROJECT_CHUNK)[None] < counts[:, None]).ravel())
    ids = torch.from_numpy(view.frame.projection.ids[slots]).long()
    means, quats, scales, opacities = (value[ids] for value in values)

    def take(rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return means[rows], quaternion_to_matrix(quats[rows]), scales[rows], opacities[rows]

    found = project(means, take, viewmat, lens)
    return Surfels(ids[found.ids], found.means2d, found.rays, found.depths, found.normals, found.opacities, found.radii)


def _meta(
    seen: list[Surfels], passes: list[list[Rendering]], packed: bool, num: int
) -> tuple[dict[str, Any], list[Tensor]]:
    """`meta`, and for each view the part of `meta["gradient_2dgs"]` that is its own."""
    ids = [surfels.ids for surfels in seen]
    arranged = Layout.packed(ids) if packed else Layout.dense(ids, num)
    means2d = arranged.arrange([surfels.means2d for surfels in seen])
    holder = means2d.clone().requires_grad_(passes[0][0].wants_gradient)
    leaves = list(holder.split([len(own) for own in ids]) if packed else holder.unbind())
    for own, rows in zip(passes, ids, strict=True):
        for rendering in own:
            rendering.visible = rows if packed else None
    cameras = [torch.full_like(own, index) for index, own in enumerate(ids)]
    meta = {
        "camera_ids": torch.cat(cameras) if packed else None,
        "gaussian_ids": torch.cat(ids) if packed else None,
        "radii": arranged.arrange([surfels.radii for surfels in seen]),
        "means2d": means2d,
        "depths": arranged.arrange([surfels.depths for surfels in seen]),
        "ray_transforms": arranged.arrange([surfels.rays for surfels in seen]),
        "opacities": arranged.arrange([surfels.opacities for surfels in seen]),
        "normals": arranged.arrange([surfels.normals for surfels in seen]),
        "gradient_2dgs": holder,
    }
    return meta, leaves


def _view_results(
    parts: list[Maps], num_channels: int, render_mode: str, depth_mode: str, viewmat: Tensor, K: Tensor
) -> tuple[Tensor | None, ...]:
    first = parts[0]
    channels = [torch.cat([part.colors for part in parts], dim=-1)[..., :num_channels]] if num_channels else []
    depth = first.depths if render_mode.endswith("ED") else first.depths * first.alphas
    if render_mode.endswith("D"):
        channels.append(depth[..., None])
    from_depth = None
    if render_mode in ("RGB+D", "RGB+ED"):
        from_depth = normals_from_depth(first.medians if depth_mode == "median" else depth, viewmat, K)
    surface = first.normals, from_depth, first.distortions[..., None], first.medians[..., None]
    return torch.cat(channels, dim=-1), first.alphas[..., None], *surface
