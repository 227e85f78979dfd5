"""The activated values of N Gaussians, what they are made of, and splat files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gaussian_splatting.gaussian_rows import ATTRIBUTES, GaussianRows
from gaussian_splatting.geometry.activations import inverse_sigmoid, place_independent_sigmoid
from gaussian_splatting.geometry.rotations import build_covariance_from_scaling_rotation

if TYPE_CHECKING:
    import os

    from typing_extensions import Self

    from gaussian_splatting.io.ply import GaussianArrays


class GaussianValues(GaussianRows):
    """N Gaussians with SH colour up to degree `sh_degree`: what their raw parameters stand for.

    Raw parameters: `_xyz` [N, 3], `_features_dc` [N, 1, 3], `_features_rest` [N, K-1, 3], `_scaling` [N, 3] (log),
    `_rotation` [N, 4] (wxyz, normalised on use), `_opacity` [N, 1] (logit). See Kerbl et al. 2023, section 4.
    """

    def __init__(self, sh_degree: int) -> None:
        super().__init__(sh_degree)
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

    # Making and saving

    @torch.no_grad()
    def create_from_pcd(self, points: Tensor, colors: Tensor) -> Self:
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
    def load_ply(self, path: str | os.PathLike[str]) -> Self:
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
