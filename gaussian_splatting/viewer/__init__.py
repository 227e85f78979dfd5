"""The interactive viewer: a web page whose picture is rendered by this package's own backends (extra `viewer`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gaussian_splatting.viewer.command import main
    from gaussian_splatting.viewer.server import Viewer

__all__ = ["Viewer", "main"]

_MODULES = {"Viewer": "server", "main": "command"}


def __getattr__(name: str) -> Any:
    """`Viewer` and `main`, imported when asked for: `--help` must not wait for torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
