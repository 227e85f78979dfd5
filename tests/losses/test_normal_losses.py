"""Normal consistency and distortion of surface splatting."""

import pytest
import torch

from gaussian_splatting.losses.normals import depth_distortion, normal_consistency


def unit_normals(seed: int) -> torch.Tensor:
    normals = torch.randn(3, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return normals / normals.norm(dim=0)


def test_equal_normals_of_an_opaque_surface_have_no_loss():
    normals = unit_normals(0)
    assert float(normal_consistency(normals, normals, torch.ones(1, 6, 7))) == pytest.approx(0, abs=1e-15)


def test_opposite_normals_have_the_largest_loss():
    normals = unit_normals(0)
    assert float(normal_consistency(normals, -normals, torch.ones(1, 6, 7))) == pytest.approx(2)


def test_the_formula_holds_pixel_by_pixel():
    rendered, of_depth = unit_normals(1) * 0.8, unit_normals(2)
    alpha = torch.rand(1, 6, 7, dtype=torch.float64)
    expected = sum(
        1 - float((rendered[:, y, x] * of_depth[:, y, x]).sum() * alpha[0, y, x]) for y in range(6) for x in range(7)
    )
    assert float(normal_consistency(rendered, of_depth, alpha)) == pytest.approx(expected / 42)


def test_both_normals_get_gradients_and_the_coverage_gets_none():
    rendered, of_depth = unit_normals(1).requires_grad_(), unit_normals(2).requires_grad_()
    alpha = torch.rand(1, 6, 7, dtype=torch.float64).requires_grad_()
    normal_consistency(rendered, of_depth, alpha).backward()
    torch.testing.assert_close(rendered.grad, -(of_depth * alpha).detach() / 42)
    torch.testing.assert_close(of_depth.grad, -(rendered * alpha).detach() / 42)
    assert alpha.grad is None


def test_distortion_is_the_mean_of_its_map():
    assert float(depth_distortion(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))) == 3.0
