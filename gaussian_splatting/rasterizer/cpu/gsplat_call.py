"""`gsplat.rasterization` (1.5.3, Apache-2.0) on CPU tensors: the same arguments, results and `meta`."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from gaussian_splatting.errors import BackendError, UnsupportedError
from gaussian_splatting.geometry.sh import MAX_DEGREE
from gaussian_splatting.rasterizer.arguments import check_modes, check_sparse, refuse_gsplat_only
from gaussian_splatting.rasterizer.batches import Batch, View
from gaussian_splatting.rasterizer.cpu import model_call
from gaussian_splatting.rasterizer.cpu.channel_passes import COLORS
from gaussian_splatting.rasterizer.cpu.function import check_inputs
from gaussian_splatting.rasterizer.cpu.gsplat_ellipses import EllipseView, ellipse_view
from gaussian_splatting.rasterizer.cpu.gsplat_fused import FusedView, fused_view
from gaussian_splatting.rasterizer.cpu.gsplat_meta import AddAbsolute, Arrangement, describe
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings
from gaussian_splatting.rasterizer.reference.projection import CAMERA_MODELS, Lens
from gaussian_splatting.rasterizer.reference.shading import view_colors


def rasterization(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
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
    packed: bool = True,
    tile_size: int = 16,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    distributed: bool = False,
    camera_model: str = "pinhole",
    segmented: bool = False,
    covars: Tensor | None = None,
    **gsplat_only: object,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Render N Gaussians into C views: colours [..., C, H, W, X], alphas [..., C, H, W, 1] and what happened.

    Arguments and results are those of `gsplat.rasterization`, "..." being any batch dimensions: means [..., N, 3],
    quats [..., N, 4] (wxyz, of any length), scales [..., N, 3] or covars [..., N, 3, 3] instead of both, opacities
    [..., N], colors [..., N, K, 3] or [..., C, N, K, 3] with `sh_degree`, else [..., N, D] or [..., C, N, D], viewmats
    [..., C, 4, 4], Ks [..., C, 3, 3] in pixels, backgrounds [..., C, D]. The camera model is "pinhole", "ortho" or
    "fisheye". `meta` has all of gsplat's keys; after a backward pass `meta["means2d"].grad` and `.absgrad`
    are in pixels. `tile_size` shapes the lists in `meta` only; `channel_chunk` and `segmented` change
    nothing. Everything is float32 and on the CPU.

    Raises UnsupportedError, which is a NotImplementedError, for what only gsplat has, and BackendError for tensors and
    values that do not fit together; both name the argument.
    """
    check_modes("cpu", render_mode, rasterize_mode, camera_model, cameras=tuple(CAMERA_MODELS))
    refuse_gsplat_only("cpu", gsplat_only | {"distributed": distributed})
    given: dict[str, Any] = {"means": means, "quats": quats, "scales": scales, "opacities": opacities}
    given |= {"colors": colors, "viewmats": viewmats, "Ks": Ks, "backgrounds": backgrounds, "covars": covars}
    optional = ("quats", "scales", "backgrounds", "covars")
    check_inputs(**{name: value for name, value in given.items() if name not in optional or value is not None})
    if not isinstance(tile_size, Integral) or tile_size < 1:
        raise BackendError(f"tile_size must be an integer of at least 1, found {tile_size!r}")
    if sh_degree is not None and not 0 <= sh_degree <= MAX_DEGREE:
        raise UnsupportedError(f"the cpu backend has no sh_degree {sh_degree}; give 0 to {MAX_DEGREE}")
    batch = Batch(means, quats, scales, opacities, colors, viewmats, Ks, backgrounds, covars, sh_degree)
    check_sparse("cpu", sparse_grad, packed, batch.leading)
    shows_colors = render_mode.startswith("RGB")
    antialiased = rasterize_mode == "antialiased"
    views: list[FusedView | EllipseView] = []
    for view in batch.views(with_colors=shows_colors):
        lens = Lens(view.K, width, height, near_plane, far_plane, eps2d, radius_clip, antialiased, camera_model)
        views.append(_project(view, lens, sh_degree if shows_colors else None, sparse_grad))
    leading = (*batch.leading, batch.num_cameras)
    arrangement = Arrangement([view.seen for view in views], packed, leading, means.shape[-2])
    meta = describe(arrangement, width, height, tile_size)
    positions = arrangement.split(meta["means2d"])
    sums: list[AddAbsolute | None] = [None] * len(views)
    if absgrad and meta["means2d"].requires_grad:
        meta["means2d"].absgrad = torch.zeros_like(meta["means2d"])
        sums = arrangement.adders(meta["means2d"].absgrad)
    drawn = [view.draw(own, add) for view, own, add in zip(views, positions, sums, strict=True)]
    num_channels = batch.num_channels if shows_colors else 0
    pictures = torch.stack([_compose(own, num_channels, render_mode) for own in drawn])
    alphas = torch.stack([own[1] for own in drawn]).unsqueeze(-1)
    return pictures.unflatten(0, leading), alphas.unflatten(0, leading), meta


def _project(view: View, lens: Lens, sh_degree: int | None, sparse_grad: bool) -> FusedView | EllipseView:
    """Project one view, and render it if that goes together."""
    colors, background = view.colors, view.background
    fused = view.covars is None and lens.camera_model == "pinhole"
    if fused and sh_degree is not None and sh_degree > model_call.MAX_DEGREE:  # more harmonics than the kernels have
        colors, sh_degree = view_colors(colors, view.means, torch.linalg.inv(view.viewmat)[:3, 3], sh_degree), None
    if sh_degree is None:
        missing = max(0, COLORS - colors.shape[-1])
        colors, background = pad(colors, (0, missing)), pad(background, (0, missing))
    settings = RenderSettings(
        lens.K.detach().double().numpy(), lens.width, lens.height, sh_degree, False, lens.antialiased,
        lens.near_plane, lens.far_plane, lens.radius_clip, lens.eps2d, radii_stride=2
    )  # fmt: skip
    view = replace(view, colors=colors, background=background)
    if fused:
        return fused_view(view, settings, lens, sparse_grad)
    return ellipse_view(view, settings, lens, sparse_grad)


def _compose(drawn: tuple[Tensor, ...], num_channels: int, render_mode: str) -> Tensor:
    """The picture [H, W, X] that a render mode asks for."""
    picture, alphas, depths = drawn
    channels = [picture[..., :num_channels]] if num_channels else []
    if render_mode.endswith("ED"):
        channels.append(depths.unsqueeze(-1))
    elif render_mode.endswith("D"):
        channels.append((depths * alphas).unsqueeze(-1))
    return channels[0] if len(channels) == 1 else torch.cat(channels, -1)
