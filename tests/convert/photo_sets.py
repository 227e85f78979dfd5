"""Photos for tests: of the shipped scene, with notes of cameras, and of a camera that only turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

EXIF_FOCAL, EXIF_FOCAL_35MM, EXIF_ORIENTATION = 37386, 41989, 274


def demo_photos(demo_scene: Path, folder: Path, count: int = 10, first: int = 0) -> list[Path]:
    """Neighbouring photos of the shipped scene, copied without their masks."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = sorted(path for path in (demo_scene / "images").glob("*.jpg"))[first : first + count]
    for path in chosen:
        (folder / path.name).write_bytes(path.read_bytes())
    return [folder / path.name for path in chosen]


def textured(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A picture [H, W, 3] with corners everywhere: smoothed noise of several sizes."""
    generator = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for scale in (4, 8, 16):
        small = generator.integers(0, 255, (height // scale + 2, width // scale + 2, 3), dtype=np.uint8)
        large = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        picture += np.asarray(large, float) / 3
    return np.clip((picture - 128) * 1.8 + 128, 0, 255).astype(np.uint8)


def turning_photos(folder: Path, count: int = 6, size: tuple[int, int] = (320, 240)) -> None:
    """Photos of a camera that turns on the spot: one picture, warped by K R K^-1."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    wide = textured(900, 600)
    (width, height), focal = size, 350.0
    source = np.array([[focal, 0, 450], [0, focal, 300], [0, 0, 1.0]])
    target = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    for number in range(count):
        rotation, _ = cv2.Rodrigues(np.radians([(-1.0) ** number, 5.0 * (number - count / 2), 0.5 * number]))
        picture = cv2.warpPerspective(wide, target @ rotation @ np.linalg.inv(source), size)
        cv2.imwrite(str(folder / f"turn_{number}.png"), picture)


def save_photo(path: Path, picture: np.ndarray, *, orientation: int = 1, focal_35mm: float | None = None) -> Path:
    """A JPEG with what a camera notes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    exif[271], exif[272] = "Maker", "Model 1"
    if focal_35mm is not None:
        exif.get_ifd(0x8769)[EXIF_FOCAL_35MM] = focal_35mm
    Image.fromarray(picture).save(path, "JPEG", quality=95, exif=exif)
    return path
