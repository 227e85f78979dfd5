"""COLMAP scenes of tiny pictures, with the cameras and points that a test wants."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gaussian_splatting.dataset.colmap.model import ColmapModel, write_model
from gaussian_splatting.dataset.colmap.records import ColmapCamera, ColmapImage, ColmapPoints, rotmat2qvec
from gaussian_splatting.rendering.scene_frame import looking

SIZE = (16, 12)


def png(size: tuple[int, int] = SIZE, seed: int = 0) -> bytes:
    """A smooth picture as the bytes of a PNG file."""
    x, y = np.meshgrid(np.linspace(0, 3, size[0]), np.linspace(0, 2, size[1]))
    waves = np.stack([np.sin(x + seed), np.cos(y - seed), np.sin(x + y)], -1)
    stream = io.BytesIO()
    Image.fromarray(np.rint(127.5 + 100 * waves).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def on_a_ring(count: int, radius: float = 3.0) -> np.ndarray:
    """Camera centres [count, 3] around the origin."""
    angles = np.arange(count) * 2 * np.pi / max(count, 1)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full(count, 0.5)], -1)


def some_points(count: int = 30) -> ColmapPoints:
    random = np.random.default_rng(0)
    colors = random.integers(0, 256, (count, 3), dtype=np.uint8)
    return points_of(random.uniform(-1, 1, (count, 3)), colors)


def points_of(xyz: Any, colors: Any = None) -> ColmapPoints:
    xyz = np.asarray(xyz, np.float64).reshape(-1, 3)
    colors = np.full(xyz.shape, 128, np.uint8) if colors is None else colors
    return ColmapPoints(np.arange(1, len(xyz) + 1, dtype=np.uint64), xyz, colors, np.full(len(xyz), 0.5))


def write_scene(
    root: Path,
    *,
    centers: np.ndarray | None = None,
    targets: np.ndarray | None = None,
    points: ColmapPoints | None = None,
    names: Sequence[str] | None = None,
    sizes: Sequence[tuple[int, int]] | None = None,
    missing: Sequence[str] = (),
    extension: Any = ".bin",
    pictures: Mapping[str, bytes] | None = None,
) -> Path:
    """Writes the scene; camera k looks from `centers[k]` to `targets[k]` (the origin), and has a lens of its own size.

    Pictures are made for every name that is not among `missing`; `pictures` are files to write instead.
    """
    centers = on_a_ring(5) if centers is None else centers
    names = [f"{index:04d}.png" for index in range(len(centers))] if names is None else names
    sizes = [SIZE] * len(centers) if sizes is None else sizes
    lenses = {size: number + 1 for number, size in enumerate(dict.fromkeys(sizes))}
    cameras = {
        number: ColmapCamera(number, "PINHOLE", *size, (1.1 * size[0], 1.1 * size[0], size[0] / 2, size[1] / 2))
        for size, number in lenses.items()
    }
    images = {}
    for index, (center, name, size) in enumerate(zip(centers, names, sizes, strict=True)):
        target = np.zeros(3) if targets is None else targets[index]
        rotation = looking(center, target, np.array([0.0, 0.0, 1.0])).T
        pose = (tuple(map(float, rotmat2qvec(rotation))), tuple(map(float, -rotation @ center)))
        images[index + 1] = ColmapImage(index + 1, *pose, lenses[size], name)  # pyright: ignore[reportArgumentType]
    write_model(
        root / "sparse" / "0",
        ColmapModel(cameras, images, some_points() if points is None else points),
        extension=extension,
    )
    write_pictures(root / "images", names, sizes, missing, pictures or {})
    return root


def write_pictures(
    folder: Path,
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    missing: Sequence[str],
    pictures: Mapping[str, bytes],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[Any, bytes] = {}
    for index, (name, size) in enumerate(zip(names, sizes, strict=True)):
        if name in missing:
            continue
        key = (size, index % 5)
        made.setdefault(key, png(*key))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pictures.get(name, made[key]))
