"""The helper functions under the names that 3DGS code imports them by; each lives in one room of this package.

They are imported on first use, so that `import gaussian_splatting.utils` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES = {
    "geometry.activations": ("inverse_sigmoid",),
    "geometry.knn": ("mean_squared_neighbour_distance",),
    "geometry.projection": (
        "fov2focal",
        "focal2fov",
        "getK",
        "getProjectionMatrix",
        "getWorld2View",
        "getWorld2View2",
        "unproject",
    ),
    "geometry.rotations": (
        "build_rotation",
        "build_scaling_rotation",
        "matrix_to_quaternion",
        "normalize_quaternion",
        "quaternion_raw_multiply",
        "quaternion_to_matrix",
        "standardize_quaternion",
        "strip_symmetric",
    ),
    "geometry.schedules": ("get_expon_lr_func",),
    "geometry.sh": ("C0", "C1", "C2", "C3", "C4", "RGB2SH", "SH2RGB", "eval_sh"),
    "losses.metrics": ("l1_loss", "l2_loss", "mse", "psnr"),
    "losses.ssim": ("create_window", "gaussian", "ssim"),
    "utils.pictures": (
        "PILtoTorch",
        "read_depth",
        "read_depth_mask",
        "read_image",
        "read_image_mask",
        "read_png_depth",
        "read_tiff_depth",
    ),
}
_HOMES = {name: (home, name) for home, names in _NAMES.items() for name in names}
_HOMES["strip_lowerdiag"] = ("geometry.rotations", "strip_symmetric")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, attribute = _HOMES[name]
    return getattr(import_module(f"gaussian_splatting.{home}"), attribute)


def __dir__() -> list[str]:
    return sorted(_HOMES)
