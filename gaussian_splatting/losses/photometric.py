"""The loss between a rendered picture and the photo: (1 - lambda) L1 + lambda (1 - SSIM), with image masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.losses import photometric_triton
from gaussian_splatting.losses.metrics import l1_loss
from gaussian_splatting.losses.ssim import ssim
from gaussian_splatting.rasterizer import cpu

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera

MaskMode = Literal["none", "ignore", "bg_color"]


def photometric(render: Tensor, camera: Camera, lambda_dssim: float = 0.2, mask_mode: MaskMode = "none") -> Tensor:
    """The loss of `render` [3, H, W] against the photo of `camera`; neither is changed.

    A photo whose alpha channel is coverage (`custom_data["coverage"]`) is laid over the camera's background of this
    step.

    `mask_mode` says what the image mask of the camera does. "none": nothing. "ignore": both pictures are multiplied by
    it, so that pixels outside it give no gradient; the mean is still over all pixels, so a view counts by the area of
    its mask. "bg_color": outside the mask the photo is replaced by the background colour as this camera shows it. A
    camera without a mask is valid everywhere.
    """
    target = _photo(camera, render)
    mask = camera.ground_truth_image_mask
    if mask is not None:
        render, target = _masking(mask_mode)(render, target, mask.to(render), camera)
    return photometric_terms(render, target, lambda_dssim)[0]


def photometric_terms(render: Tensor, target: Tensor, lambda_dssim: float) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, its L1 and its SSIM, of two pictures [3, H, W]; `target` is a constant.

    For float32 on a CPU the fused kernels of the cpu backend compute it, on a card those of Triton where it is
    installed, elsewhere PyTorch does.
    """
    if _suits_fused_kernel(render, target):
        return cpu.fused_photometric(render, target, lambda_dssim)
    if photometric_triton.suits(render, target):
        return photometric_triton.photometric_on_card(render, target, lambda_dssim)
    l1, similarity = l1_loss(render, target), ssim(render, target)
    return (1 - lambda_dssim) * l1 + lambda_dssim * (1 - similarity), l1, similarity


def _photo(camera: Camera, render: Tensor) -> Tensor:
    photo = camera.ground_truth_image
    if photo is None:
        raise TrainingError(f"the view {camera.ground_truth_image_path!r} has no picture loaded to train on")
    if photo.shape != render.shape:
        raise TrainingError(
            f"the picture {camera.ground_truth_image_path!r} is {list(photo.shape)} but the render is "
            f"{list(render.shape)}; load it with the size of its camera"
        )
    return _over_background(photo, camera)


def _over_background(photo: Tensor, camera: Camera) -> Tensor:
    """The photo [3, H, W]; one with an alpha channel as it looks over the background that this camera shows now."""
    coverage = camera.custom_data.get("coverage")
    if coverage is None:
        return photo
    shown, composited_on = _shown_background(photo, camera), camera.custom_data["composited_on"].to(photo)
    # The memory stays [H, W, 3], which the loss kernels read by rows of pixels.
    change = shown.permute(1, 2, 0) - composited_on
    return (photo.permute(1, 2, 0) + (1 - coverage.to(photo))[..., None] * change).permute(2, 0, 1)


def _shown_background(target: Tensor, camera: Camera) -> Tensor:
    """The background [3, H, W] after the exposure of the camera, which it passes through in the render too."""
    plain = camera.bg_color.to(target)[:, None, None].expand_as(target)
    return camera.postprocess(camera, plain).detach().clamp(0, 1)


def _masking(mode: MaskMode) -> Callable[[Tensor, Tensor, Tensor, Camera], tuple[Tensor, Tensor]]:
    modes = {"none": _unmasked, "ignore": _ignore_outside, "bg_color": _background_outside}
    if mode not in modes:
        raise TrainingError(f"mask_mode {mode!r} does not exist; use one of {', '.join(modes)}")
    return modes[mode]


def _unmasked(render: Tensor, target: Tensor, mask: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    return render, target


def _ignore_outside(render: Tensor, target: Tensor, mask: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    return render * mask, target * mask


def _background_outside(render: Tensor, target: Tensor, mask: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    return render, target * mask + (1 - mask) * _shown_background(target, camera)


def _suits_fused_kernel(render: Tensor, target: Tensor) -> bool:
    on_cpu = render.device.type == "cpu" and target.device.type == "cpu"
    plain = render.dtype == target.dtype == torch.float32 and not target.requires_grad
    return on_cpu and plain and render.ndim == len(render) == 3
