"""Picture files into arrays: every format is converted in one stated way, or refused with the file named.

Colours: 8-bit RGB as stored; grey is repeated; palettes are looked up; CMYK and YCbCr are converted by Pillow; 16 bits
are scaled to 8 (v / 257, of colour PNG the high byte); float TIFF is taken as [0, 1]. ICC profiles are ignored: pixels
are sRGB. An alpha channel is returned beside the colours, which are not multiplied by it. EXIF orientation is not
applied here: see `sizes`. Of a TIFF with several pages the first is read; animations are refused.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussian_splatting.errors import SceneError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 2**27
"""Pictures with more pixels are refused before they are decoded, unless `max_pixels` says otherwise."""

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000", "GIF")
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_ORIENTATION_TAG = 274
_PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    MemoryError,
)
"""What Pillow raises about damaged files."""
_bomb_limit = threading.Lock()


@dataclass(frozen=True)
class PictureHeader:
    """What a picture file says before it is decoded."""

    width: int
    height: int
    orientation: int
    """EXIF orientation, 1 to 8; 1 is upright."""
    has_alpha: bool


def read_header(path: Path, max_pixels: int = MAX_PIXELS) -> PictureHeader:
    """The size, EXIF orientation and alpha of a picture, without decoding it."""
    with _opened(path, max_pixels) as image:
        if image is None:
            height, width, *channels = _tiff_shape(path, max_pixels)
            return PictureHeader(width, height, 1, channels in ([2], [4]))
        return PictureHeader(image.width, image.height, _orientation(image), _has_alpha(image))


def read_colors(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, np.ndarray | None]:
    """The colours [H, W, 3] uint8 of a picture, and its alpha [H, W] uint8 when it has one."""
    with _opened(path, max_pixels) as image:
        if image is None or image.mode in _DEEP_MODES:
            deep = _deep_values(path, image, max_pixels)
            colors = _to_bytes(deep if deep.ndim == 3 else deep[..., None], path)
            alpha = colors[..., -1] if colors.shape[-1] in (2, 4) else None
            return np.ascontiguousarray(np.broadcast_to(_three(colors), (*colors.shape[:2], 3))), alpha
        if not _has_alpha(image):
            return np.array(image if image.mode == "RGB" else image.convert("RGB")), None
        pixels = np.asarray(image if image.mode == "RGBA" else image.convert("RGBA"))
        return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])


def read_mask(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A mask [H, W] uint8, 255 keeps and 0 hides: the first channel of the file, whatever its depth.

    Integers are taken over their full range, except that a mask whose largest value is 1 holds zeros and ones; floats
    are taken as [0, 1].
    """
    values = _first_channel(path, max_pixels)
    if values.dtype == bool or (values.dtype.kind in "iu" and values.size and values.max() <= 1):
        return values.astype(np.uint8) * np.uint8(255)
    return _to_bytes(values, path)


