"""The photometric loss against its formula, its masks, and the two ways of computing it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.losses.metrics import l1_loss, l2_loss, mse, psnr
from gaussian_splatting.losses.photometric import photometric, photometric_terms
from gaussian_splatting.losses.ssim import create_window, gaussian, ssim, ssim_map
from gaussian_splatting.rasterizer import cpu

DOUBLE = torch.float64


def direct_ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """One window at a time, with the variances as weighted means of squared differences."""
    radius = 5
    offsets = torch.arange(11, dtype=DOUBLE) - radius
    weights = torch.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    result = torch.zeros_like(first)
    padded = [torch.nn.functional.pad(picture, (radius,) * 4) for picture in (first, second)]
    for channel, y, x in torch.cartesian_prod(*(torch.arange(n) for n in first.shape)).tolist():
        a, b = (picture[channel, y : y + 11, x : x + 11] for picture in padded)
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        variance_a, variance_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
        structure = (2 * covariance + 9e-4) / (variance_a + variance_b + 9e-4)
        result[channel, y, x] = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4) * structure
    return result


def pictures(height: int = 18, width: int = 21, dtype: torch.dtype = DOUBLE) -> tuple[Tensor, Tensor]:
    """Two pictures [3, H, W] laid out as [H, W, 3], as renders and photos are."""
    generator = torch.Generator().manual_seed(1)
    first, second = torch.rand(2, height, width, 3, dtype=dtype, generator=generator)
    return first.permute(2, 0, 1).requires_grad_(), second.permute(2, 0, 1)


def view(photo: Tensor | None, mask: Tensor | None = None, **fields: Any) -> Any:
    """What the loss reads of a camera."""
    defaults = {"bg_color": torch.zeros(3), "postprocess": lambda camera, image: image, "custom_data": {}}
    paths = {"ground_truth_image_path": "images/a.jpg"}
    return SimpleNamespace(ground_truth_image=photo, ground_truth_image_mask=mask, **(defaults | paths | fields))


# SSIM


def test_ssim_is_its_definition():
    first, second = pictures()
    torch.testing.assert_close(ssim_map(first, second), direct_ssim_map(first.detach(), second), atol=1e-13, rtol=0)
    torch.testing.assert_close(ssim(first, second), direct_ssim_map(first.detach(), second).mean())


def test_ssim_of_equal_pictures_is_one_and_its_gradient_zero():
    first, _ = pictures()
    similarity = ssim(first, first.detach())
    assert similarity.item() == pytest.approx(1, abs=1e-14)
    assert float(torch.autograd.grad(similarity, first)[0].abs().max()) < 1e-15


def test_ssim_is_symmetric():
    first, second = pictures()
    torch.testing.assert_close(ssim(first, second), ssim(second, first))


def test_ssim_gradient_is_exact():
    first, second = pictures(6, 5)
    assert torch.autograd.gradcheck(lambda picture: ssim(picture, second), first)


def test_a_batch_gives_a_mean_for_each_picture():
    first, second = (torch.stack([picture, picture.flip(1)]) for picture in pictures())
    each = ssim(first, second, size_average=False)
    assert each.shape == (2,)
    torch.testing.assert_close(each[0], ssim(first[0], second[0]))
    torch.testing.assert_close(each.mean(), ssim(first, second))


def test_the_window_is_a_normalised_gaussian():
    window = create_window(11, 3)
    assert window.shape == (3, 1, 11, 11)
    torch.testing.assert_close(window.sum(dim=(1, 2, 3)), torch.ones(3))
    weights = gaussian(11, 1.5)
    assert float(weights[5] / weights[8]) == pytest.approx(float(torch.exp(torch.tensor(9 / 4.5))))


def test_a_window_made_in_inference_mode_still_serves_training():
    module_cache = __import__("gaussian_splatting.losses.ssim", fromlist=["window_weights"]).window_weights
    module_cache.cache_clear()
    first, second = pictures()
    with torch.inference_mode():
        ssim(first, second)
    ssim(first, second).backward()


# Metrics


def test_psnr_is_over_all_channels():
    first, second = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
    second[0] = 0.3
    assert float(mse(first, second)) == pytest.approx(0.03)
    assert float(psnr(first, second)) == pytest.approx(15.2288, abs=1e-4)
    assert psnr(first[None], second[None]).shape == (1, 1)
    assert float(psnr(first, first)) == float("inf")


def test_masked_metrics_are_means_over_valid_pixels():
    first, second = pictures()
    mask = torch.zeros(18, 21, dtype=DOUBLE)
    mask[3:9, 4:11] = 1
    expected = ((first - second)[:, 3:9, 4:11] ** 2).mean()
    torch.testing.assert_close(mse(first, second, mask), expected)
    torch.testing.assert_close(psnr(first, second, mask), -10 * expected.log10())


def test_l1_and_l2_are_means():
    first, second = pictures()
    torch.testing.assert_close(l1_loss(first, second), (first - second).abs().mean())
    torch.testing.assert_close(l2_loss(first, second), ((first - second) ** 2).mean())


# The loss


@pytest.mark.parametrize("lambda_dssim", [0.0, 0.2, 1.0])
def test_the_loss_mixes_l1_and_ssim(lambda_dssim):
    render, photo = pictures()
    expected = (1 - lambda_dssim) * l1_loss(render, photo) + lambda_dssim * (1 - direct_ssim_map(render, photo).mean())
    torch.testing.assert_close(photometric(render, view(photo), lambda_dssim), expected)


def test_nothing_is_changed():
    render, photo = pictures()
    mask = (torch.rand(18, 21) > 0.5).double()
    before = render.detach().clone(), photo.clone(), mask.clone()
    for mode in ("none", "ignore", "bg_color"):
        photometric(render, view(photo, mask), mask_mode=mode).backward()
    for value, original in zip((render, photo, mask), before, strict=True):
        assert torch.equal(value.detach(), original)


def test_ignoring_leaves_no_gradient_outside_the_mask():
    render, photo = pictures()
    mask = torch.zeros(18, 21)
    mask[5:12, 6:15] = 1
    loss = photometric(render, view(photo, mask), mask_mode="ignore")
    (gradient,) = torch.autograd.grad(loss, render)
    assert (gradient[:, mask == 0] == 0).all()
    assert (gradient[:, mask == 1] != 0).any()
    torch.testing.assert_close(loss, photometric(render * mask, view(photo * mask)))


def test_outside_the_mask_the_background_is_wanted():
    render, photo = pictures()
    mask = (torch.rand(18, 21, generator=torch.Generator().manual_seed(4)) > 0.5).double()
    background = torch.tensor([0.9, 0.2, 0.4])
    brighter = view(photo, mask, bg_color=background, postprocess=lambda camera, image: image * 1.5)
    shown = (background.double() * 1.5).clamp(0, 1)[:, None, None]
    expected = photometric(render, view(photo * mask + shown * (1 - mask)))
    torch.testing.assert_close(photometric(render, brighter, mask_mode="bg_color"), expected)


def test_the_background_of_the_target_gets_no_gradient():
    render, photo = pictures()
    gain = torch.tensor(0.5, dtype=DOUBLE, requires_grad=True)
    camera = view(photo, torch.zeros(18, 21), postprocess=lambda camera, image: image * gain)
    photometric(render, camera, mask_mode="bg_color").backward()
    assert gain.grad is None


@pytest.mark.parametrize("mode", ["none", "ignore", "bg_color"])
def test_a_view_without_a_mask_is_valid_everywhere(mode):
    render, photo = pictures()
    torch.testing.assert_close(photometric(render, view(photo), mask_mode=mode), photometric(render, view(photo)))


def test_mode_none_does_not_look_at_the_mask():
    render, photo = pictures()
    with_mask = photometric(render, view(photo, torch.zeros(18, 21)))
    torch.testing.assert_close(with_mask, photometric(render, view(photo)))


# Two ways of computing it


def test_float32_on_a_cpu_is_computed_by_the_fused_kernel(monkeypatch):
    render, photo = pictures(dtype=torch.float32)
    calls = []

    def fused(render: Tensor, target: Tensor, weight: float) -> tuple[Tensor, Tensor, Tensor]:
        calls.append((render.shape, target.shape, weight))
        return render.sum(), render.mean(), render.max()

    monkeypatch.setattr(cpu, "fused_photometric", fused)
    assert photometric(render, view(photo), 0.3) == render.sum()
    assert calls == [((3, 18, 21), (3, 18, 21), 0.3)]


@pytest.mark.parametrize("case", ["double", "target with gradient"])
def test_what_the_fused_kernel_cannot_do_is_left_to_pytorch(monkeypatch, case):
    monkeypatch.setattr(cpu, "fused_photometric", lambda *args: pytest.fail("the fused kernel was asked for"))
    render, photo = pictures(dtype=DOUBLE if case == "double" else torch.float32)
    photometric(render, view(photo.clone().requires_grad_(case != "double"))).backward()


@pytest.mark.parametrize("size", [(18, 21), (5, 4), (64, 130)])
@pytest.mark.parametrize("lambda_dssim", [0.0, 0.2, 1.0])
def test_the_fused_kernel_computes_what_pytorch_computes(size, lambda_dssim):
    render, photo = pictures(*size, dtype=torch.float32)
    fused = photometric_terms(render, photo, lambda_dssim)
    exact_render = render.detach().double().requires_grad_()
    exact = photometric_terms(exact_render, photo.double(), lambda_dssim)
    for found, expected in zip(fused, exact, strict=True):
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(fused[0], render)
    (expected_gradient,) = torch.autograd.grad(exact[0], exact_render)
    difference = (gradient.double() - expected_gradient).norm() / expected_gradient.norm()
    assert float(difference) < 1e-5


# What is refused


def test_a_view_without_a_picture_is_refused():
    render, _ = pictures()
    with pytest.raises(TrainingError, match=r"the view 'images/a.jpg' has no picture loaded to train on"):
        photometric(render, view(None))


def test_a_picture_of_another_size_is_refused():
    render, photo = pictures()
    message = r"'images/a.jpg' is \[3, 18, 20\] but the render is \[3, 18, 21\]; load it with the size of its camera"
    with pytest.raises(TrainingError, match=message):
        photometric(render, view(photo[..., :-1]))


def test_an_unknown_mask_mode_is_refused():
    render, photo = pictures()
    with pytest.raises(TrainingError, match="mask_mode 'alpha' does not exist; use one of none, ignore, bg_color"):
        photometric(render, view(photo, torch.ones(18, 21)), mask_mode="alpha")
