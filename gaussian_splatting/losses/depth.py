"""Losses between a rendered inverse depth map and a given one that is known only up to scale and shift.

Masked pixels take no part: not in the loss, not in the statistics, not in the gradient. The mean is over all pixels, so
that a view counts by the area of its mask.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.losses.depth_windows import windowed_error

RescaleMode = Literal["local", "global", "none"]


def relative_depth_error(
    inverse_depth: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    mode: RescaleMode = "local",
    kernel_radius: int = 8,
    stride: int = 4,
    resize: int | None = None,
) -> Tensor:
    """The error of a rendered `inverse_depth` against `target`, a constant, both [H, W] or [1, H, W].

    `mode` says how the two are brought to one scale: "global" over the whole map, "local" in each window of
    (2 `kernel_radius` + 1)² pixels, one every `stride` pixels, "none" not at all. "global" and "local" errors are in
    units of the deviation of the rendered map, so that one weight serves both, whatever the unit of the scene. `mask`
    is 1 where the target is valid and 0 where it is not; targets there may be anything. With `resize`, maps whose
    longer side is more than that many pixels are first averaged down to it.
    """
    if mode not in ("local", "global", "none"):
        raise TrainingError(f"depth rescale mode {mode!r} does not exist; use one of local, global, none")
    rendered, given = _as_map(inverse_depth), _as_map(target).detach().to(inverse_depth)
    weights = rendered.new_ones(()).expand_as(rendered) if mask is None else _as_map(mask).to(rendered)
    if rendered.shape != given.shape or rendered.shape != weights.shape:
        raise TrainingError(
            f"the rendered depth is {list(rendered.shape)}, the given one {list(given.shape)} and its mask "
            f"{list(weights.shape)}; load them with the size of the camera"
        )
    if mask is not None:
        given = torch.where(weights > 0, given, 0)
    if resize is not None and max(rendered.shape) > resize:
        rendered, given, weights = _shrink(rendered, given, weights, resize)
    if mode == "local":
        return local_error(rendered, given, weights, kernel_radius, stride)
    return global_error(rendered, given, weights) if mode == "global" else absolute_error(rendered, given, weights)


def inverse_of(depth: Tensor) -> Tensor:
    """1 / z where z is positive, else 0: a depth map [...] as an inverse one, and back."""
    return torch.where(depth > 0, 1 / torch.where(depth > 0, depth, 1), 0)


def global_error(inverse_depth: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The mean difference of the two maps [H, W] after each was shifted to mean 0 and scaled to deviation 1."""
    return ((_standardised(inverse_depth, weights) - _standardised(target, weights)).abs() * weights).mean()


def local_error(inverse_depth: Tensor, target: Tensor, weights: Tensor, kernel_radius: int, stride: int) -> Tensor:
    """The windowed error of the maps [H, W] over the deviation of the rendered one, a constant to the gradient."""
    centred = _centred(inverse_depth.detach(), weights)
    unit = _deviation(centred.square_().mul_(weights).sum(), weights)
    del centred  # the windows need its memory
    return windowed_error(inverse_depth, target, weights, kernel_radius, stride) / unit


def absolute_error(inverse_depth: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The mean difference of the two maps [H, W] as they are."""
    return ((inverse_depth - target).abs() * weights).mean()


def _standardised(values: Tensor, weights: Tensor) -> Tensor:
    centred = _centred(values, weights)
    return centred / _deviation((centred * centred * weights).sum(), weights)


def _centred(values: Tensor, weights: Tensor) -> Tensor:
    return values - (values * weights).sum() / weights.sum().clamp_min(1)


def _deviation(squares: Tensor, weights: Tensor) -> Tensor:
    """The deviation of a map from the weighted sum of its squared differences to its mean."""
    variance = squares / (weights.sum() - 1).clamp_min(1)
    # Clamped before the root: a constant map has a gradient of zero, not of infinity.
    return variance.clamp_min(torch.finfo(squares.dtype).eps ** 2).sqrt()


def _shrink(rendered: Tensor, given: Tensor, weights: Tensor, longest: int) -> tuple[Tensor, Tensor, Tensor]:
    """The three maps bilinearly resized; masked pixels do not bleed into their neighbours."""
    height, width = rendered.shape
    factor = longest / max(height, width)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    stacked = torch.stack([rendered * weights, given * weights, weights])[None]
    rendered, given, weights = interpolate(stacked, size=size, mode="bilinear", align_corners=False)[0]
    divisor = torch.where(weights > 0, weights, 1)
    return rendered / divisor, given / divisor, weights


def _as_map(values: Tensor) -> Tensor:
    if values.ndim == 3 and len(values) == 1:
        return values[0]
    if values.ndim != 2:
        raise TrainingError(f"a depth map or its mask must be [H, W] or [1, H, W], found {list(values.shape)}")
    return values
