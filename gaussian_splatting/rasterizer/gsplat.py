"""The gsplat backend: the gsplat library (Apache-2.0) on a CUDA card, imported when it is first used.

gsplat renders colours and the expected depth. The accumulated inverse depth of the contract, the sum of w / z, cannot
be had from those two, so it is blended as a fourth colour channel. Harmonics are therefore evaluated before the call,
by gsplat's own kernel.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from gaussian_splatting.environment import is_importable
from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer import require_card
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.rasterizer.gsplat_rows import taken_rows, visible_rows

ToRows = Callable[[Tensor], Tensor]
ABSOLUTE_GRADIENTS = True
"""`RasterView.absgrad` is heeded."""
VIEW_OPTIONS = frozenset({"packed", "radius_clip", "sparse_grad"})
"""Fields of `RasterView` that are heeded, which not every backend does."""


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
    **options: Any,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """`gsplat.rasterization` itself, with its options; BackendError when it cannot run here."""
    library = load_library(means.device)
    return library.rasterization(means, quats, scales, opacities, colors, viewmats, Ks, width, height, **options)


def render_gaussians(parameters: GaussianParameters, view: RasterView) -> RasterOutput:
    """Render raw parameters from one view; differentiable in all of them and in the pose."""
    library = load_library(parameters.means.device)
    if not (view.sparse_grad and torch.is_grad_enabled()):
        return _rendered(library, parameters, view)
    rows = visible_rows(library, parameters, view)
    spread = _spread(rows, len(parameters.means))
    # What is taken is in view: there is nothing left to pack.
    return _rendered(
        library, taken_rows(parameters, rows), replace(view, packed=False), lambda values: spread(values[0])
    )


def _rendered(
    library: ModuleType, parameters: GaussianParameters, view: RasterView, to_rows: ToRows | None = None
) -> RasterOutput:
    """One view; `to_rows` puts what gsplat says of Gaussians into rows, where these are not those of the parameters."""
    pictures, alphas, meta = library.rasterization(
        parameters.means,
        parameters.quats,
        parameters.log_scales.exp() * view.scale_modifier,
        parameters.opacity_logits.sigmoid()[:, 0],
        color_channels(parameters, view, library.spherical_harmonics),
        view.viewmat[None],
        view.K[None],
        view.width,
        view.height,
        near_plane=view.near_plane,
        far_plane=view.far_plane,
        eps2d=view.eps2d,
        sh_degree=None,
        packed=view.packed,
        radius_clip=view.radius_clip,
        # Packed, gsplat 1.5.3 refuses a background of any shape.
        backgrounds=None if view.packed else pad(view.background, (0, 1))[None],
        render_mode="RGB+ED",
        rasterize_mode="antialiased" if view.antialiased else "classic",
        absgrad=view.absgrad,
    )
    if to_rows is None:
        to_rows = _spread(meta["gaussian_ids"], len(parameters.means)) if view.packed else _of_first_view
    colors = pictures[0, ..., :3]
    return RasterOutput(
        colors=colors + (1 - alphas[0]) * view.background if view.packed else colors,
        alphas=alphas[0, ..., 0],
        depth=pictures[0, ..., 4],
        inverse_depth=pictures[0, ..., 3],
        radii=to_rows(meta["radii"]).amax(dim=-1),
        means2d=gradient_holder(meta["means2d"], absgrad=view.absgrad, to_rows=to_rows),
    )


def _of_first_view(values: Tensor) -> Tensor:
    """The rows [N, ...] of gsplat's [1, N, ...]."""
    return values[0]


def _spread(rows: Tensor, num: int) -> ToRows:
    """Puts values [V, ...] of the visible Gaussians `rows` into rows of all [num, ...]; the others are zero."""
    return lambda values: values.new_zeros((num, *values.shape[1:])).index_copy(0, rows.long(), values)


def color_channels(parameters: GaussianParameters, view: RasterView, harmonics: Callable[..., Tensor]) -> Tensor:
    """Red, green, blue and 1 / z [N, 4] of every Gaussian."""
    rotation, translation = view.viewmat[:3, :3], view.viewmat[:3, 3]
    z = parameters.means @ rotation[2] + translation[2]
    # What lies before or behind the planes is culled by gsplat whatever its channels are.
    ahead = (z >= view.near_plane) & (z <= view.far_plane)
    directions = parameters.means + translation @ rotation  # from the camera centre -R^T t
    coefficients = torch.cat([parameters.features_dc, parameters.features_rest], dim=1)
    colors = (harmonics(view.sh_degree, directions, coefficients, masks=ahead) + 0.5).clamp_min(0)
    return torch.cat([colors, 1 / torch.where(ahead, z, 1)[:, None]], dim=-1)


def gradient_holder(means2d: Tensor, absgrad: bool = False, to_rows: ToRows = _of_first_view) -> Tensor:
    """The screen positions [N, 2] of gsplat's, by `to_rows`; the backward pass puts their gradient into `.grad`.

    With `absgrad` it puts the sums of absolute gradients, which gsplat leaves at its own tensor, into `.absgrad`.
    """
    holder = to_rows(means2d.detach())
    if means2d.requires_grad:
        holder.requires_grad_()
        # Positions that their own hook held would wait, with the graph behind them, for the garbage collector.
        kept, source = weakref.ref(holder), weakref.ref(means2d)

        def keep(gradient: Tensor) -> None:
            found = kept()
            if found is None:
                return
            rows = to_rows(gradient)
            found.grad = rows if found.grad is None else found.grad + rows
            if absgrad:
                origin = source()
                assert origin is not None
                sums = to_rows(origin.absgrad)  # pyright: ignore[reportAttributeAccessIssue]
                found.absgrad = getattr(found, "absgrad", 0) + sums  # pyright: ignore[reportAttributeAccessIssue]

        means2d.register_hook(keep)
        if absgrad:
            holder.source = means2d  # pyright: ignore[reportAttributeAccessIssue]
    return holder


def load_library(device: torch.device, elsewhere: str = "cpu") -> ModuleType:
    """The gsplat library for tensors on `device`; a BackendError names the backend to use `elsewhere`."""
    require_card(device, elsewhere)
    return _compiled()


@lru_cache(maxsize=1)
def _compiled() -> ModuleType:
    from gaussian_splatting.rasterizer.gsplat_build import building

    if not is_importable("gsplat"):
        raise BackendError("the gsplat backend needs the gsplat library: pip install gsplat")
    try:
        with building():  # 1.5.3 builds its kernels when they are asked for, 1.6 when it is imported
            library = import_module("gsplat")
            kernels = import_module("gsplat.cuda._backend")._C
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        # The output of a compiler is long; it is in the error that this one comes from.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise BackendError(f"gsplat could not build its CUDA kernels: {reason}; {_CURE}") from error
    if kernels is None:
        raise BackendError(f"gsplat has no CUDA kernels: it found no CUDA toolkit to build them with; {_CURE}")
    return library


_CURE = (
    "install the CUDA toolkit of torch's version with nvcc and ninja, set CUDA_HOME to its folder, or install a wheel "
    "with kernels from https://docs.gsplat.studio/whl; --backend cpu works without any of it"
)
