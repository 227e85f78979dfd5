"""Pictures and poses of scenes made on the spot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaussian_splatting.dataset.colmap.model import ColmapImage

SIZE = (40, 30)


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A smooth coloured picture [H, W, 3] that differs from seed to seed."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    waves = [np.sin(4 * x + seed), np.cos(5 * y - seed), np.sin(3 * (x + y) + 2 * seed)]
    return np.rint(127.5 + 120 * np.stack(waves, -1)).astype(np.uint8)


def circle_of_images(names: Sequence[str], camera_ids: Sequence[int], radius: float = 3.0) -> dict[int, ColmapImage]:
    """Images whose cameras stand on a circle and turn about the vertical axis."""
    images = {}
    for index, (name, camera_id) in enumerate(zip(names, camera_ids, strict=True)):
        angle = 2 * np.pi * index / len(names)
        qvec = (float(np.cos(angle / 2)), 0.0, float(np.sin(angle / 2)), 0.0)
        images[index + 1] = ColmapImage(index + 1, qvec, (0.0, 0.0, radius), camera_id, name)
    return images
