"""Small transforms.json scenes made on the spot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from example_scenes import SIZE, picture
from PIL import Image

SHARED = {"fl_x": 35.0, "fl_y": 36.0, "cx": 21.0, "cy": 14.0, "w": SIZE[0], "h": SIZE[1]}


def pose(angle: float, radius: float = 3.0) -> np.ndarray:
    """Camera to world [4, 4] in OpenGL axes, z up: on a circle around the origin, looking at it, level."""
    right = np.array([-np.sin(angle), np.cos(angle), 0.0])
    back = np.array([np.cos(angle), np.sin(angle), 0.0])
    matrix = np.eye(4)
    matrix[:3] = np.stack([right, np.cross(back, right), back, radius * back], -1)
    return matrix


def frame(name: str, angle: float = 0.0, **values: Any) -> dict[str, Any]:
    return {"file_path": name, "transform_matrix": pose(angle).tolist(), **values}


def write_scene(
    root: Path,
    names: Sequence[str] = ("images/a.png", "images/b.png", "images/c.png"),
    *,
    file: str = "transforms.json",
    shared: Mapping[str, Any] | None = None,
    frames: Sequence[dict[str, Any]] | None = None,
    size: tuple[int, int] = SIZE,
    missing: Sequence[str] = (),
) -> Path:
    """Writes the pictures and the JSON file of a scene; gives its folder."""
    if frames is None:
        frames = [frame(name, 2 * np.pi * index / len(names)) for index, name in enumerate(names)]
    for seed, name in enumerate(names):
        if name not in missing:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(size, seed)).save(path)
    root.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps({**(SHARED if shared is None else shared), "frames": list(frames)}))
    return root


def write_rgba(path: Path, colors: np.ndarray, alpha: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([colors, alpha[..., None]], -1)).save(path)
