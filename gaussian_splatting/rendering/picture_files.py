"""Pictures as files hold them: rounding to bytes, PNG and JPEG, and numbers shown as colours."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError

if TYPE_CHECKING:
    from torch import Tensor

Bytes = NDArray[np.uint8]
PictureFormat = Literal["png", "jpeg"]

# Anchors of a scale from black over purple and orange to pale yellow, of steadily rising lightness.
_GLOW = (
    (0, 0, 4), (22, 11, 57), (66, 10, 104), (106, 23, 110), (147, 38, 103), (188, 55, 84),
    (221, 81, 58), (243, 120, 25), (252, 165, 10), (246, 215, 70), (252, 255, 164),
)  # fmt: skip


def to_bytes(picture: Tensor) -> Bytes:
    """A picture [3, H, W] with values in [0, 1] as bytes [H, W, 3], rounded to the nearest."""
    return (picture.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().contiguous().numpy()


def encode_picture(picture: Tensor | Bytes, format: PictureFormat = "png", *, quality: int = 90) -> bytes:
    """The content of a PNG or JPEG file for a picture: floats [3, H, W] in [0, 1], or bytes [H, W, 3] or [H, W]."""
    from PIL import Image

    pixels = picture if isinstance(picture, np.ndarray) else to_bytes(picture)
    stream = io.BytesIO()
    # Level 2 takes a quarter of the time of Pillow's default and gives files 5 % larger.
    choices = {"png": {"compress_level": 2}, "jpeg": {"quality": quality}}[format]
    Image.fromarray(pixels).save(stream, format, **choices)
    return stream.getvalue()


def encode_tiff(values: NDArray[np.float32]) -> bytes:
    """The content of a TIFF file of floats [H, W]."""
    import tifffile

    stream = io.BytesIO()
    tifffile.imwrite(stream, np.ascontiguousarray(values, dtype=np.float32))
    return stream.getvalue()


def decode_picture(path: Path) -> Bytes:
    """The bytes [H, W, 3] of a picture file. Raises FormatError when it cannot be decoded."""
    return _decoded(path, "RGB")


def decode_mask(path: Path) -> NDArray[np.floating]:
    """The weights [H, W] in [0, 1] of a mask file."""
    return _decoded(path, "L").astype(np.float32) / 255


def _decoded(path: Path, mode: str) -> Bytes:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.array(image.convert(mode))
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path}: cannot be decoded as a picture ({error}); render it again") from error


def glow(values: NDArray[np.floating], low: float, high: float) -> Bytes:
    """Numbers [H, W] as colours [H, W, 3]: black at `low` and below, pale yellow at `high` and above."""
    anchors = np.array(_GLOW, dtype=np.float32)
    span = high - low if high > low else 1.0
    table = np.stack([np.interp(np.linspace(0, len(anchors) - 1, 256), range(len(anchors)), c) for c in anchors.T], 1)
    scaled = np.clip((np.nan_to_num(values, nan=low) - low) / span, 0, 1)
    return table.round().astype(np.uint8)[(scaled * 255).round().astype(np.uint8)]


def depth_picture(inverse_depth: NDArray[np.float32]) -> Bytes:
    """An inverse depth map [H, W] as colours [H, W, 3]: near is bright. The extremes of 1 % of the pixels are cut."""
    seen = inverse_depth[np.isfinite(inverse_depth) & (inverse_depth > 0)]
    if seen.size == 0:
        return np.zeros((*inverse_depth.shape, 3), np.uint8)
    low, high = np.percentile(seen, (1, 99))
    return glow(inverse_depth, float(low), float(high))


def thumbnail(pixels: Bytes, width: int) -> Bytes:
    """A picture reduced to at most `width` pixels, by area averaging."""
    from PIL import Image

    if pixels.shape[1] <= width:
        return pixels
    height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
