"""The rasteriser contract, its backends, and the registry that finds them by name."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, cast

from gaussian_splatting.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from gaussian_splatting.rasterizer.contract import Backend

__all__ = ["BACKENDS", "get_backend", "install_as_gsplat", "resolve_backend", "surface_backend"]

# Every backend by the name users type, and its module within this package, imported when it is first asked for.
_MODULES = {
    "cpu": "cpu",
    "reference": "reference",
    "gsplat": "gsplat",
    "cpu-2dgs": "cpu_2dgs",
    "reference-2dgs": "reference_2dgs",
    "gsplat-2dgs": "gsplat_2dgs",
}

# What stands for a backend that depends on the device: the one for CUDA, and the one for everything else.
_CHOICES = {"auto": ("gsplat", "cpu"), "auto-2dgs": ("gsplat-2dgs", "cpu-2dgs")}

BACKENDS = (*_CHOICES, *_MODULES)


def resolve_backend(name: str, device: str | torch.device | None = None) -> str:
    """The backend that `name` means on `device`: "auto" is gsplat on CUDA and cpu elsewhere.

    "auto-2dgs" is the 2DGS kin of these. Without a device, both ask torch whether it sees a CUDA card. Nothing heavy is
    imported. An unknown name is a BackendError that lists the nearest ones.
    """
    if name in _CHOICES:
        on_cuda, elsewhere = _CHOICES[name]
        return on_cuda if _is_cuda(device) else elsewhere
    if name in _MODULES:
        return name
    near = difflib.get_close_matches(name.lower(), BACKENDS, n=3, cutoff=0.4)
    advice = f"did you mean {' or '.join(near)}?" if near else f"use one of {', '.join(BACKENDS)}"
    raise BackendError(f"there is no rasteriser backend {name!r}; {advice}")


def get_backend(name: str, device: str | torch.device | None = None) -> Backend:
    """The module of the backend `name` ("auto" is resolved for `device`), imported now if it was not before."""
    return cast("Backend", import_module(f"{__name__}.{_MODULES[resolve_backend(name, device)]}"))


def require_view_options(name: str, *, packed: bool, radius_clip: float, sparse_grad: bool) -> None:
    """Raise BackendError for what a view asks for and the backend `name` does not heed."""
    if radius_clip < 0:
        raise BackendError(f"radius_clip is {radius_clip}; it is a number of pixels, at least 0")
    heeded = getattr(get_backend(name), "VIEW_OPTIONS", frozenset())
    asked = {"packed": packed, "radius_clip": radius_clip > 0, "sparse_grad": sparse_grad}
    for option, is_asked in asked.items():
        if is_asked and option not in heeded:
            cure = "--backend gsplat or reference" if option == "radius_clip" else "--backend gsplat"
            raise BackendError(f"the {name} backend has no {option}; leave --{option} out, or use {cure}")


def require_card(device: str | torch.device, elsewhere: str = "cpu") -> None:
    """Raise BackendError where gsplat cannot render on `device`; it names the backend to use `elsewhere`."""
    if not _is_cuda(device):
        raise BackendError(
            f"the gsplat backend renders on a CUDA card, but the Gaussians are on {device}; use --backend {elsewhere}, "
            "or move them to a card: `python -m gaussian_splatting.doctor` shows which there are"
        )


def surface_backend(name: str) -> str:
    """The backend that draws surfels when a user asks for `name`: "auto" means the 2DGS kin of auto."""
    return "auto-2dgs" if name == "auto" else name


def install_as_gsplat() -> Callable[[], None]:
    """Make the functions of the gsplat library work on CPU tensors; see `as_gsplat.install_as_gsplat`."""
    from gaussian_splatting.rasterizer.as_gsplat import install_as_gsplat as implementation

    return implementation()


def _is_cuda(device: str | torch.device | None) -> bool:
    if device is None:
        import torch

        return torch.cuda.is_available()
    return str(device).startswith("cuda")
