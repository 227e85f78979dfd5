"""Small COLMAP scenes made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_scenes import SIZE, SceneMaker, circle_of_images, picture
from PIL import Image

from gaussian_splatting.dataset.colmap.model import ColmapCamera, ColmapModel, ColmapPoints, write_model


@pytest.fixture
def make_scene(tmp_path: Path) -> SceneMaker:
    """Writes a scene and returns its folder: `sizes` are those of the pictures, `camera` (model, size, params)."""

    def make(
        names: Sequence[str] = ("a.png", "b.png", "c.png"),
        *,
        folder: str = "scene",
        size: tuple[int, int] = SIZE,
        picture_sizes: dict[str, tuple[int, int]] | None = None,
        missing: Sequence[str] = (),
        model: str = "PINHOLE",
        params: Sequence[float] | None = None,
        num_points: int = 20,
        radius: float = 3.0,
        extension: Any = ".bin",
    ) -> Path:
        root = tmp_path / folder
        default = (35.0, 36.0, size[0] / 2 + 1, size[1] / 2 - 1)
        camera = ColmapCamera(1, model, *size, tuple(params if params is not None else default))
        rng = np.random.default_rng(0)
        points = ColmapPoints(
            np.arange(1, num_points + 1, dtype=np.uint64),
            rng.uniform(-1, 1, (num_points, 3)),
            rng.integers(0, 256, (num_points, 3), dtype=np.uint8),
            np.full(num_points, 0.5),
        )
        images = circle_of_images(names, [1] * len(names), radius)
        write_model(root / "sparse" / "0", ColmapModel({1: camera}, images, points), extension=extension)
        (root / "images").mkdir(parents=True, exist_ok=True)
        for seed, name in enumerate(names):
            if name not in missing:
                path = root / "images" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture((picture_sizes or {}).get(name, size), seed)).save(path)
        return root

    return make
