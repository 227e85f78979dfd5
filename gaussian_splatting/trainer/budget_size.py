"""How many Gaussians a scene needs, from what is known before training."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from gaussian_splatting.dataset.split import even_choice

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset

GROWTH = 1.25
"""The budget is this many times the points at the start, where that is more: they are where a scene has detail."""
MOST_FOR_POINTS = 1.25
"""But points ask for no more than this many times what the pictures do: random ones say nothing about the scene."""
POWER = 0.2
MOST_SAMPLED = 64


def budget_of(dataset: CameraDataset | None, num_start: int, density: float) -> int:
    """The budget of a short run: `density` times the fifth root of the pixels of all views, or more with many points.

    Views overlap, and neighbouring pixels are alike: each adds much less that is new than the one before. The power was
    found on scenes of 2 to 22 million pixels. Without a dataset it is four times the number at the start.
    """
    if dataset is None or len(dataset) == 0:
        return 4 * num_start
    views = [dataset.geometry(index) for index in even_choice(len(dataset), MOST_SAMPLED)]
    pixels = median(view.image_height * view.image_width for view in views)
    pictures = density * (pixels * len(dataset)) ** POWER
    return max(1, round(max(pictures, min(GROWTH * num_start, MOST_FOR_POINTS * pictures))))
