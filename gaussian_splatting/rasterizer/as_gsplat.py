"""Lets programs written for the gsplat library (1.5.3, Apache-2.0) run on a CPU, unchanged.

    python -m gaussian_splatting.rasterizer.as_gsplat program.py --its --own --arguments

gsplat's functions are replaced in its own modules by functions that look where their tensors are: on a CUDA card
gsplat's own code runs as before, on a CPU the kernels of this package. What gsplat has in PyTorch itself (harmonics,
covariances, projection) is taken from there.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gaussian_splatting.errors import BackendError, UnsupportedError
from gaussian_splatting.rasterizer import cpu

_MODULES = ("gsplat", "gsplat.rendering", "gsplat.cuda._wrapper", "gsplat.relocation", "gsplat.strategy.ops",
            "gsplat.optimizers.selective_adam")  # fmt: skip

# What has no stand-in: the steps of gsplat's rasterisation that only make sense together with its tile lists.
_CUDA_ONLY = (
    "rasterize_to_pixels", "rasterize_to_pixels_2dgs", "rasterize_to_pixels_eval3d", "rasterize_to_indices_in_range",
    "rasterize_to_indices_in_range_2dgs", "fully_fused_projection_2dgs", "fully_fused_projection_with_ut",
)  # fmt: skip


def install_as_gsplat() -> Callable[[], None]:
    """Make gsplat's functions work on CPU tensors; gives a function that undoes it.

    Call it before a program does `from gsplat import ...`. `rasterization`, `rasterization_2dgs`, the strategies (with
    `compute_relocation`), `SelectiveAdam`, `spherical_harmonics`, `quat_scale_to_covar_preci`, `proj`,
    `fully_fused_projection`, `isect_tiles` and `isect_offset_encode` run; the other kernels of gsplat raise
    NotImplementedError, by name, for CPU tensors. Raises BackendError when gsplat is not installed.
    """
    try:
        modules = [import_module(name) for name in _MODULES]
    except ImportError as error:
        raise BackendError(f"gsplat cannot be imported: {error}; pip install gsplat") from error
    wrapper, stand_ins = modules[2], dict(_STAND_INS)
    stand_ins |= {name: _not_on_cpu(name) for name in _CUDA_ONLY}
    owners = {"rasterization": modules[1], "rasterization_2dgs": modules[1], "compute_relocation": modules[3]}
    replaced = {}
    for name, stand_in in stand_ins.items():
        original = getattr(owners.get(name, wrapper), name)
        replaced[original] = _by_device(original, stand_in)
    changes = [
        (module, name, value)
        for title, module in list(sys.modules.items())
        if title == "gsplat" or title.startswith("gsplat.")
        for name, value in list(vars(module).items())
        if callable(value) and getattr(value, "__hash__", None) and value in replaced
    ]
    for module, name, value in changes:
        setattr(module, name, replaced[value])

    def undo() -> None:
        for module, name, value in changes:
            setattr(module, name, value)

    return undo


def _by_device(original: Callable[..., Any], stand_in: Callable[..., Any]) -> Callable[..., Any]:
    """`original` for tensors on a card, `stand_in` for others; found out by the first tensor among the arguments."""

    @wraps(original)
    def choose(*args: Any, **kwargs: Any) -> Any:
        first = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        return (original if first is not None and first.is_cuda else stand_in)(*args, **kwargs)

    return choose


def _not_on_cpu(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise UnsupportedError(f"gsplat.{name} runs on a CUDA card only; on a CPU use gsplat.rasterization")

    return refuse


def _torch_functions() -> Any:
    return import_module("gsplat.cuda._torch_impl")


def _spherical_harmonics(
    degrees_to_use: int, dirs: Tensor, coeffs: Tensor, masks: Tensor | None = None
) -> Tensor:  # fmt: skip
    colors = _torch_functions()._spherical_harmonics(degrees_to_use, dirs, coeffs)
    return colors if masks is None else torch.where(masks[..., None], colors, 0)


def _quat_scale_to_covar_preci(*args: Any, **kwargs: Any) -> Any:
    return _torch_functions()._quat_scale_to_covar_preci(*args, **kwargs)


def _proj(
    means: Tensor, covars: Tensor, Ks: Tensor, width: int, height: int, camera_model: str = "pinhole"
) -> tuple[Tensor, Tensor]:
    names = {"pinhole": "_persp_proj", "ortho": "_ortho_proj", "fisheye": "_fisheye_proj"}
    if camera_model not in names:
        raise UnsupportedError(f"gsplat.proj on a CPU has no camera_model {camera_model!r}; use one of {list(names)}")
    return getattr(_torch_functions(), names[camera_model])(means, covars, Ks, width, height)


def _fully_fused_projection(
    means: Tensor, covars: Tensor | None, quats: Tensor | None, scales: Tensor | None, viewmats: Tensor, Ks: Tensor,
    width: int, height: int, eps2d: float = 0.3, near_plane: float = 0.01, far_plane: float = 1e10,
    radius_clip: float = 0.0, packed: bool = False, sparse_grad: bool = False, calc_compensations: bool = False,
    camera_model: str = "pinhole", opacities: Tensor | None = None
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """gsplat's PyTorch version, whose bounding boxes do not get tighter by `opacities`; gradients are dense."""
    if camera_model == "ftheta" or sparse_grad:
        name = "sparse_grad" if sparse_grad else "camera_model 'ftheta'"
        raise UnsupportedError(f"gsplat.fully_fused_projection on a CPU does not support {name}")
    functions = _torch_functions()
    if covars is None:
        full = functions._quat_scale_to_covar_preci(quats, scales, compute_preci=False)[0]
    else:
        full = covars[..., [0, 1, 2, 1, 3, 4, 2, 4, 5]].unflatten(-1, (3, 3))
    radii, means2d, depths, conics, compensations = functions._fully_fused_projection(
        means, full, viewmats, Ks, width, height, eps2d, near_plane, far_plane, calc_compensations, camera_model
    )
    radii = torch.where((radii > radius_clip).any(-1, keepdim=True), radii, 0)
    if not packed:
        return radii, means2d, depths, conics, compensations
    seen = (radii > 0).all(-1).reshape(-1, viewmats.shape[-3], means.shape[-2])
    rows = [None if x is None else x.reshape(*seen.shape, *x.shape[depths.dim() :])[seen]
            for x in (radii, means2d, depths, conics, compensations)]  # fmt: skip
    return *seen.nonzero().unbind(-1), *rows


