"""What the camera noted in a photo: its focal length in pixels, and which device it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

DIAGONAL_35MM = math.hypot(36, 24)
"""Millimetres; CIPA defines the equivalent focal length over the diagonal of the picture."""

_EXIF, _MAKE, _MODEL = 0x8769, 271, 272
_FOCAL, _FOCAL_35MM, _WIDTH = 37386, 41989, 40962
_PLANE_RESOLUTION, _PLANE_UNIT = 41486, 41488
_UNIT_MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0}
_LEAST, _MOST = 0.2, 20.0
"""Believed focal lengths, in longest sides."""


@dataclass(frozen=True)
class ExifNote:
    """`device` is maker and model; `zoom` the focal length as noted, which photos of one camera share."""

    device: str = ""
    zoom: float | None = None
    focal: float | None = None
    """In longest sides of the picture; None when nothing believable is noted."""


def read_note(image: Image.Image) -> ExifNote:
    """The note of an opened picture; damaged EXIF says nothing."""
    try:
        exif = image.getexif()
        inner = exif.get_ifd(_EXIF)
        device = " ".join(_text(exif.get(tag)) for tag in (_MAKE, _MODEL)).strip()
    except (SyntaxError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return ExifNote()
    zoom = _number(inner.get(_FOCAL)) or _number(inner.get(_FOCAL_35MM))
    focal = _from_equivalent(inner, image.size) or _from_sensor(inner, image.size)
    return ExifNote(device, zoom, focal if focal is not None and _LEAST <= focal <= _MOST else None)


def _from_equivalent(inner: dict[int, Any], size: tuple[int, int]) -> float | None:
    millimetres = _number(inner.get(_FOCAL_35MM))
    return None if millimetres is None else millimetres / DIAGONAL_35MM * math.hypot(*size) / max(size)


def _from_sensor(inner: dict[int, Any], size: tuple[int, int]) -> float | None:
    """From the focal length in millimetres and the density of the sensor, which holds for the size it was noted at."""
    focal, density = _number(inner.get(_FOCAL)), _number(inner.get(_PLANE_RESOLUTION))
    unit = _UNIT_MILLIMETRES.get(int(_number(inner.get(_PLANE_UNIT)) or 2))
    if focal is None or density is None or unit is None:
        return None
    noted = _number(inner.get(_WIDTH)) or size[0]
    width = noted / density * unit  # of the sensor, in millimetres
    return focal / width * size[0] / max(size)


def _number(value: Any) -> float | None:
    """A finite positive number, from the rationals of EXIF too."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _text(value: Any) -> str:
    return value.strip("\0 ")[:60] if isinstance(value, str) else ""
