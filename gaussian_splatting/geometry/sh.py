"""Real spherical harmonics up to degree 4, in the sign and order that 3DGS files use.

A colour is `max(0, SH(direction) + 0.5)` with the unit direction from the camera centre to the Gaussian.
"""

from __future__ import annotations

from math import pi, sqrt

import torch
from torch import Tensor

from gaussian_splatting.errors import SplatError

MAX_DEGREE = 4

C0 = sqrt(1 / pi) / 2
C1 = sqrt(3 / pi) / 2
C2 = (
    sqrt(15 / pi) / 2,
    -sqrt(15 / pi) / 2,
    sqrt(5 / pi) / 4,
    -sqrt(15 / pi) / 2,
    sqrt(15 / pi) / 4,
)
C3 = (
    -sqrt(35 / (2 * pi)) / 4,
    sqrt(105 / pi) / 2,
    -sqrt(21 / (2 * pi)) / 4,
    sqrt(7 / pi) / 4,
    -sqrt(21 / (2 * pi)) / 4,
    sqrt(105 / pi) / 4,
    -sqrt(35 / (2 * pi)) / 4,
)
C4 = (
    3 * sqrt(35 / pi) / 4,
    -3 * sqrt(35 / (2 * pi)) / 4,
    3 * sqrt(5 / pi) / 4,
    -3 * sqrt(5 / (2 * pi)) / 4,
    3 * sqrt(1 / pi) / 16,
    -3 * sqrt(5 / (2 * pi)) / 4,
    3 * sqrt(5 / pi) / 8,
    -3 * sqrt(35 / (2 * pi)) / 4,
    3 * sqrt(35 / pi) / 16,
)


def num_coefficients(degree: int) -> int:
    """How many coefficients each colour channel has at `degree`: (degree + 1)²."""
    if not 0 <= degree <= MAX_DEGREE:
        raise SplatError(
            f"spherical harmonics of degree {degree} are not supported; use a degree from 0 to {MAX_DEGREE}"
        )
    return (degree + 1) ** 2


def sh_basis(degree: int, directions: Tensor) -> Tensor:
    """The basis functions at unit `directions` [..., 3]: a tensor [..., (degree + 1)²].

    Orthonormal over the sphere. Degree 1 is (-y, z, -x): the Condon-Shortley phase is kept, as in 3DGS files.
    """
    count = num_coefficients(degree)
    x, y, z = directions.unbind(-1)
    basis = [torch.full_like(x, C0)]
    for build in (_first_band, _second_band, _third_band, _fourth_band)[:degree]:
        basis += build(x, y, z)
    assert len(basis) == count
    return torch.stack(basis, dim=-1)


def eval_sh(deg: int, sh: Tensor, dirs: Tensor) -> Tensor:
    """The values [..., C] of harmonics with coefficients `sh` [..., C, K], K >= (deg + 1)², at unit `dirs` [..., 3].

    >>> eval_sh(0, torch.ones(1, 3, 1), torch.tensor([[0.0, 0.0, 1.0]]))
    tensor([[0.2821, 0.2821, 0.2821]])
    """
    count = num_coefficients(deg)
    if sh.shape[-1] < count:
        raise SplatError(
            f"degree {deg} needs {count} coefficients per channel, found {sh.shape[-1]} in {tuple(sh.shape)}"
        )
    return (sh[..., :count] * sh_basis(deg, dirs)[..., None, :]).sum(dim=-1)


def RGB2SH(rgb: Tensor) -> Tensor:
    """The degree-0 coefficients [..., 3] that show the colours `rgb` [..., 3] in [0, 1]."""
    return (rgb - 0.5) / C0


def SH2RGB(sh: Tensor) -> Tensor:
    """The colours [..., 3] that the degree-0 coefficients `sh` [..., 3] show, before clamping to [0, 1]."""
    return sh * C0 + 0.5


def _first_band(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    return [-C1 * y, C1 * z, -C1 * x]


def _second_band(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    return [
        C2[0] * x * y,
        C2[1] * y * z,
        C2[2] * (2 * z * z - x * x - y * y),
        C2[3] * x * z,
        C2[4] * (x * x - y * y),
    ]


def _third_band(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    xx, yy, zz = x * x, y * y, z * z
    return [
        C3[0] * y * (3 * xx - yy),
        C3[1] * x * y * z,
        C3[2] * y * (4 * zz - xx - yy),
        C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
        C3[4] * x * (4 * zz - xx - yy),
        C3[5] * z * (xx - yy),
        C3[6] * x * (xx - 3 * yy),
    ]


def _fourth_band(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    xx, yy, zz = x * x, y * y, z * z
    return [
        C4[0] * x * y * (xx - yy),
        C4[1] * y * z * (3 * xx - yy),
        C4[2] * x * y * (7 * zz - 1),
        C4[3] * y * z * (7 * zz - 3),
        C4[4] * (zz * (35 * zz - 30) + 3),
        C4[5] * x * z * (7 * zz - 3),
        C4[6] * (xx - yy) * (7 * zz - 1),
        C4[7] * x * z * (xx - 3 * yy),
        C4[8] * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
    ]
