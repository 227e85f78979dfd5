"""GaussianModel: the activated values of N Gaussians, the render call, and splat files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gaussian_splatting.gaussian_rows import ATTRIBUTES, GaussianRows
from gaussian_splatting.geometry.activations import inverse_sigmoid, place_independent_sigmoid
from gaussian_splatting.geometry.clamping import clamped_to_unit
from gaussian_splatting.geometry.rotations import build_covariance_from_scaling_rotation
from gaussian_splatting.rasterizer import get_backend, require_view_options, resolve_backend
from gaussian_splatting.rasterizer.contract import GaussianParameters, RasterOutput, RasterView
from gaussian_splatting.rendered_view import RenderedView, viewspace_gradient

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from gaussian_splatting.camera import Camera
    from gaussian_splatting.io.ply import GaussianArrays


def screen_blur(camera: Camera) -> float:
    """The variance [pixels^2] that a camera adds to Gaussians on its screen: the usual, or what it says itself."""
    return camera.custom_data.get("eps2d", RasterView.eps2d)


def sh_degree_for(camera: Camera, usual: int) -> int:
    """The SH degree that a camera is rendered with: the usual one, or less where the camera says so itself."""
    return min(usual, camera.custom_data.get("sh_degree", usual))


class GaussianModel(GaussianRows):
    """N Gaussians with SH colour up to degree `sh_degree`, rendered by calling the model with a camera.

    Raw parameters: `_xyz` [N, 3], `_features_dc` [N, 1, 3], `_features_rest` [N, K-1, 3], `_scaling` [N, 3] (log),
    `_rotation` [N, 4] (wxyz, normalised on use), `_opacity` [N, 1] (logit). See Kerbl et al. 2023, section 4.
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
        self.started_at_random = False
        """Whether the points that it was made of say nothing about the scene."""
        self.scaling_activation, self.scaling_inverse_activation = torch.exp, torch.log
        self.opacity_activation, self.inverse_opacity_activation = place_independent_sigmoid, inverse_sigmoid
        self.rotation_activation = nn.functional.normalize
        self.covariance_activation = build_covariance_from_scaling_rotation

    # Activated values

    @property
    def get_xyz(self) -> Tensor:
        """Centres [N, 3] in world units."""
        return self._xyz

    @property
    def get_scaling(self) -> Tensor:
        """Standard deviations [N, 3] in world units."""
        return self.scaling_activation(self._scaling)

    @property
    def get_rotation(self) -> Tensor:
        """Unit quaternions [N, 4], wxyz."""
        return self.rotation_activation(self._rotation)

    @property
    def get_features(self) -> Tensor:
        """Spherical-harmonics coefficients [N, K, 3]."""
        return torch.cat((self._features_dc, self._features_rest), dim=1)

    @property
    def get_features_dc(self) -> Tensor:
        """Coefficients of degree 0 [N, 1, 3]."""
        return self._features_dc

    @property
    def get_features_rest(self) -> Tensor:
        """Coefficients of degree 1 and above [N, K-1, 3]."""
        return self._features_rest

    @property
    def get_opacity(self) -> Tensor:
        """Opacities [N, 1] in (0, 1)."""
        return self.opacity_activation(self._opacity)

    def get_covariance(self, scaling_modifier: float = 1.0) -> Tensor:
        """World covariances as upper triangles [N, 6]."""
        return self.covariance_activation(self.get_scaling, scaling_modifier, self._rotation)

    @staticmethod
    def inverse_depth(depth: Tensor) -> Tensor:
        """1/x where x is above the float epsilon, else 0; its own inverse."""
        safe = depth.clamp_min(torch.finfo(depth.dtype).eps)
        return torch.where(depth > torch.finfo(depth.dtype).eps, 1 / safe, torch.zeros_like(depth))

    def to(self, *args: Any, **kwargs: Any) -> GaussianModel:
        """Move the parameters and return the model."""
        return super().to(*args, **kwargs)

    # Rendering

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

    # Making and saving

    @torch.no_grad()
    def create_from_pcd(self, points: Tensor, colors: Tensor) -> GaussianModel:
        """One Gaussian per point [N, 3] of colour [N, 3] in [0, 1], sized by its three nearest neighbours."""
        from gaussian_splatting.geometry.knn import mean_squared_neighbour_distance
        from gaussian_splatting.geometry.sh import RGB2SH

        points = points.detach().float()
        num = points.shape[0]
        squared = mean_squared_neighbour_distance(points).clamp_min(1e-7).to(points.device)
        shapes = self.row_shapes()
        rows = {name: torch.zeros((num, *shape), device=points.device) for name, shape in shapes.items()}
        rows["xyz"] = points.clone()
        rows["f_dc"][:, 0] = RGB2SH(colors.to(points.device).float())
        rows["scaling"] = squared.sqrt().log()[:, None].repeat(1, 3)
        rows["rotation"][:, 0] = 1.0
        rows["opacity"] += inverse_sigmoid(torch.tensor(0.1))
        self.set_rows(rows)
        return self

    def arrays(self) -> GaussianArrays:
        """The raw parameters as float32 numpy arrays, as files hold them."""
        from gaussian_splatting.io.ply import GaussianArrays

        def column(name: str) -> Any:
            return getattr(self, ATTRIBUTES[name]).detach().float().cpu().contiguous().numpy()

        return GaussianArrays(
            xyz=column("xyz"),
            features_dc=column("f_dc"),
            features_rest=column("f_rest"),
            opacity=column("opacity"),
            scaling=column("scaling"),
            rotation=column("rotation"),
        )

    def save_ply(self, path: str | os.PathLike[str]) -> None:
        """Write the raw parameters as a splat PLY, atomically. Refuses non-finite values."""
        from gaussian_splatting.io.ply import write_gaussians

        write_gaussians(path, self.arrays())

    @torch.no_grad()
    def load_ply(self, path: str | os.PathLike[str]) -> GaussianModel:
        """Take the Gaussians of a splat PLY. The SH degree of the file is raised or cut to the model's, and said."""
        import warnings

        from gaussian_splatting.io.ply import read_gaussians

        arrays = read_gaussians(path)
        wanted = (self.max_sh_degree + 1) ** 2 - 1
        rest = torch.from_numpy(arrays.features_rest)
        if rest.shape[1] != wanted:
            kind = "cut" if rest.shape[1] > wanted else "padded with zeros"
            degree = int((rest.shape[1] + 1) ** 0.5) - 1
            warnings.warn(f"{path}: SH degree {degree} in the file is {kind} to {self.max_sh_degree}", stacklevel=2)
            padding = torch.zeros(rest.shape[0], max(0, wanted - rest.shape[1]), 3)
            rest = torch.cat((rest[:, :wanted], padding), dim=1)
        device = self._xyz.device
        columns = (arrays.xyz, arrays.features_dc, rest, arrays.opacity, arrays.scaling, arrays.rotation)
        self.set_rows({n: torch.as_tensor(c).float().to(device) for n, c in zip(ATTRIBUTES, columns, strict=True)})
        return self
