"""What every backend checks of a call with gsplat's signature before it computes anything."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gaussian_splatting.errors import BackendError, UnsupportedError

RENDER_MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")
RASTERIZE_MODES = ("classic", "antialiased")
GSPLAT_CAMERAS = ("pinhole", "ortho", "fisheye", "ftheta")

# Arguments of gsplat.rasterization that only gsplat itself supports; `segmented` only chooses how it sorts.
_GSPLAT_ONLY = (
    "distributed", "segmented", "with_ut", "with_eval3d", "radial_coeffs", "tangential_coeffs", "thin_prism_coeffs",
    "ftheta_coeffs", "rolling_shutter", "viewmats_rs",
)  # fmt: skip


def check_shapes(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    sh_degree: int | None,
) -> None:
    """Refuse tensors that do not fit together, with a BackendError that names the argument and both shapes."""
    num, cameras = len(means), len(viewmats)
    expected = {
        "means": (means, (num, 3)),
        "quats": (quats, (num, 4)),
        "scales": (scales, (num, 3)),
        "opacities": (opacities, (num,)),
        "viewmats": (viewmats, (cameras, 4, 4)),
        "Ks": (Ks, (cameras, 3, 3)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise BackendError(f"{name} must be {list(shape)} beside {num} means, found {list(tensor.shape)}")
    check_focal_lengths(Ks)
    _check_colors(colors, (num, cameras), sh_degree)


def check_focal_lengths(Ks: Tensor) -> None:
    """Refuse intrinsics [..., 3, 3] whose focal lengths no camera has, with a BackendError that names the first."""
    focal = Ks.detach().diagonal(dim1=-2, dim2=-1)[..., :2]  # [..., 2]
    wrong = ~((focal > 0) & focal.isfinite())
    if wrong.any():
        *leading, axis = wrong.nonzero()[0].tolist()
        place = ", ".join(map(str, (*leading, axis, axis)))
        found = float(focal[(*leading, axis)])
        raise BackendError(f"focal lengths in Ks must be finite and above 0, found {found} in Ks[{place}]")


def _check_colors(colors: Tensor, counts: tuple[int, int], sh_degree: int | None) -> None:
    num, cameras = counts
    value_dims = 1 if sh_degree is None else 2  # [D], or [K, 3]
    leading = tuple(colors.shape[: colors.ndim - value_dims])
    if leading not in ((num,), (cameras, num)):
        wanted = "[N, D] or [C, N, D]" if sh_degree is None else "[N, K, 3] or [C, N, K, 3]"
        raise BackendError(
            f"colors must be {wanted} with N = {num}, C = {cameras} and sh_degree {sh_degree}, "
            f"found {list(colors.shape)}"
        )
    if sh_degree is not None and (colors.shape[-1] != 3 or colors.shape[-2] < (sh_degree + 1) ** 2):
        raise BackendError(
            f"colors {list(colors.shape)} hold too few coefficients for sh_degree {sh_degree}: "
            f"[N, K, 3] with K >= {(sh_degree + 1) ** 2} is needed"
        )


def check_background(backgrounds: Tensor | None, num_cameras: int, num_channels: int) -> None:
    """Refuse backgrounds that are not one colour [D] for each camera."""
    if backgrounds is not None and tuple(backgrounds.shape) != (num_cameras, num_channels):
        raise BackendError(f"backgrounds must be [{num_cameras}, {num_channels}], found {list(backgrounds.shape)}")


def check_modes(
    backend: str,
    render_mode: str,
    rasterize_mode: str,
    camera_model: str,
    sparse_grad: bool = False,
    cameras: tuple[str, ...] = ("pinhole",),
) -> None:
    """Refuse a mode that is unknown or that `backend` does not support, naming the ones it does."""
    choices = {
        "render_mode": (render_mode, RENDER_MODES, ()),
        "rasterize_mode": (rasterize_mode, RASTERIZE_MODES, ()),
        "camera_model": (camera_model, cameras, GSPLAT_CAMERAS),
    }
    for name, (value, allowed, elsewhere) in choices.items():
        if value not in allowed:
            error = UnsupportedError if value in elsewhere else BackendError
            raise error(f"the {backend} backend has no {name} {value!r}; use one of {', '.join(allowed)}")
    if sparse_grad:
        raise UnsupportedError(f"the {backend} backend gives dense gradients only; leave sparse_grad=False")


def check_sparse(backend: str, sparse_grad: bool, packed: bool, leading: tuple[int, ...]) -> None:
    """Refuse sparse gradients where gsplat has none either."""
    if sparse_grad and (not packed or leading):
        found = "packed=False" if not packed else f"batch dimensions {list(leading)}"
        raise BackendError(
            f"the {backend} backend: sparse_grad needs packed=True and no batch dimensions, found {found}"
        )


def refuse_gsplat_only(backend: str, arguments: Mapping[str, object]) -> None:
    """Refuse what only gsplat supports unless it is switched off, and any name that gsplat does not know either."""
    for name, value in arguments.items():
        if name not in _GSPLAT_ONLY:
            raise TypeError(f"rasterization() got an unexpected keyword argument {name!r}")
        switched_off = value is None or value is False or getattr(value, "name", None) == "GLOBAL"
        if name != "segmented" and not switched_off:
            raise UnsupportedError(
                f"the {backend} backend does not support {name}; use the gsplat backend on a CUDA card"
            )
