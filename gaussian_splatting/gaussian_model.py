"""GaussianModel: Gaussians that are rendered by calling them with a camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gaussian_splatting.gaussian_values import GaussianValues
from gaussian_splatting.geometry.clamping import clamped_to_unit
from gaussian_splatting.geometry.rotations import build_covariance_from_scaling_rotation
from gaussian_splatting.rasterizer import get_backend, require_view_options, resolve_backend
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.rendered_view import RenderedView, viewspace_gradient

if TYPE_CHECKING:
    from collections.abc import Callable

    from gaussian_splatting.camera import Camera

__all__ = ["GaussianModel", "build_covariance_from_scaling_rotation", "screen_blur", "sh_degree_for"]


def screen_blur(camera: Camera) -> float:
    """The variance [pixels^2] that a camera adds to Gaussians on its screen: the usual, or what it says itself."""
    return camera.custom_data.get("eps2d", RasterView.eps2d)


def sh_degree_for(camera: Camera, usual: int) -> int:
    """The SH degree that a camera is rendered with: the usual one, or less where the camera says so itself."""
    return min(usual, camera.custom_data.get("sh_degree", usual))


class GaussianModel(GaussianValues):
    """N Gaussians with SH colour up to degree `sh_degree`, rendered by calling the model with a camera.

    Parameters, activated values and splat files: `GaussianValues`.
    """

    kind = "3dgs"

    def __init__(self, sh_degree: int, backend: str = "auto") -> None:
        super().__init__(sh_degree)
        self.active_sh_degree = sh_degree
        self.backend = backend
        self.scale_modifier = 1.0
        self.debug = False
        self.antialiasing = False
        self.absolute_gradients = False
        self.packed = False
        """Whether a step keeps what lies between parameters and picture of the visible Gaussians only (gsplat)."""
        self.sparse_grad = False
        """Whether gradients of a step are sparse tensors, which hold the Gaussians in view only (gsplat)."""
        self.radius_clip = 0.0
        """Pixels: Gaussians of this radius or less are not rendered (gsplat, reference)."""
        self.renderer: Callable[[GaussianParameters, RasterView], RasterOutput] | None = None
        """What renders instead of the backend, where these are not all Gaussians of the scene."""

    @staticmethod
    def inverse_depth(depth: Tensor) -> Tensor:
        """1/x where x is above the float epsilon, else 0; its own inverse."""
        safe = depth.clamp_min(torch.finfo(depth.dtype).eps)
        return torch.where(depth > torch.finfo(depth.dtype).eps, 1 / safe, torch.zeros_like(depth))

    def forward(self, viewpoint_camera: Camera) -> dict[str, Any]:
        """Render one view; see `outputs` for the keys."""
        render = self.renderer or get_backend(self.backend, self._xyz.device).render_gaussians
        output = render(self.raster_parameters(), self.raster_view(viewpoint_camera))
        return self.outputs(output, viewpoint_camera)

    def raster_parameters(self) -> GaussianParameters:
        """The raw parameters in the rasteriser's own type."""
        return GaussianParameters(
            self._xyz, self._rotation, self._scaling, self._opacity, self._features_dc, self._features_rest
        )

    def raster_view(self, camera: Camera) -> RasterView:
        """The camera in the rasteriser's own type. The pose is a constant here; see CameraTrainableGaussianModel."""
        return self._view_with_pose(camera, camera.world_view_transform.detach().T)

    def require_view_options(self) -> None:
        """Raise BackendError where the backend does not heed `packed`, `sparse_grad` or `radius_clip`."""
        if self.packed or self.sparse_grad or self.radius_clip:
            name = resolve_backend(self.backend, self._xyz.device)
            require_view_options(name, packed=self.packed, radius_clip=self.radius_clip, sparse_grad=self.sparse_grad)

    def _view_with_pose(self, camera: Camera, viewmat: Tensor) -> RasterView:
        self.require_view_options()
        return RasterView(
            viewmat=viewmat,
            K=camera.K,
            width=camera.image_width,
            height=camera.image_height,
            sh_degree=sh_degree_for(camera, self.active_sh_degree),
            background=camera.bg_color,
            antialiased=self.antialiasing,
            packed=self.packed,
            sparse_grad=self.sparse_grad,
            radius_clip=self.radius_clip,
            absgrad=self.absolute_gradients,
            scale_modifier=self.scale_modifier,
            eps2d=screen_blur(camera),
        )

    def outputs(self, output: RasterOutput, camera: Camera) -> dict[str, Any]:
        """The `out` dictionary: render [3, H, W] in [0, 1], alpha, depth and invdepth [1, H, W], radii [N], ..."""
        picture = camera.postprocess(camera, output.colors.permute(2, 0, 1))
        size = (camera.image_width, camera.image_height)
        return RenderedView({
            "render": clamped_to_unit(picture),
            "alpha": output.alphas[None],
            "depth": output.depth[None],
            "invdepth": output.inverse_depth[None],
            "radii": output.radii,
            "means2d": output.means2d,
            "get_viewspace_grad": lambda out: viewspace_gradient(out["means2d"], size),
            **output.extras,
        })  # fmt: skip

    def render(
        self,
        viewpoint_camera: Camera,
        means3D: Tensor,
        opacity: Tensor,
        scales: Tensor,
        rotations: Tensor,
        shs: Tensor | None = None,
        colors_precomp: Tensor | None = None,
    ) -> dict[str, Any]:
        """Render activated values instead of the model's: SH `shs` [N, K, 3] or colours `colors_precomp` [N, 3]."""
        colors = colors_precomp if shs is None else shs
        if colors is None or (shs is not None and colors_precomp is not None):
            raise ValueError("give exactly one of shs and colors_precomp")
        view = self.raster_view(viewpoint_camera)
        color, alpha, meta = get_backend(self.backend, means3D.device).rasterization(
            means3D,
            rotations,
            scales * self.scale_modifier,
            opacity.reshape(-1),
            colors,
            view.viewmat[None],
            view.K[None],
            view.width,
            view.height,
            sh_degree=view.sh_degree if shs is not None else None,
            backgrounds=view.background[None],
            render_mode="RGB+ED",
            packed=False,
            radius_clip=view.radius_clip,
            rasterize_mode="antialiased" if view.antialiased else "classic",
        )
        depth, radii = color[0, ..., 3], meta["radii"][0].amax(-1)
        inverse = self.inverse_depth(depth) * alpha[0, ..., 0]
        means2d = meta["means2d"]
        if means2d.requires_grad:
            means2d.retain_grad()  # for `get_viewspace_grad`; of values in the middle of a graph torch keeps none
        return self.outputs(
            RasterOutput(color[0, ..., :3], alpha[0, ..., 0], depth, inverse, radii, means2d), viewpoint_camera
        )
