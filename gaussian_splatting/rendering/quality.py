"""How good rendered views are: PSNR, SSIM and LPIPS of pictures as they are saved, and their summary."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gaussian_splatting.errors import SceneError
from gaussian_splatting.losses.metrics import psnr
from gaussian_splatting.losses.photometric import photometric_terms
from gaussian_splatting.losses.ssim import ssim_map
from gaussian_splatting.rendering.perceptual import Perceptual

METRICS = ("psnr", "ssim", "lpips")
BEST_PSNR = 100.0  # dB; equal pictures have infinitely many, which no file format for numbers holds


@dataclass(frozen=True)
class ViewQuality:
    """The metrics of one view; None where one could not be computed."""

    name: str
    psnr: float | None  # dB over all channels and valid pixels
    ssim: float | None
    lpips: float | None
    image: str | None = None
    width: int = 0
    height: int = 0
    masked: bool = False


def measure(
    name: str,
    render: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    mask: NDArray[np.floating] | None = None,
    lpips: Perceptual | None = None,
    image: str | None = None,
) -> ViewQuality:
    """The metrics of a rendered picture [H, W, 3] against the photo, over the valid pixels of `mask` [H, W].

    PSNR and SSIM are means weighted by the mask. LPIPS has no such mean; both pictures are black outside the mask.
    """
    if render.shape != truth.shape or (mask is not None and mask.shape != truth.shape[:2]):
        raise SceneError(
            f"view {name}: the render is {_size(render)}, the photo {_size(truth)}"
            + (f", the mask {_size(mask)}" if mask is not None else "")
            + "; render again at the size of the photos"
        )
    first, second = _fractions(render), _fractions(truth)
    weights = None if mask is None else torch.from_numpy(np.ascontiguousarray(mask, np.float32))
    details = {"image": image, "width": truth.shape[1], "height": truth.shape[0], "masked": mask is not None}
    if weights is not None and not bool((weights > 0).any()):
        return ViewQuality(name, None, None, None, **details)
    decibels = min(BEST_PSNR, float(psnr(first, second, weights)))
    if weights is not None:
        first, second = first * weights, second * weights
    distance = None if lpips is None else lpips(first, second)
    return ViewQuality(name, decibels, _similarity(first, second, weights), distance, **details)


@torch.no_grad()
def _similarity(first: torch.Tensor, second: torch.Tensor, weights: torch.Tensor | None) -> float:
    if weights is None:
        return float(photometric_terms(first, second, 1.0)[2])  # by the fused kernels of the loss where there are any
    similarity = ssim_map(first, second).mean(0)
    return float((similarity * weights).sum() / weights.sum())


def quality_csv(views: Iterable[ViewQuality]) -> str:
    """The table `name,psnr,ssim,lpips`; what could not be computed is nan."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("name", *METRICS))
    for view in views:
        writer.writerow((view.name, *(_number(getattr(view, metric)) for metric in METRICS)))
    return stream.getvalue()


def per_view(views: Iterable[ViewQuality]) -> dict[str, dict[str, Any]]:
    """View name -> everything known about it."""
    return {view.name: {key: value for key, value in asdict(view).items() if key != "name"} for view in views}


def summary(views: Sequence[ViewQuality]) -> dict[str, Any]:
    """Means over the views that have a value, and what they are means of."""
    found: dict[str, Any] = {metric: mean_of(views, metric) for metric in METRICS}
    sizes = sorted({(view.width, view.height) for view in views})
    return found | {
        "views": len(views),
        "masked_views": sum(view.masked for view in views),
        "resolution": [list(size) for size in sizes],
    }


def mean_of(views: Sequence[ViewQuality], metric: str) -> float | None:
    """The mean of a metric over the views that have it; None without any."""
    values = [value for view in views if (value := getattr(view, metric)) is not None and math.isfinite(value)]
    return math.fsum(values) / len(values) if values else None


def _fractions(picture: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255


def _number(value: float | None) -> str:
    return "nan" if value is None else repr(float(value))


def _size(picture: NDArray[Any]) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
