"""points3D of COLMAP: .bin, .txt, and the .ply that other tools leave beside them."""

from __future__ import annotations

import os
import struct
import warnings
from array import array

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.dataset.colmap.records import ColmapPoints
from gaussian_splatting.dataset.colmap.text import (
    LineError,
    PathLike,
    is_content,
    numbered_lines,
    parse_finite,
    parse_identifier,
)
from gaussian_splatting.io.reader import Reader

_ROW = np.dtype([("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8")])
_TRACK_LENGTH = struct.Struct("<Q")
_SMALLEST_POINT = _ROW.itemsize + _TRACK_LENGTH.size
_TRACK_ENTRY_SIZE = 8  # image id, observation index
_ROWS_AT_ONCE = 1 << 18  # so that the values are not held twice


def parse_points_binary(reader: Reader) -> ColmapPoints:
    """The points of a points3D.bin, without their tracks; points that are not finite are dropped, with a warning."""
    number = reader.count(_SMALLEST_POINT, "points")
    offsets = reader.scan(number, _ROW.itemsize, _TRACK_ENTRY_SIZE, "points", "views of a point")
    reader.finish()
    ids, error = np.empty(number, np.uint64), np.empty(number, np.float64)
    xyz, rgb = np.empty((number, 3), np.float64), np.empty((number, 3), np.uint8)
    for low in range(0, number, _ROWS_AT_ONCE):
        part = slice(low, low + _ROWS_AT_ONCE)
        rows = reader.bytes_at(offsets[part], _ROW.itemsize).view(_ROW)[:, 0]
        ids[part], xyz[part], rgb[part], error[part] = rows["id"], rows["xyz"], rows["rgb"], rows["error"]
    twice = _repeated(ids)
    if twice is not None:
        first, second = np.flatnonzero(ids == twice)[:2]
        raise reader.error(
            "points of different ids", f"point {twice} at byte {offsets[first]} too", offset=int(offsets[second])
        )
    return _without_not_finite(ColmapPoints(ids, xyz, rgb, error), reader.path)


def parse_points_text(data: bytes, path: PathLike) -> ColmapPoints:
    """The points of a points3D.txt; their tracks are passed over."""
    ids, rgb, numbers = array("Q"), array("B"), array("d")
    line_of_id: dict[int, int] = {}
    for line_number, line in numbered_lines(data):
        if not is_content(line):
            continue
        try:
            point_id = _parse_point(line, numbers, rgb)
            if point_id in line_of_id:
                raise LineError("points of different ids", f"point {point_id} on line {line_of_id[point_id]} too")
        except LineError as error:
            raise error.place(path, line_number) from None
        line_of_id[point_id] = line_number
        ids.append(point_id)
    values = np.array(numbers, np.float64).reshape(-1, 4)
    colours = np.array(rgb, np.uint8).reshape(-1, 3)
    return ColmapPoints(np.array(ids, np.uint64), values[:, :3].copy(), colours, values[:, 3].copy())


def _parse_point(line: bytes, numbers: array[float], rgb: array[int]) -> int:
    words = line.split(None, 8)
    if len(words) < 8:
        raise LineError("POINT3D_ID X Y Z R G B ERROR TRACK[]", line)
    point_id = parse_identifier(words[0], "point")
    for word, what in zip((*words[1:4], words[7]), ("X", "Y", "Z", "ERROR"), strict=True):
        numbers.append(parse_finite(word, what))
    for word, what in zip(words[4:7], "RGB", strict=True):
        if not word.isdigit() or len(word) > 3 or int(word) > 255:
            raise LineError(f"a whole number from 0 to 255 for {what}", word)
        rgb.append(int(word))
    return point_id


def format_points_binary(points: ColmapPoints) -> bytes:
    """The content of a points3D.bin, without tracks."""
    rows = np.zeros(len(points), np.dtype([("point", _ROW), ("track length", "<u8")]))
    rows["point"]["id"], rows["point"]["xyz"] = points.ids, points.xyz
    rows["point"]["rgb"], rows["point"]["error"] = points.rgb, points.error
    return _TRACK_LENGTH.pack(len(points)) + rows.tobytes()


def format_points_text(points: ColmapPoints) -> bytes:
    """The content of a points3D.txt, without tracks; numbers are written so that they read back equal."""
    lines = ["# POINT3D_ID X Y Z R G B ERROR TRACK[]"]
    columns = zip(points.ids.tolist(), points.xyz.tolist(), points.rgb.tolist(), points.error.tolist(), strict=True)
    for point_id, xyz, rgb, error in columns:
        lines.append(" ".join([str(point_id), *map(repr, xyz), *map(str, rgb), repr(error)]))
    return ("\n".join(lines) + "\n").encode("ascii")


def _repeated(ids: NDArray[np.uint64]) -> int | None:
    ordered = np.sort(ids)
    equal = np.flatnonzero(ordered[1:] == ordered[:-1])
    return int(ordered[equal[0]]) if equal.size else None


def _without_not_finite(points: ColmapPoints, path: str | os.PathLike[str]) -> ColmapPoints:
    finite = np.isfinite(points.xyz).all(axis=1) & np.isfinite(points.error)
    num_dropped = len(points) - int(finite.sum())
    if num_dropped == 0:
        return points
    warnings.warn(
        f"{os.fspath(path)}: {num_dropped} of {len(points)} points are not finite and were dropped", stacklevel=4
    )
    return ColmapPoints(points.ids[finite], points.xyz[finite], points.rgb[finite], points.error[finite])
