"""How many Gaussians a scene needs, from what is known before training."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset

LEAST_GROWTH = 1.25
"""The budget is at least this many times the Gaussians at the start: points are where a scene has detail."""
MOST_SAMPLED = 64


def budget_of(dataset: CameraDataset | None, num_start: int, density: float) -> int:
    """The budget: `density` times the pixels of the median view times the root of the number of views.

    Detail on the screen asks for Gaussians in proportion to the pixels. Views overlap: each adds less that is new than
    the one before. Without a dataset it is four times the number at the start.
    """
    if dataset is None or len(dataset) == 0:
        return 4 * num_start
    stride = max(1, len(dataset) // MOST_SAMPLED)
    views = [dataset.geometry(index) for index in range(0, len(dataset), stride)]
    pixels = median(view.image_height * view.image_width for view in views)
    return max(round(LEAST_GROWTH * num_start), round(density * pixels * math.sqrt(len(dataset))))