def read_depth(path: Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The values of a depth map [H, W] float32 as stored: the first channel, integers not normalised."""
    values = _first_channel(path, max_pixels)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is masked out later
        return np.ascontiguousarray(values, dtype=np.float32)


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image | None]:
    """The file opened by Pillow but not decoded; None for a TIFF of a kind that only tifffile reads."""
    from PIL import Image, UnidentifiedImageError

    _require_regular(path)
    try:
        with _bomb_limit:  # Pillow's own limit is global and warns; ours is below, with its own message
            pillow_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(path, formats=_formats())
            finally:
                Image.MAX_IMAGE_PIXELS = pillow_limit
    except UnidentifiedImageError as error:
        if not _is_tiff(path):
            raise SceneError(f"{path}: not a picture, it begins with {_beginning(path)}; replace the file") from error
        yield None
        return
    except _PILLOW_ERRORS as error:
        raise _damaged(path, error) from error
    with image:
        _require_size(path, image.width, image.height, max_pixels)
        try:
            _require_single(path, image)
            yield image
        except SceneError:
            raise
        except _PILLOW_ERRORS as error:
            raise _damaged(path, error) from error


@cache
def _formats() -> tuple[str, ...]:
    """The formats that this installation of Pillow knows; it raises KeyError for others."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _first_channel(path: Path, max_pixels: int) -> np.ndarray:
    with _opened(path, max_pixels) as image:
        if image is None or image.mode in _DEEP_MODES:
            values = _deep_values(path, image, max_pixels)
        else:
            _require_8_bits(path, image)
            looked_up = image.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV")
            values = np.array(image.convert("RGB") if looked_up else image)
    return values if values.ndim == 2 else values[..., 0]


def _deep_values(path: Path, image: Image.Image | None, max_pixels: int) -> np.ndarray:
    """The pixels of a picture with more than 8 bits, in the file's own type."""
    if image is not None and image.format != "TIFF":
        values = np.asarray(image)
        return values.astype(np.uint16) if values.max(initial=0) <= 0xFFFF and values.min(initial=0) >= 0 else values
    import tifffile

    shape = _tiff_shape(path, max_pixels)
    try:
        values = tifffile.imread(path, key=0)
    except Exception as error:  # tifffile raises whatever its parsers meet
        raise _damaged(path, error) from error
    if values.shape != shape or values.ndim not in (2, 3) or values.dtype.kind not in "fiub":
        raise SceneError(
            f"{path}: a TIFF of shape {values.shape}, {values.dtype}; save it as rows x columns x channels"
        )
    return values


def _tiff_shape(path: Path, max_pixels: int) -> tuple[int, ...]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            shape = tuple(int(size) for size in file.pages[0].shape)
    except Exception as error:
        raise _damaged(path, error) from error
    if len(shape) not in (2, 3) or min(shape) < 1 or (len(shape) == 3 and shape[2] > 4):
        raise SceneError(f"{path}: a TIFF of shape {shape}; save it as rows x columns x (1 to 4) channels")
    _require_size(path, shape[1], shape[0], max_pixels)
    return shape


def _to_bytes(values: np.ndarray, path: Path) -> np.ndarray:
    """Values over their full range to uint8, rounded to the nearest."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or values.max(initial=0) > 1.01 or values.min(initial=0) < -0.01:
            found = f"{np.min(values):g} to {np.max(values):g}"
            raise SceneError(f"{path}: float values must lie in 0 to 1; found {found}; tone-map or scale the picture")
        return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype != np.uint16:
        raise SceneError(f"{path}: {values.dtype} pixels; save the picture with 8 or 16 bits per channel, unsigned")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _three(colors: np.ndarray) -> np.ndarray:
    return colors[..., :3] if colors.shape[-1] >= 3 else colors[..., :1]


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 when absent or outside 1 to 8."""
    try:
        value: Any = image.getexif().get(_ORIENTATION_TAG, 1)
    except (SyntaxError, OSError, ValueError, KeyError, TypeError, IndexError):
        return 1  # damaged EXIF says nothing about how the camera was held
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _require_8_bits(path: Path, image: Image.Image) -> None:
    """Pillow keeps only the high byte of 16-bit colour files, which would falsify a map of values."""
    if any(";16" in str(tile[3]) for tile in image.tile):  # pyright: ignore[reportAttributeAccessIssue]
        raise SceneError(f"{path}: 16-bit values in {image.mode} channels; save the map with a single channel")


def _require_single(path: Path, image: Image.Image) -> None:
    """Refuses animations; the further pictures of a TIFF or of a phone's JPEG (MPO) are copies or previews."""
    num_frames = getattr(image, "n_frames", 1)
    if num_frames > 1 and image.format not in ("TIFF", "MPO"):
        raise SceneError(f"{path}: an animation of {num_frames} frames; save the frame to use as one picture")


def _require_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise SceneError(
            f"{path}: {width} x {height} = {width * height} pixels, more than the limit of {max_pixels}; "
            f"scale the picture down, or raise the limit with --max_pixels {width * height}"
        )


def _require_regular(path: Path) -> None:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise SceneError(
            f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}; check the file"
        ) from error
    if not stat.S_ISREG(mode):
        from gaussian_splatting.io.paths import kind_of_file

        raise SceneError(f"{path}: {kind_of_file(mode)}, not a picture file; put the picture itself there")


def _is_tiff(path: Path) -> bool:
    return _first_bytes(path)[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _beginning(path: Path) -> str:
    first = _first_bytes(path)
    return repr(first) if first else "nothing (the file is empty)"


def _first_bytes(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(16)


def _damaged(path: Path, error: BaseException) -> SceneError:
    return SceneError(f"{path}: the picture cannot be decoded: {error}; replace the file")
