"""images and points3D of COLMAP with everything in them: observations of every image, and tracks of every point.

Training needs neither, so `binary`, `text` and `points` pass over them; programs that edit models need both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.dataset.colmap.binary import COUNT, IMAGE, parse_images_binary
from gaussian_splatting.dataset.colmap.points import parse_points_text
from gaussian_splatting.dataset.colmap.records import LONGEST_NAME, fault_of_name, qvec2rotmat
from gaussian_splatting.dataset.colmap.text import (
    LineError,
    PathLike,
    is_content,
    numbered_lines,
    parse_finite,
    parse_images_text,
)
from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.reader import Reader

NO_POINT = -1
"""The point id of an observation that belongs to no point."""
_POINT = struct.Struct("<Q3d3Bd")
_OBSERVATION = np.dtype([("xy", "<f8", 2), ("point", "<i8")])
_VIEW = np.dtype([("image", "<i4"), ("observation", "<i4")])


class Image(NamedTuple):
    """One view and what was seen in it: x_camera = R(qvec) x_world + tvec."""

    id: int
    qvec: NDArray[np.float64]  # [4] wxyz
    tvec: NDArray[np.float64]  # [3]
    camera_id: int
    name: str
    xys: NDArray[np.float64]  # [P, 2] pixels
    point3D_ids: NDArray[np.int64]  # [P], NO_POINT for none

    def qvec2rotmat(self) -> NDArray[np.float64]:
        """The rotation [3, 3] from world to camera."""
        return qvec2rotmat(self.qvec)


class Point3D(NamedTuple):
    """One triangulated point and the observations that it comes from."""

    id: int
    xyz: NDArray[np.float64]  # [3] world
    rgb: NDArray[np.uint8]  # [3]
    error: float  # mean reprojection error in pixels
    image_ids: NDArray[np.int32]  # [T]
    point2D_idxs: NDArray[np.int32]  # [T] into the observations of each image


def parse_full_images_binary(reader: Reader) -> dict[int, Image]:
    """The images of an images.bin by id; checked as training checks them."""
    parse_images_binary(reader)
    reader.offset = 0
    images: dict[int, Image] = {}
    for _ in range(reader.count(IMAGE.size + 1 + COUNT.size, "images")):
        image_id, *pose, camera_id = reader.unpack(IMAGE, "an image")
        name = reader.string(LONGEST_NAME, f"the name of image {image_id}")
        number = reader.count(_OBSERVATION.itemsize, f"observations of image {image_id}")
        seen = np.frombuffer(reader.take(number * _OBSERVATION.itemsize), _OBSERVATION)
        images[image_id] = Image(
            image_id, np.array(pose[:4]), np.array(pose[4:]), camera_id, name, seen["xy"].copy(), seen["point"].copy()
        )
    return images


def parse_full_images_text(data: bytes, path: PathLike) -> dict[int, Image]:
    """The images of an images.txt by id."""
    known = parse_images_text(data, path)
    images: dict[int, Image] = {}
    lines = numbered_lines(data)
    for number, line in lines:
        if not is_content(line):
            continue
        words = line.split(None, 8)
        image = known[int(words[0])]
        at, observations = next(lines, (number, b""))
        xys, points = _observations(observations.split(), path, at)
        pose = np.array([float(word) for word in words[1:8]])
        images[image.id] = Image(image.id, pose[:4], pose[4:], image.camera_id, image.name, xys, points)
    return images


def _observations(words: list[bytes], path: PathLike, line: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    try:
        xys = [parse_finite(word, "an observation") for index, word in enumerate(words) if index % 3 < 2]
        points = [_whole(word, NO_POINT, 2**63 - 1, "the point of an observation") for word in words[2::3]]
    except LineError as error:
        raise error.place(path, line) from None
    return np.array(xys, np.float64).reshape(-1, 2), np.array(points, np.int64)


def parse_full_points_binary(reader: Reader) -> dict[int, Point3D]:
    """The points of a points3D.bin by id."""
    points: dict[int, Point3D] = {}
    for _ in range(reader.count(_POINT.size + COUNT.size, "points")):
        start = reader.offset
        point_id, x, y, z, red, green, blue, error = reader.unpack(_POINT, "a point")
        if point_id in points:
            raise reader.error("points of different ids", f"point {point_id} twice", offset=start)
        number = reader.count(_VIEW.itemsize, f"views of point {point_id}")
        track = np.frombuffer(reader.take(number * _VIEW.itemsize), _VIEW)
        points[point_id] = Point3D(
            point_id, np.array([x, y, z]), np.array([red, green, blue], np.uint8), error,
            track["image"].copy(), track["observation"].copy(),
        )  # fmt: skip
    reader.finish()
    return points


def parse_full_points_text(data: bytes, path: PathLike) -> dict[int, Point3D]:
    """The points of a points3D.txt by id."""
    known = parse_points_text(data, path)
    rows = ((number, line) for number, line in numbered_lines(data) if is_content(line))
    points: dict[int, Point3D] = {}
    for index, (number, line) in enumerate(rows):
        words = line.split()[8:]
        try:
            if len(words) % 2:
                raise LineError("IMAGE_ID POINT2D_IDX for each view of the point", line)
            track = np.array([_whole(word, 0, 2**31 - 1, "a view of the point") for word in words], np.int32)
        except LineError as error:
            raise error.place(path, number) from None
        point_id = int(known.ids[index])
        points[point_id] = Point3D(
            point_id, known.xyz[index], known.rgb[index], float(known.error[index]), track[::2], track[1::2]
        )
    return points


def _whole(word: bytes, least: int, most: int, what: str) -> int:
    if not word.removeprefix(b"-").isdigit() or len(word) > 20 or not least <= int(word) <= most:
        raise LineError(f"{what}, a whole number from {least} to {most}", word)
    return int(word)


def format_full_images_binary(images: Mapping[int, Image]) -> bytes:
    """The content of an images.bin."""
    parts = [COUNT.pack(len(images))]
    for image in _named(images.values()):
        seen = np.zeros(len(image.xys), _OBSERVATION)
        seen["xy"], seen["point"] = image.xys, image.point3D_ids
        parts += [IMAGE.pack(image.id, *image.qvec, *image.tvec, image.camera_id), image.name.encode("utf-8"), b"\0"]
        parts += [COUNT.pack(len(seen)), seen.tobytes()]
    return b"".join(parts)


def format_full_images_text(images: Mapping[int, Image]) -> bytes:
    """The content of an images.txt; numbers are written so that they read back equal."""
    lines = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", "# X Y POINT3D_ID of each observation"]
    for image in _named(images.values()):
        pose = " ".join(repr(float(value)) for value in (*image.qvec, *image.tvec))
        lines.append(f"{image.id} {pose} {image.camera_id} {image.name}")
        seen = zip(np.asarray(image.xys).tolist(), np.asarray(image.point3D_ids).tolist(), strict=True)
        lines.append(" ".join(f"{x!r} {y!r} {point}" for (x, y), point in seen))
    return ("\n".join(lines) + "\n").encode("utf-8")


def format_full_points_binary(points: Mapping[int, Point3D]) -> bytes:
    """The content of a points3D.bin."""
    parts = [COUNT.pack(len(points))]
    for point in points.values():
        track = np.zeros(len(point.image_ids), _VIEW)
        track["image"], track["observation"] = point.image_ids, point.point2D_idxs
        parts.append(_POINT.pack(point.id, *point.xyz, *map(int, point.rgb), point.error))
        parts += [COUNT.pack(len(track)), track.tobytes()]
    return b"".join(parts)


def format_full_points_text(points: Mapping[int, Point3D]) -> bytes:
    """The content of a points3D.txt; numbers are written so that they read back equal."""
    lines = ["# POINT3D_ID X Y Z R G B ERROR TRACK[] as (IMAGE_ID, POINT2D_IDX)"]
    for point in points.values():
        numbers = [*(repr(float(value)) for value in point.xyz), *map(str, map(int, point.rgb))]
        track = np.stack([point.image_ids, point.point2D_idxs], axis=1).ravel().tolist() if len(point.image_ids) else []
        lines.append(" ".join([str(point.id), *numbers, repr(float(point.error)), *map(str, track)]))
    return ("\n".join(lines) + "\n").encode("ascii")


def _named(images: Iterable[Image]) -> Iterable[Image]:
    for image in images:
        fault = fault_of_name(image.name)
        if fault is not None:
            raise SplatError(f"the model cannot be written: image {image.id} {fault}")
        yield image
