"""Models of surfels (2DGS), and every model under the name that users of the packaged 3DGS know, its backend fixed."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaussian_splatting.camera_trainable import CameraTrainable, CameraTrainableGaussianModel
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.geometry.tangents import tangent_frames
from gaussian_splatting.rasterizer import surface_backend

if TYPE_CHECKING:
    from gaussian_splatting.io.ply import GaussianArrays

__all__ = [
    "CameraTrainableGaussianModel",
    "CameraTrainableGsplat2DGSGaussianModel",
    "CameraTrainableGsplatGaussianModel",
    "CameraTrainableSurfelGaussianModel",
    "GaussianModel",
    "Gsplat2DGSGaussianModel",
    "GsplatGaussianModel",
    "SurfelGaussianModel",
    "model_class",
]


class SurfelGaussianModel(GaussianModel):
    """Flat Gaussians, surfels, rendered by surface splatting (2DGS, Huang et al. 2024).

    A surfel spans the plane of its first two axes and its third axis is its normal. The third scale is always
    `min_scale`, in world units: no 2DGS backend reads it, and viewers of 3D Gaussians draw a thin disc.
    """

    kind = "2dgs"

    def __init__(self, sh_degree: int, backend: str = "auto", min_scale: float = 1e-6) -> None:
        if not min_scale > 0:
            raise ValueError(f"min_scale is {min_scale}; it must be positive")
        super().__init__(sh_degree, surface_backend(backend))
        self.min_scale = min_scale

    def create_from_pcd(self, points: Tensor, colors: Tensor) -> SurfelGaussianModel:
        """One surfel per point [N, 3] of colour [N, 3] in [0, 1], sized and laid flat among its nearest neighbours."""
        super().create_from_pcd(points, colors)
        with torch.no_grad():
            self._rotation.copy_(tangent_frames(points))
        return self._flattened()

    def load_ply(self, path: str | os.PathLike[str]) -> SurfelGaussianModel:
        """Take the Gaussians of a splat PLY, flattened."""
        super().load_ply(path)
        return self._flattened()

    def arrays(self) -> GaussianArrays:
        """The raw parameters as files hold them, flat; the parameters themselves stay as they are."""
        arrays = super().arrays()
        scaling = arrays.scaling.copy()
        scaling[:, 2] = math.log(self.min_scale)
        return replace(arrays, scaling=scaling)

    @torch.no_grad()
    def _flattened(self) -> SurfelGaussianModel:
        self._scaling[:, 2] = math.log(self.min_scale)
        return self


class CameraTrainableSurfelGaussianModel(CameraTrainable, SurfelGaussianModel):
    """`SurfelGaussianModel` that is optimised together with the poses of its cameras."""


class GsplatGaussianModel(GaussianModel):
    """`GaussianModel` rendered by gsplat."""

    def __init__(self, sh_degree: int, backend: str = "gsplat") -> None:
        super().__init__(sh_degree, backend)


class CameraTrainableGsplatGaussianModel(CameraTrainableGaussianModel):
    """`CameraTrainableGaussianModel` rendered by gsplat."""

    def __init__(self, sh_degree: int, backend: str = "gsplat") -> None:
        super().__init__(sh_degree, backend)


class Gsplat2DGSGaussianModel(SurfelGaussianModel):
    """`SurfelGaussianModel` rendered by gsplat."""

    def __init__(self, sh_degree: int, min_scale: float = 1e-6, backend: str = "gsplat-2dgs") -> None:
        super().__init__(sh_degree, backend, min_scale)


class CameraTrainableGsplat2DGSGaussianModel(CameraTrainableSurfelGaussianModel):
    """`CameraTrainableSurfelGaussianModel` rendered by gsplat."""

    def __init__(self, sh_degree: int, min_scale: float = 1e-6, backend: str = "gsplat-2dgs") -> None:
        super().__init__(sh_degree, backend, min_scale)


def model_class(surfels: bool, trainable_camera: bool) -> type[GaussianModel]:
    """The model of 3D Gaussians or of surfels, with the gradient of the camera pose or without."""
    if surfels:
        return CameraTrainableSurfelGaussianModel if trainable_camera else SurfelGaussianModel
    return CameraTrainableGaussianModel if trainable_camera else GaussianModel
