"""Pictures and poses of scenes made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gaussian_splatting.dataset.colmap.model import ColmapImage
from gaussian_splatting.dataset.dataset import CameraDataset

SIZE = (40, 30)
SceneMaker = Callable[..., Path]
"""What the fixture `make_scene` gives."""


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


def image_of(dataset: CameraDataset, index: int) -> np.ndarray:
    """The picture of a camera as bytes [H, W, 3]."""
    image = dataset[index].ground_truth_image
    assert image is not None
    return np.rint(image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
