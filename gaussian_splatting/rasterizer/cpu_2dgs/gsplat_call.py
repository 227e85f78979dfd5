"""`gsplat.rasterization_2dgs` (1.5.3, Apache-2.0) on CPU tensors: the same arguments, results and `meta`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gaussian_splatting.errors import UnsupportedError
from gaussian_splatting.geometry.rotations import quaternion_to_matrix
from gaussian_splatting.rasterizer.arguments import check_sparse
from gaussian_splatting.rasterizer.batches import Batch, View
from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.function import check_inputs
from gaussian_splatting.rasterizer.cpu.gsplat_meta import Arrangement
from gaussian_splatting.rasterizer.cpu.gsplat_tiles import LISTS, LazyMeta, tile_lists
from gaussian_splatting.rasterizer.cpu.model_call import MAX_DEGREE
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings
from gaussian_splatting.rasterizer.cpu_2dgs.arguments import Maps
from gaussian_splatting.rasterizer.cpu_2dgs.function import Rendering, render_view
from gaussian_splatting.rasterizer.cpu_2dgs.layout import BOX_TILE
from gaussian_splatting.rasterizer.cpu_2dgs.model_call import NAME
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

    "..." being any batch dimensions, as in gsplat, it gives pictures [..., C, H, W, X], alphas [..., C, H, W, 1], world
    normals [..., C, H, W, 3], world normals of the depth [..., C, H, W, 3] (None unless the mode has colours and
    depth), distortion [..., C, H, W, 1], median depth [..., C, H, W, 1] and `meta` with all of gsplat's keys. Only
    `meta["gradient_2dgs"]` gets a gradient there: after a backward pass its `.grad` is that for densification, in
    pixels. Tiles are those of gsplat's default. Raises UnsupportedError and BackendError, by name, as
    `cpu.rasterization` does.
    """
    check_surface_modes(NAME, render_mode, depth_mode, absgrad, distloss)
    check_inputs(means=means, quats=quats, scales=scales, opacities=opacities, colors=colors, viewmats=viewmats)
    batch = Batch(means, quats, scales, opacities, colors, viewmats, Ks, backgrounds, None, sh_degree)
    check_sparse(NAME, sparse_grad, packed, batch.leading)
    if tile_size != BOX_TILE:
        raise UnsupportedError(f"the {NAME} backend has tiles of {BOX_TILE} pixels; leave tile_size={tile_size} out")
    if sh_degree is not None and sh_degree > MAX_DEGREE:
        raise UnsupportedError(f"the {NAME} backend has no sh_degree {sh_degree}; give 0 to {MAX_DEGREE}")
    wants_colors = render_mode.startswith("RGB")
    views = list(batch.views(with_colors=wants_colors))
    lenses = [Lens(view.K, width, height, near_plane, far_plane, eps2d, radius_clip, False) for view in views]
    degree = sh_degree if wants_colors else None
    passes = [_render(view, lens, degree) for view, lens in zip(views, lenses, strict=True)]
    seen = [_describe(*parts) for parts in zip(passes, views, lenses, strict=True)]
    leading = (*batch.leading, batch.num_cameras)
    meta, leaves = _meta(seen, passes, Arrangement(seen, packed, leading, means.shape[-2]), sparse_grad)  # pyright: ignore[reportArgumentType]
    num_channels = batch.num_channels if wants_colors else 0
    results = [
        _view_results([Maps(*part.attach(leaf)) for part in own], num_channels, render_mode, depth_mode, view)
        for own, leaf, view in zip(passes, leaves, views, strict=True)
    ]
    pictures, alphas, normals, from_depth, distortion, median = (
        None if parts[0] is None else torch.stack(parts).unflatten(0, leading) for parts in zip(*results, strict=True)
    )
    meta |= {"width": width, "height": height, "tile_size": tile_size, "n_cameras": batch.num_cameras}
    tiles = {"tile_width": -(-width // tile_size), "tile_height": -(-height // tile_size)}
    meta |= tiles | {"render_distort": distortion}
    cameras, shape = meta["camera_ids"], (*leading, tiles["tile_height"], tiles["tile_width"])
    images = None if cameras is None else meta.pop("batch_ids") * batch.num_cameras + cameras
    meta.pop("batch_ids", None)
    boxes = (meta["means2d"], meta["radii"], meta["depths"])
    lazy = LazyMeta(meta, LISTS, lambda: tile_lists(*boxes, images, shape, tile_size))
    return pictures, alphas, normals, from_depth, distortion, median, lazy  # pyright: ignore[reportReturnType]


def _render(view: View, lens: Lens, sh_degree: int | None) -> list[Rendering]:
    """The renderings of one view, of three channels each."""
    assert view.quats is not None and view.scales is not None
    values = (view.means, view.quats, view.scales, view.opacities)
    return [
        render_view(*values, part, None, view.viewmat, background, _settings(lens, sh_degree))
        for part, background in _in_threes(view.colors, view.background, sh_degree)
    ]


def _in_threes(colors: Tensor, behind: Tensor, sh_degree: int | None) -> list[tuple[Tensor, Tensor]]:
    """Colours and background for each rendering: three channels at a time, the last ones filled up with zeros."""
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
def _describe(passes: list[Rendering], view: View, lens: Lens) -> Surfels:
    """What gsplat reports of the surfels that a rendered view shows."""
    projection = passes[0].frame.projection
    slots = np.flatnonzero((np.arange(layout.PROJECT_CHUNK)[None] < projection.counts[:, None]).ravel())
    ids = torch.from_numpy(projection.ids[slots]).long()
    assert view.quats is not None and view.scales is not None
    means, quats, scales, opacities = (value[ids] for value in (view.means, view.quats, view.scales, view.opacities))

    def take(rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return means[rows], quaternion_to_matrix(quats[rows]), scales[rows], opacities[rows]

    found = project(means, take, view.viewmat, lens)
    return Surfels(ids[found.ids], found.means2d, found.rays, found.depths, found.normals, found.opacities, found.radii)


def _meta(
    seen: list[Surfels], passes: list[list[Rendering]], arrangement: Arrangement, sparse_grad: bool
) -> tuple[dict[str, Any], list[Tensor]]:
    """`meta`, and for each view the part of `meta["gradient_2dgs"]` that is its own."""
    means2d = arrangement.arrange([surfels.means2d for surfels in seen])
    holder = means2d.clone().requires_grad_(passes[0][0].wants_gradient)
    for own, surfels in zip(passes, seen, strict=True):
        for rendering in own:
            rendering.visible, rendering.sparse_grad = surfels.ids, sparse_grad
    meta = arrangement.ids() | {
        "radii": arrangement.arrange([surfels.radii for surfels in seen]),
        "means2d": means2d,
        "depths": arrangement.arrange([surfels.depths for surfels in seen]),
        "ray_transforms": arrangement.arrange([surfels.rays for surfels in seen]),
        "opacities": arrangement.arrange([surfels.opacities for surfels in seen]),
        "normals": arrangement.arrange([surfels.normals for surfels in seen]),
        "gradient_2dgs": holder,
    }
    return meta, arrangement.split(holder)


def _view_results(
    parts: list[Maps], num_channels: int, render_mode: str, depth_mode: str, view: View
) -> tuple[Tensor | None, ...]:
    first = parts[0]
    channels = [torch.cat([part.colors for part in parts], dim=-1)[..., :num_channels]] if num_channels else []
    depth = first.depths if render_mode.endswith("ED") else first.depths * first.alphas
    if render_mode.endswith("D"):
        channels.append(depth[..., None])
    from_depth = None
    if render_mode in ("RGB+D", "RGB+ED"):
        from_depth = normals_from_depth(first.medians if depth_mode == "median" else depth, view.viewmat, view.K)
    surface = first.normals, from_depth, first.distortions[..., None], first.medians[..., None]
    return torch.cat(channels, dim=-1), first.alphas[..., None], *surface
