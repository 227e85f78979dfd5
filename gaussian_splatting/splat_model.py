"""A model to look at from any splat file, and views of it when no camera says where to stand."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gaussian_splatting.camera import Camera, pinhole_camera
from gaussian_splatting.gaussian_rows import ATTRIBUTES
from gaussian_splatting.models import model_class
from gaussian_splatting.rasterizer import resolve_backend
from gaussian_splatting.rendering.scene_frame import Floats, looking
from gaussian_splatting.splat_editing import middle, with_sh_degree

if TYPE_CHECKING:
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.io.gaussian_arrays import GaussianArrays
    from gaussian_splatting.io.splat_file import SplatFile

HIGHEST_DEGREE = 3
"""The highest SH degree that every backend renders."""

SPLAT_UP = np.array([0.0, -1.0, 0.0])
"""What is up in a splat file that says nothing: photo scenes have y downwards, as their cameras do."""

HOME_FOV = np.radians(50.0)


def model_from_splats(
    file: SplatFile, device: str | torch.device = "cpu", backend: str = "auto", *, antialiased: bool | None = None
) -> GaussianModel:
    """The Gaussians of a splat file, ready to render. `antialiased` None takes what the file says."""
    arrays = file.gaussians
    if arrays.sh_degree > HIGHEST_DEGREE and resolve_backend(backend, device).startswith("cpu"):
        warnings.warn(f"SH degree {arrays.sh_degree} in the file is cut to {HIGHEST_DEGREE} to be shown", stacklevel=2)
        arrays = with_sh_degree(arrays, HIGHEST_DEGREE)
    model = model_class(backend.endswith("-2dgs"), False)(arrays.sh_degree, backend=backend).to(device)
    model.antialiasing = bool(file.antialiased) if antialiased is None else antialiased
    return set_arrays(model, arrays, device)


def set_arrays(model: GaussianModel, arrays: GaussianArrays, device: Any) -> GaussianModel:
    """Give a model the raw values of a file."""
    columns = (
        arrays.xyz, arrays.features_dc, arrays.features_rest, arrays.opacity, arrays.scaling, arrays.rotation
    )  # fmt: skip
    rows = {name: torch.as_tensor(values).float().to(device) for name, values in zip(ATTRIBUTES, columns, strict=True)}
    model.set_rows(rows)
    return model


def home_views(arrays: GaussianArrays, width: int, height: int, *, count: int = 8) -> list[Camera]:
    """Views of a splat without cameras: a ring around its middle, from slightly above, that sees nine tenths of it."""
    centre = middle(arrays)
    size = float(np.percentile(np.linalg.norm(arrays.xyz - centre, axis=1), 90)) or 1.0
    distance = 1.1 * size / np.sin(HOME_FOV / 2)
    focal = min(width, height) / 2 / np.tan(HOME_FOV / 2)
    angles = 2 * np.pi * np.arange(count) / count
    offsets = np.stack([np.sin(angles), np.full(count, -0.25), -np.cos(angles)], axis=1) * distance
    return [_view(centre + offset, centre, width, height, float(focal)) for offset in offsets]


def _view(center: Floats, target: Floats, width: int, height: int, focal: float) -> Camera:
    rotation = looking(center, target, SPLAT_UP)
    return pinhole_camera(height, width, focal, focal, rotation.T, -rotation.T @ center)
