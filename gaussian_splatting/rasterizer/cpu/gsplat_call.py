"""`gsplat.rasterization` (1.5.3, Apache-2.0) on CPU tensors: the same arguments, results and `meta`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer.arguments import check_background, check_modes, check_shapes, refuse_gsplat_only
from gaussian_splatting.rasterizer.cpu.function import Rendering, check_inputs, render_view
from gaussian_splatting.rasterizer.cpu.gsplat_meta import describe
from gaussian_splatting.rasterizer.cpu.model_call import MAX_DEGREE
from gaussian_splatting.rasterizer.cpu.settings import RenderSettings

CHANNELS = 3


def rasterization(
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
    packed: bool = True,
    tile_size: int = 16,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    camera_model: str = "pinhole",
    covars: Tensor | None = None,
    **gsplat_only: object,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Render N Gaussians into C views: colours [C, H, W, X], alphas [C, H, W, 1] and a dictionary of what happened.

    Arguments and results are those of `gsplat.rasterization`: means [N, 3], quats [N, 4] (wxyz, of any length), scales
    [N, 3], opacities [N], colors [N, K, 3] or [C, N, K, 3] with `sh_degree`, else [N, D] or [C, N, D], viewmats
    [C, 4, 4], Ks [C, 3, 3] in pixels, backgrounds [C, D]. `meta["means2d"].grad` is in pixels. Unlike gsplat's it is a
    leaf: a loss computed from it does not reach the means. `tile_size`, `channel_chunk` and `segmented` change nothing.
    Raises BackendError, by name, for what this backend cannot do and for tensors that do not fit together.
    """
    check_modes("cpu", render_mode, rasterize_mode, camera_model, sparse_grad)
    refuse_gsplat_only("cpu", gsplat_only)
    check_inputs(means=means, quats=quats, scales=scales, opacities=opacities, colors=colors, viewmats=viewmats)
    check_shapes(means, quats, scales, opacities, colors, viewmats, Ks, sh_degree)
    check_background(backgrounds, len(viewmats), colors.shape[-1])
    if covars is not None:
        raise BackendError("the cpu backend does not support covars; give quats and scales")
    if sh_degree is not None and not 0 <= sh_degree <= MAX_DEGREE:
        raise BackendError(f"the cpu backend has no sh_degree {sh_degree}; give 0 to {MAX_DEGREE}")
    num_views, wants_colors = viewmats.shape[0], render_mode.startswith("RGB")
    num_channels = colors.shape[-1] if wants_colors else 0
    if absgrad and num_channels > CHANNELS:
        raise BackendError(f"the cpu backend has no absgrad for {num_channels} channels; give at most {CHANNELS}")
    passes: list[list[Rendering]] = []
    for view in range(num_views):
        degree = sh_degree if wants_colors else None
        settings = RenderSettings(
            Ks[view].detach().double().numpy(), width, height, degree, False, rasterize_mode == "antialiased",
            near_plane, far_plane, radius_clip, eps2d, radii_stride=2
        )  # fmt: skip
        own = colors[view] if colors.dim() == (3 if sh_degree is None else 4) else colors
        behind = None if backgrounds is None or not wants_colors else backgrounds[view]
        passes.append(
            [
                render_view(means, quats, scales, opacities, part, None, viewmats[view], background, settings)
                for part, background in _in_threes(own if wants_colors else None, behind, means)
            ]
        )
    meta = describe([own[0] for own in passes], packed=packed, absgrad=absgrad)
    meta |= {"width": width, "height": height, "tile_size": tile_size, "n_batches": 1, "n_cameras": num_views}
    meta |= {"tile_width": -(-width // tile_size), "tile_height": -(-height // tile_size)}
    views = [_attach(own, meta["means2d"], place) for own, place in zip(passes, meta.pop("places"), strict=True)]
    pictures = [_compose(parts, num_channels, render_mode) for parts in views]
    alphas = [parts[0][1].unsqueeze(-1) for parts in views]
    return torch.stack(pictures), torch.stack(alphas), meta


def _in_threes(colors: Tensor | None, background: Tensor | None, means: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Features and background for each rendering pass: three channels at a time, the last ones filled with zeros."""
    if colors is None:
        return [(means.new_zeros(means.shape[0], CHANNELS), means.new_zeros(CHANNELS))]
    num_channels = colors.shape[-1]
    behind = means.new_zeros(num_channels) if background is None else background
    missing = -num_channels % CHANNELS
    if num_channels == CHANNELS:
        return [(colors, behind)]
    filled = torch.cat([colors, colors.new_zeros(colors.shape[0], missing)], dim=-1)
    behind = torch.cat([behind, behind.new_zeros(missing)])
    return list(zip(filled.split(CHANNELS, dim=-1), behind.split(CHANNELS), strict=True))


def _attach(passes: list[Rendering], means2d: Tensor, place: Any) -> list[tuple[Tensor, ...]]:
    """The images of all passes of one view, with the graph attached."""
    leaf = means2d[place] if means2d.requires_grad else means2d
    for rendering in passes:
        rendering.visible = passes[0].visible
        rendering.absolute = passes[0].absolute
    return [rendering.attach(leaf) for rendering in passes]


def _compose(parts: list[tuple[Tensor, ...]], num_channels: int, render_mode: str) -> Tensor:
    """The picture [H, W, X] that a render mode asks for."""
    _, alphas, depths, _ = parts[0]
    channels = [part[0] for part in parts] if num_channels else []
    if len(channels) * CHANNELS != num_channels:
        channels = [torch.cat(channels, -1)[..., :num_channels]]
    if render_mode.endswith("ED"):
        channels.append(depths.unsqueeze(-1))
    elif render_mode.endswith("D"):
        channels.append((depths * alphas).unsqueeze(-1))
    return channels[0] if len(channels) == 1 else torch.cat(channels, -1)
