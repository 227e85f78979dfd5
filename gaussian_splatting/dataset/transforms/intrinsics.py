"""The lens of a frame, from focal lengths or angles of view, shared by the file or given per frame."""

from __future__ import annotations

import math

from gaussian_splatting.dataset.lenses import Lens
from gaussian_splatting.dataset.sizes import Size
from gaussian_splatting.dataset.strict_json import JsonValue
from gaussian_splatting.dataset.transforms.file import Frame

LARGEST_SIDE = 1_000_000
PERSPECTIVE = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "PERSPECTIVE")
FISHEYE = ("OPENCV_FISHEYE", "FISHEYE")
COEFFICIENTS = ("k1", "k2", "k3", "k4", "p1", "p2")


def lens_of(frame: Frame, stored: Size) -> Lens:
    """The lens of a frame whose picture file has the size `stored`.

    Without `w` and `h` the numbers are about the picture file. Without `cx` and `cy` the axis goes through the middle,
    and one focal length or angle stands for both. `OPENCV` has k1, k2, p1, p2 and k3; `OPENCV_FISHEYE` has k1 to k4.
    """
    width, height = _size(frame) or stored
    fx, fy = _focal(frame, "fl_x", "camera_angle_x", width), _focal(frame, "fl_y", "camera_angle_y", height)
    if fx is None and fy is None:
        raise frame.value.fault("has no fl_x and no camera_angle_x, and neither has the file")
    fx, fy = fx or fy, fy or fx
    assert fx is not None and fy is not None
    cx, cy = frame.get("cx"), frame.get("cy")
    pinhole = (fx, fy, width / 2 if cx is None else cx.number(), height / 2 if cy is None else cy.number())
    k1, k2, k3, k4, p1, p2 = (value for value, _ in _coefficients(frame))
    if _is_fisheye(frame):
        _require_none(frame, "p1", "p2", why="a fisheye has k1 to k4 only")
        return Lens("OPENCV_FISHEYE", width, height, (*pinhole, k1, k2, k3, k4))
    _require_none(frame, "k4", why="OPENCV has k1, k2, p1, p2 and k3; for a fisheye, camera_model is OPENCV_FISHEYE")
    if not any((k1, k2, k3, p1, p2)):
        return Lens("PINHOLE", width, height, pinhole)
    if not k3:
        return Lens("OPENCV", width, height, (*pinhole, k1, k2, p1, p2))
    return Lens("FULL_OPENCV", width, height, (*pinhole, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0))


def _size(frame: Frame) -> Size | None:
    width, height = frame.get("w"), frame.get("h")
    if width is None and height is None:
        return None
    if width is None or height is None:
        raise (width or height or frame.value).fault("stands alone: give both w and h, or neither")
    return width.integer(1, LARGEST_SIDE), height.integer(1, LARGEST_SIDE)


def _focal(frame: Frame, focal_key: str, angle_key: str, pixels: int) -> float | None:
    """A focal length in pixels; one that is given wins over the angle of view (radians) along the same axis."""
    focal, angle = frame.get(focal_key), frame.get(angle_key)
    if focal is not None:
        if not focal.number() > 0:
            raise focal.fault("must be positive")
        return focal.number()
    if angle is None:
        return None
    if not 0 < angle.number() < math.pi:
        raise angle.fault("must be an angle between 0 and pi, in radians")
    return pixels / (2 * math.tan(angle.number() / 2))


def _coefficients(frame: Frame) -> list[tuple[float, JsonValue | None]]:
    """The distortion in the order of `COEFFICIENTS`, each with its place; nerfstudio may write it as one array."""
    together = frame.get("distortion_params")
    if together is not None:
        together.array(len(COEFFICIENTS))
        return [(item.number(), item) for item in together.items()]
    values = [frame.get(key) for key in COEFFICIENTS]
    return [(0.0 if value is None else value.number(), value) for value in values]


def _require_none(frame: Frame, *keys: str, why: str) -> None:
    for key, (number, value) in zip(COEFFICIENTS, _coefficients(frame), strict=True):
        if key in keys and number and value is not None:
            raise value.fault(f"must be 0: {why}")


def _is_fisheye(frame: Frame) -> bool:
    model, flag = frame.get("camera_model"), frame.get("is_fisheye")
    if flag is not None and not isinstance(flag.value, bool):
        raise flag.fault("must be true or false")
    if model is None:
        return flag is not None and bool(flag.value)
    name = model.text().upper()
    if name not in PERSPECTIVE and name not in FISHEYE:
        raise model.fault(f"must be one of {', '.join((*PERSPECTIVE, *FISHEYE))}")
    return name in FISHEYE
