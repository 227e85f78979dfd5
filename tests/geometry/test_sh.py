"""The harmonics are orthonormal, have the signs of 3DGS files, and turn colours into coefficients and back."""

import math

import numpy as np
import pytest
import torch

from gaussian_splatting.errors import SplatError
from gaussian_splatting.geometry.sh import C0, RGB2SH, SH2RGB, eval_sh, num_coefficients, sh_basis


def quadrature() -> tuple[torch.Tensor, torch.Tensor]:
    """Directions and weights that integrate polynomials up to degree 12 over the sphere exactly."""
    heights, height_weights = np.polynomial.legendre.leggauss(8)
    angles = torch.arange(16, dtype=torch.float64) * 2 * math.pi / 16
    z = torch.from_numpy(heights)[:, None].expand(8, 16)
    ring = (1 - z * z).sqrt()
    directions = torch.stack([ring * angles.cos(), ring * angles.sin(), z], dim=-1).reshape(-1, 3)
    weights = torch.from_numpy(height_weights)[:, None].expand(8, 16).reshape(-1) * 2 * math.pi / 16
    return directions, weights


def test_the_basis_is_orthonormal_over_the_sphere():
    directions, weights = quadrature()
    basis = sh_basis(4, directions)
    gram = (basis * weights[:, None]).T @ basis
    torch.testing.assert_close(gram, torch.eye(25, dtype=torch.float64), atol=1e-13, rtol=0)


@pytest.mark.parametrize("degree", range(5))
def test_a_rotated_function_of_one_degree_stays_in_its_degree(degree):
    directions, weights = quadrature()
    angle = torch.tensor(0.7, dtype=torch.float64)
    tilt = torch.tensor([[1, 0, 0], [0, angle.cos(), -angle.sin()], [0, angle.sin(), angle.cos()]])
    band = slice(degree**2, (degree + 1) ** 2)
    rotated = sh_basis(degree, directions @ tilt.T)[:, band]
    coefficients = (sh_basis(4, directions) * weights[:, None]).T @ rotated  # [25, 2 degree + 1]
    outside = torch.cat([coefficients[: band.start], coefficients[band.stop :]])
    torch.testing.assert_close(outside, torch.zeros_like(outside), atol=1e-13, rtol=0)
    identity = torch.eye(2 * degree + 1, dtype=torch.float64)
    torch.testing.assert_close(coefficients[band].T @ coefficients[band], identity, atol=1e-13, rtol=0)


def test_the_signs_are_those_of_3dgs_files():
    x, y, z = 0.36, 0.48, 0.8
    basis = sh_basis(3, torch.tensor([x, y, z], dtype=torch.float64)).tolist()
    c1 = 0.4886025119029199
    assert basis[:4] == pytest.approx([0.28209479177387814, -c1 * y, c1 * z, -c1 * x], abs=1e-15)
    assert basis[4:9] == pytest.approx(
        [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * z * z - x * x - y * y),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ],
        abs=1e-15,
    )
    assert basis[9] == pytest.approx(-0.5900435899266435 * y * (3 * x * x - y * y), abs=1e-15)
    assert basis[10] == pytest.approx(2.890611442640554 * x * y * z, abs=1e-15)
    assert basis[12] == pytest.approx(0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y), abs=1e-15)


def test_the_basis_is_gsplats():
    gsplat = pytest.importorskip("gsplat.cuda._torch_impl")
    directions = torch.nn.functional.normalize(torch.randn(50, 3, dtype=torch.float64), dim=-1)
    torch.testing.assert_close(sh_basis(4, directions), gsplat._eval_sh_bases_fast(25, directions), atol=1e-12, rtol=0)


@pytest.mark.parametrize("degree", range(5))
def test_eval_sh_sums_the_first_coefficients(degree):
    coefficients = torch.randn(7, 3, 25, dtype=torch.float64)
    directions = torch.nn.functional.normalize(torch.randn(7, 3, dtype=torch.float64), dim=-1)
    expected = torch.einsum("nck,nk->nc", coefficients[..., : (degree + 1) ** 2], sh_basis(degree, directions))
    torch.testing.assert_close(eval_sh(degree, coefficients, directions), expected)


def test_a_colour_survives_its_coefficient():
    colors = torch.rand(10, 3, dtype=torch.float64)
    torch.testing.assert_close(SH2RGB(RGB2SH(colors)), colors)
    assert float(RGB2SH(torch.tensor(1.0, dtype=torch.float64))) == pytest.approx(0.5 / C0)


def test_too_few_coefficients_are_refused():
    with pytest.raises(SplatError, match=r"degree 3 needs 16 coefficients per channel, found 9 in \(1, 3, 9\)"):
        eval_sh(3, torch.zeros(1, 3, 9), torch.zeros(1, 3))


@pytest.mark.parametrize("degree", [-1, 5])
def test_unsupported_degrees_are_refused(degree):
    with pytest.raises(SplatError, match=f"degree {degree} are not supported; use a degree from 0 to 4"):
        num_coefficients(degree)
