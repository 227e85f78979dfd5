"""Where pycolmap finds and compares features."""

from __future__ import annotations

from typing import Any

import pycolmap

from gaussian_splatting.errors import SceneError


def device_of(name: str) -> Any:
    """The device of a name. Raises SceneError for cuda where pycolmap was built without it."""
    if name == "cuda" and not pycolmap.has_cuda:
        raise SceneError(
            f"--device cuda: pycolmap {pycolmap.__version__} was built without CUDA; use --device cpu, or install its "
            "GPU build: pip uninstall pycolmap, then pip install pycolmap-cuda12"
        )
    return {"auto": pycolmap.Device.auto, "cpu": pycolmap.Device.cpu, "cuda": pycolmap.Device.cuda}[name]
