"""The fused photometric loss against its definition in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gaussian_splatting.errors import BackendError
from gaussian_splatting.rasterizer import cpu

SIZES = [(37, 45), (1, 1), (3, 2), (5, 6), (40, 5), (2, 70), (11, 11), (130, 64)]


def expected(x: Tensor, y: Tensor, lambda_dssim: float) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, L1 and SSIM of two pictures [3, H, W], as the 3DGS paper defines them."""
    bell = torch.exp(-((torch.arange(11, dtype=x.dtype) - 5) ** 2) / (2 * 1.5**2))
    window = (bell[:, None] * bell / bell.sum() ** 2).expand(3, 1, 11, 11)

    def smooth(picture: Tensor) -> Tensor:
        return F.conv2d(picture[None], window, padding=5, groups=3)

    a, b = smooth(x), smooth(y)
    variance_x, variance_y, covariance = smooth(x * x) - a * a, smooth(y * y) - b * b, smooth(x * y) - a * b
    similarity = (2 * a * b + 0.01**2) * (2 * covariance + 0.03**2)
    similarity = similarity / ((a * a + b * b + 0.01**2) * (variance_x + variance_y + 0.03**2))
    l1, ssim = (x - y).abs().mean(), similarity.mean()
    return (1 - lambda_dssim) * l1 + lambda_dssim * (1 - ssim), l1, ssim


def pictures(height: int, width: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(height * 1000 + width)
    x = torch.rand(height, width, 3, generator=random)
    return x, (x + 0.1 * torch.randn(height, width, 3, generator=random)).clamp(0, 1)


@pytest.mark.parametrize("lambda_dssim", [0.0, 0.2, 1.0])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_values_and_gradient_are_those_of_the_definition(height: int, width: int, lambda_dssim: float) -> None:
    x, y = pictures(height, width)
    exact = x.double().permute(2, 0, 1).requires_grad_()
    wanted = expected(exact, y.double().permute(2, 0, 1), lambda_dssim)
    (3 * wanted[0]).backward()
    leaf = x.clone().requires_grad_()
    found = cpu.fused_photometric(leaf.permute(2, 0, 1), y.permute(2, 0, 1), lambda_dssim)
    (3 * found[0]).backward()
    for own, value in zip(found, wanted, strict=True):
        assert abs(float(own.detach()) - float(value.detach())) <= 2e-7
    gradient = exact.grad.permute(1, 2, 0)
    assert (leaf.grad.double() - gradient).norm() <= 1e-6 * gradient.norm()


def test_planes_and_interleaved_pictures_give_the_same() -> None:
    x, y = pictures(30, 41)
    interleaved = cpu.fused_photometric(x.permute(2, 0, 1), y.permute(2, 0, 1), 0.2)[0]
    planes = cpu.fused_photometric(x.permute(2, 0, 1).contiguous(), y.permute(2, 0, 1).contiguous(), 0.2)[0]
    assert torch.equal(interleaved, planes)
    assert torch.equal(cpu.photometric_loss(x, y, 0.2), interleaved)
    assert torch.equal(cpu.photometric_loss(x.permute(2, 0, 1), y.permute(2, 0, 1), 0.2), interleaved)


def test_the_gradient_of_a_permuted_picture_is_interleaved_too() -> None:
    x, y = pictures(30, 41)
    leaf = x.requires_grad_()
    cpu.fused_photometric(leaf.permute(2, 0, 1), y.permute(2, 0, 1), 0.2)[0].backward()
    assert leaf.grad.is_contiguous()


def test_ssim_of_a_picture_with_itself_is_one() -> None:
    x, _ = pictures(20, 20)
    assert abs(float(cpu.ssim(x.permute(2, 0, 1), x.permute(2, 0, 1))) - 1) < 1e-6


def test_equal_pictures_have_no_l1_gradient() -> None:
    x, _ = pictures(20, 20)
    leaf = x.clone().requires_grad_()
    cpu.photometric_loss(leaf, x, 0.0).backward()
    assert not leaf.grad.any()


def test_without_gradients_there_is_no_graph() -> None:
    x, y = pictures(20, 20)
    assert not cpu.photometric_loss(x, y, 0.2).requires_grad
    with torch.no_grad():
        assert not cpu.photometric_loss(x.requires_grad_(), y, 0.2).requires_grad


def test_what_cannot_be_compared_is_refused() -> None:
    x, y = (picture.permute(2, 0, 1) for picture in pictures(20, 21))
    with pytest.raises(BackendError, match=r"the rendering has shape \(3, 20, 21\), the target \(3, 20, 20\)"):
        cpu.fused_photometric(x, y[..., :20], 0.2)
    with pytest.raises(BackendError, match=r"the target has shape \(1, 20, 21\)"):
        cpu.fused_photometric(x, y[:1], 0.2)
    with pytest.raises(BackendError, match=r"the rendering is torch.float64"):
        cpu.fused_photometric(x.double(), y, 0.2)
    with pytest.raises(BackendError, match="target asks for a gradient"):
        cpu.fused_photometric(x, y.clone().requires_grad_(), 0.2)
