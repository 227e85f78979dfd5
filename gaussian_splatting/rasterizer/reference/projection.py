"""From Gaussians in the world to ellipses on the picture, in differentiable PyTorch.

EWA splatting (Zwicker et al. 2001) with the conventions of gsplat 1.5.3: the Jacobian is taken no further than 0.3
half-fields of view outside the picture, `eps2d` is added to the screen covariance, and what cannot reach an opacity of
1/255 anywhere on the picture is culled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from gaussian_splatting.errors import BackendError
from gaussian_splatting.geometry.rotations import has_no_direction, quaternion_to_matrix

ALPHA_THRESHOLD = 1 / 255
MAX_EXTENT = 3.33  # standard deviations; beyond it even an opaque Gaussian is below 1/255
_LARGEST_RADIUS = 2.0**30

# Means [M, 3], covariances [M, 3, 3] and opacities [M] of the rows [M].
Take = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Lens:
    """What the projection needs to know of the camera besides its pose."""

    K: Tensor  # [3, 3] pixels
    width: int
    height: int
    near_plane: float
    far_plane: float
    eps2d: float
    radius_clip: float
    antialiased: bool
    camera_model: str = "pinhole"  # a key of CAMERA_MODELS

    def __post_init__(self) -> None:
        """Refuse numbers that no lens has, with a BackendError that names them."""
        for name in ("width", "height"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool):
                raise BackendError(f"{name} must be an integer, found {value!r} ({type(value).__name__})")
        # A comparison with NaN is false, so that it is refused too.
        if not self.near_plane < self.far_plane:
            raise BackendError(f"near_plane must be below far_plane, found {self.near_plane} and {self.far_plane}")
        if not 0 <= self.eps2d < math.inf:
            raise BackendError(f"eps2d must be finite and at least 0, found {self.eps2d}")
        if not self.radius_clip >= 0:
            raise BackendError(f"radius_clip must be at least 0, found {self.radius_clip}")


@dataclass(frozen=True)
class Ellipses:
    """The M Gaussians that one camera sees."""

    ids: Tensor  # [M] their rows
    means2d: Tensor  # [M, 2] pixels
    conics: Tensor  # [M, 3] inverse screen covariance: xx, xy, yy
    depths: Tensor  # [M] camera z
    opacities: Tensor  # [M] times the compensation when antialiased
    radii: Tensor  # [M, 2] int32 half-sizes of the bounding box, pixels


def rotations_of(quats: Tensor) -> Tensor:
    """The rotations [M, 3, 3] of `quats` [M, 4]; not numbers where there is no direction.

    Such a Gaussian is left out, as by gsplat's kernels. (gsplat's PyTorch code takes it as not rotated.)
    """
    return quaternion_to_matrix(quats).where(~has_no_direction(quats)[:, None, None], math.nan)


def covariances_of(scales: Tensor, quats: Tensor) -> Tensor:
    """The covariances [M, 3, 3] of `scales` [M, 3] and `quats` [M, 4]."""
    half = rotations_of(quats) * scales[:, None, :]
    return half @ half.mT


def project(means: Tensor, take: Take, viewmat: Tensor, lens: Lens) -> Ellipses:
    """Those of the Gaussians with `means` [N, 3] that are visible through `lens`; `take` gives their values.

    The others take no part in the graph, so that their gradients are exactly zero whatever their values are.
    """
    with torch.no_grad():
        z = means @ viewmat[2, :3] + viewmat[2, 3]
        ids = ((z >= lens.near_plane) & (z <= lens.far_plane)).nonzero()[:, 0]
        candidates = ellipses_of(ids, take, viewmat, lens)
        ids = ids[_visible(candidates, lens)]
    return ellipses_of(ids, take, viewmat, lens)


def ellipses_of(ids: Tensor, take: Take, viewmat: Tensor, lens: Lens) -> Ellipses:
    """The Gaussians in the rows `ids` [M] on the picture, visible or not."""
    means, covariances, opacity = take(ids)
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    points = means @ rotation.T + translation  # [M, 3]
    means2d, jacobian = CAMERA_MODELS[lens.camera_model](points, lens)
    screen = jacobian @ rotation  # [M, 2, 3]
    covariance = screen @ covariances @ screen.transpose(-1, -2)  # [M, 2, 2]
    xx, xy, yy = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    sharp = xx * yy - xy * xy
    xx, yy = xx + lens.eps2d, yy + lens.eps2d
    determinant = xx * yy - xy * xy
    if lens.antialiased:
        opacity = opacity * (sharp / determinant).clamp_min(0).sqrt()
    conics = torch.stack([yy, -xy, xx], dim=-1) / determinant[:, None]
    radii = _radii(xx.detach(), yy.detach(), determinant.detach(), opacity.detach())
    return Ellipses(ids, means2d, conics, points[:, 2], opacity, radii)


def _perspective(points: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """Where camera points [M, 3] fall on the picture [M, 2], and the Jacobian [M, 2, 3] there."""
    K, z = lens.K, points[:, 2:]
    focal, centre = torch.stack([K[0, 0], K[1, 1]]), K[:2, 2]  # [2]
    size = torch.tensor([lens.width, lens.height], dtype=K.dtype, device=K.device)
    slope = points[:, :2] / z  # [M, 2]
    margin = 0.3 * 0.5 * size / focal
    bounded = torch.minimum(torch.maximum(slope, -(centre / focal + margin)), (size - centre) / focal + margin)
    diagonal = torch.diag(focal) / z[..., None]  # [M, 2, 2]
    jacobian = torch.cat([diagonal, (-focal * bounded / z)[..., None]], dim=-1)
    return slope * focal + centre, jacobian


def _orthographic(points: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """Parallel projection along z: the focal lengths are pixels per unit of length."""
    K = lens.K
    jacobian = torch.zeros(2, 3, dtype=K.dtype, device=K.device)
    jacobian[0, 0], jacobian[1, 1] = K[0, 0], K[1, 1]
    return points @ jacobian.T + K[:2, 2], jacobian.expand(len(points), 2, 3)


def _fisheye(points: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """Equidistant projection (Kannala and Brandt 2006, without distortion): the radius is the focal length times angle.

    The tiny numbers are gsplat's: they keep the optical axis itself differentiable.
    """
    K, tiny = lens.K, 1e-7
    x, y, z = points.unbind(-1)
    xx, yy, xy = x * x + tiny, y * y, x * y
    across = (xx + yy - tiny).clamp_min(1e-30).sqrt() + tiny  # distance from the optical axis
    scale = torch.atan2(across, z + tiny) / across
    squared, inverse = xx + yy, 1 / (xx + yy + z * z)
    radial = z * inverse / squared
    around = torch.atan2(across, z) / across / squared
    rows = torch.stack(
        [xx * radial + yy * around, xy * (radial - around), -x * inverse,
         xy * (radial - around), yy * radial + xx * around, -y * inverse], dim=-1
    )  # fmt: skip
    focal = torch.stack([K[0, 0], K[1, 1]])
    return points[:, :2] * scale[:, None] * focal + K[:2, 2], rows.reshape(-1, 2, 3) * focal[:, None]


CAMERA_MODELS = {"pinhole": _perspective, "ortho": _orthographic, "fisheye": _fisheye}
"""For each model of a camera: camera points [M, 3] to pixels [M, 2] and the Jacobian [M, 2, 3] there."""


def _radii(xx: Tensor, yy: Tensor, determinant: Tensor, opacity: Tensor) -> Tensor:
    """Half the bounding box [M, 2] of the points where alpha >= 1/255 (StopThePop, Radl et al. 2024, section B.2)."""
    extent = (2 * (opacity / ALPHA_THRESHOLD).log().clamp_min(0)).sqrt().clamp_max(MAX_EXTENT)
    half_sizes = extent[:, None] * torch.stack([xx, yy], dim=-1).sqrt()
    regular = (determinant > 0) & determinant.isfinite() & half_sizes.isfinite().all(dim=-1)
    usable = regular & (opacity >= ALPHA_THRESHOLD)
    return half_sizes.ceil().clamp(0, _LARGEST_RADIUS).where(usable[:, None], 0).to(torch.int32)


def _visible(ellipses: Ellipses, lens: Lens) -> Tensor:
    x, y = ellipses.means2d.unbind(-1)
    radius_x, radius_y = ellipses.radii.unbind(-1)
    large = (ellipses.radii > lens.radius_clip).any(dim=-1)
    inside_x = (x + radius_x > 0) & (x - radius_x < lens.width)
    inside_y = (y + radius_y > 0) & (y - radius_y < lens.height)
    return large & (ellipses.radii > 0).all(dim=-1) & inside_x & inside_y