def _isect_tiles(
    means2d: Tensor, radii: Tensor, depths: Tensor, tile_size: int, tile_width: int, tile_height: int,
    sort: bool = True, segmented: bool = False, packed: bool = False, n_images: int | None = None,
    image_ids: Tensor | None = None, gaussian_ids: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """As gsplat's, always sorted."""
    from gaussian_splatting.rasterizer.cpu.gsplat_tiles import tile_lists

    images = (n_images or 1,) if packed else tuple(means2d.shape[:-2])
    shape = (*images, tile_height, tile_width)
    lists = tile_lists(means2d, radii, depths, image_ids if packed else None, shape, tile_size)
    return lists["tiles_per_gauss"], lists["isect_ids"], lists["flatten_ids"]


def _isect_offset_encode(isect_ids: Tensor, n_images: int, tile_width: int, tile_height: int) -> Tensor:
    return _torch_functions()._isect_offset_encode(isect_ids, n_images, tile_width, tile_height)


@torch.no_grad()
def _compute_relocation(opacities: Tensor, scales: Tensor, ratios: Tensor, binoms: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 9 of Kheradmand et al. 2024, its double sum over binomials contracted: sum_i C(i-1, k) = C(n, k+1)."""
    ratios.clamp_(min=1, max=len(binoms))
    old, number = opacities.double().reshape(-1), ratios.double().reshape(-1)
    new = -torch.expm1(torch.log1p(-old) / number)
    term, total = torch.full_like(new, -1.0), torch.zeros_like(new)
    for j in range(1, len(binoms) + 1):
        term = -term * new * (number - j + 1) / j  # C(n, j) (-1)^(j+1) new^j, zero from j = n + 1 on
        total = total + term / j**0.5
    return new.to(opacities).reshape(opacities.shape), scales * (old / total).to(scales)[:, None]


@torch.no_grad()
def _adam(
    param: Tensor, param_grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, valid: Tensor | None, lr: float, b1: float,
    b2: float, eps: float
) -> None:  # fmt: skip
    """Adam without bias correction, of the rows that are `valid`, in place."""
    rows: Any = slice(None) if valid is None else valid.bool()
    gradient = param_grad[rows]
    average = exp_avg[rows] * b1 + (1 - b1) * gradient
    squares = exp_avg_sq[rows] * b2 + (1 - b2) * gradient * gradient
    exp_avg[rows], exp_avg_sq[rows] = average, squares
    param[rows] = param[rows] - lr * average / (squares.sqrt() + eps)


_STAND_INS: dict[str, Callable[..., Any]] = {
    "rasterization": cpu.rasterization,
    "rasterization_2dgs": cpu.rasterization_2dgs,
    "spherical_harmonics": _spherical_harmonics,
    "quat_scale_to_covar_preci": _quat_scale_to_covar_preci,
    "proj": _proj,
    "fully_fused_projection": _fully_fused_projection,
    "isect_tiles": _isect_tiles,
    "isect_offset_encode": _isect_offset_encode,
    "compute_relocation": _compute_relocation,
    "adam": _adam,
}


def main() -> None:
    """Run a program with gsplat's functions replaced."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m gaussian_splatting.rasterizer.as_gsplat PROGRAM [ARGUMENTS...]")
    install_as_gsplat()
    del sys.argv[0]
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
