"""Random points inside the visual hull: none where a view sees that nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gaussian_splatting.camera import Camera
from gaussian_splatting.dataset.dataset import CameraDataset

MOST_DRAWS = 50
"""Points are drawn at most this many times as often as they are asked for."""
Draw = Callable[[np.random.Generator, int], np.ndarray]


class Silhouette(NamedTuple):
    """Where one view may see something."""

    K: np.ndarray  # [3, 3] pixels
    R: np.ndarray  # [3, 3] camera from world
    T: np.ndarray  # [3] camera from world
    something: np.ndarray  # [H, W] bool

    def empty(self, points: np.ndarray) -> np.ndarray:
        """Which of the points [N, 3] the view sees in front of nothing but background [N]."""
        height, width = self.something.shape
        seen = points @ self.R.T + self.T
        in_front = seen[:, 2] > 1e-6
        pixels = (seen @ self.K.T)[:, :2] / np.where(in_front, seen[:, 2], 1.0)[:, None]
        inside = in_front & (pixels >= 0).all(axis=1) & (pixels < (width, height)).all(axis=1)
        columns, rows = np.where(inside[:, None], pixels, 0).astype(np.int64).T
        return inside & ~self.something[rows, columns]


def silhouettes(cameras: CameraDataset) -> list[Silhouette]:
    """One for each view whose picture has an alpha channel that lays it over the background.

    Masks that are not composited tell nothing: what they hide need not be empty.
    """
    found = [silhouette(cameras[index]) for index in range(len(cameras)) if _may_have_coverage(cameras, index)]
    return [one for one in found if one is not None]


def silhouette(camera: Camera) -> Silhouette | None:
    """Where the picture covers its background, and one pixel around it; None when it says nothing or hides all."""
    import cv2

    coverage = camera.custom_data.get("coverage")
    if coverage is None:
        return None
    something = (_numpy(coverage) > 0).astype(np.uint8)
    if not something.any() or something.all():
        return None
    something = cv2.dilate(something, np.ones((3, 3), np.uint8)).astype(bool)
    return Silhouette(_numpy(camera.K), _numpy(camera.R), _numpy(camera.T), something)


def points_inside(draw: Draw, count: int, seed: int, views: list[Silhouette]) -> tuple[np.ndarray, str]:
    """Points [count, 3] of `draw` that no view sees in front of its background, and how it went, in words.

    Laurentini 1994, "The visual hull concept for silhouette-based image understanding". Points that too many draws
    did not find are made up from those outside, so that there are `count` always.
    """
    random = np.random.default_rng(seed)
    first = points = draw(random, count)
    kept: list[np.ndarray] = []
    num_kept = num_drawn = 0
    while views:
        inside = _inside(points, views)
        kept.append(inside)
        num_kept, num_drawn = num_kept + len(inside), num_drawn + count
        if num_kept >= count or num_drawn >= MOST_DRAWS * count:
            break
        points = draw(random, count)
    if not views:
        return first, ""
    said = f", inside the silhouettes of {len(views)} views ({num_kept / num_drawn:.1%} of those drawn)"
    if num_kept < count:
        said += f", but for {count - num_kept} that were not found there"
    return np.concatenate([*kept, first])[:count], said


def _inside(points: np.ndarray, views: list[Silhouette]) -> np.ndarray:
    for view in views:
        points = points[~view.empty(points)]
    return points


def _may_have_coverage(cameras: CameraDataset, index: int) -> bool:
    """Whether a view is worth decoding: `alpha` is what a view says whose picture is laid over the background."""
    return "alpha" in cameras.geometry(index).custom_data


def _numpy(tensor: object) -> np.ndarray:
    import torch

    assert isinstance(tensor, torch.Tensor)
    return tensor.detach().double().cpu().numpy()
