"""Gaussians in the PLY layout that every viewer opens: raw parameters, all float32, one element `vertex`."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io.gaussian_arrays import NUM_REST, GaussianArrays, without_unusable
from gaussian_splatting.io.ply_header import PlyElement, PlyProperty, format_header
from gaussian_splatting.io.ply_rows import PlyBody
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.storage import write_atomically

_POSITION = ("x", "y", "z")
_NORMAL = ("nx", "ny", "nz")
_BASE_COLOUR = ("f_dc_0", "f_dc_1", "f_dc_2")
_SCALE = ("scale_0", "scale_1", "scale_2")
_ROTATION = ("rot_0", "rot_1", "rot_2", "rot_3")
_REQUIRED = (*_POSITION, *_BASE_COLOUR, "opacity", *_SCALE, *_ROTATION)
_WRITE_ROWS = 8192


def read_gaussians(path: str | os.PathLike[str], *, strict: bool = False) -> GaussianArrays:
    """The Gaussians of a PLY file; the SH degree follows from the number of `f_rest` properties.

    Properties may come in any order and number type; normals and unknown properties are ignored. Gaussians that nobody
    can render (a value that is not finite, a rotation without direction, a scale beyond float32) are dropped with a
    warning that counts them, or refused when `strict`. Raises `FormatError`.
    """
    return parse_gaussians(Reader.open(path), strict=strict)


def parse_gaussians(reader: Reader, *, strict: bool = False) -> GaussianArrays:
    """As `read_gaussians`, from a reader of the whole content."""
    body = PlyBody(reader)
    gaussians: GaussianArrays | None = None
    for element in body.header.elements:
        if element.name == "vertex":
            gaussians = _read_vertices(body, element)
        else:
            body.skip(element)
    body.finish()
    if gaussians is None:
        names = ", ".join(repr(element.name) for element in body.header.elements) or "none"
        raise FormatError(
            f"{os.fspath(reader.path)}: expected an element 'vertex', found {names}; this is no splat file"
        )
    return without_unusable(gaussians, reader.path, strict)


def write_gaussians(path: str | os.PathLike[str], gaussians: GaussianArrays) -> None:
    """Writes float32 little-endian: x y z nx ny nz f_dc_* f_rest_* opacity scale_* rot_*; normals are zero.

    `f_rest` holds all coefficients of red, then green, then blue. Values that are not finite are a
    `SplatError`.
    """
    names = _property_names(3 * gaussians.features_rest.shape[1])
    element = PlyElement("vertex", len(gaussians), tuple(PlyProperty(name, "f4") for name in names))
    header = format_header((element,))

    def write(stream: BinaryIO) -> None:
        stream.write(header)
        for start in range(0, len(gaussians), _WRITE_ROWS):
            rows = _rows_to_write(gaussians.select(slice(start, start + _WRITE_ROWS)), len(names))
            _refuse_not_finite(path, rows, names, start)
            stream.write(rows.data)

    write_atomically(path, write, size_hint=len(header) + 4 * len(names) * len(gaussians))


def _property_names(num_rest: int) -> list[str]:
    rest = [f"f_rest_{index}" for index in range(num_rest)]
    return [*_POSITION, *_NORMAL, *_BASE_COLOUR, *rest, "opacity", *_SCALE, *_ROTATION]


def _rows_to_write(part: GaussianArrays, num_columns: int) -> NDArray:
    number, num_rest = len(part), 3 * part.features_rest.shape[1]
    rows = np.zeros((number, num_columns), "<f4")
    rows[:, 0:3] = part.xyz
    rows[:, 6:9] = part.features_dc[:, 0]
    rest = rows[:, 9 : 9 + num_rest].reshape(number, 3, num_rest // 3)  # a view: channel by channel
    rest[...] = part.features_rest.transpose(0, 2, 1)
    rows[:, 9 + num_rest] = part.opacity[:, 0]
    rows[:, -7:-4] = part.scaling
    rows[:, -4:] = part.rotation
    return rows


def _refuse_not_finite(path: str | os.PathLike[str], rows: NDArray, names: list[str], start: int) -> None:
    finite = np.isfinite(rows)
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0]
    raise SplatError(
        f"{os.fspath(path)}: not written: {names[column]} of Gaussian {start + row} is {rows[row, column]}; "
        "remove the Gaussians that are not finite first"
    )


def _read_vertices(body: PlyBody, element: PlyElement) -> GaussianArrays:
    path = body.reader.path
    num_rest = _check_properties(path, element)
    number = element.count
    if number == 0:
        raise FormatError(f"{os.fspath(path)}: holds no Gaussians: element 'vertex' has 0 rows; export it again")
    parts = _empty(0, num_rest // 3)
    for start, rows in body.chunks(element):
        if start == 0:  # only now is the count known to be possible
            parts = _empty(number, num_rest // 3)
        _copy_rows(parts, slice(start, start + len(rows)), rows, num_rest // 3)
    return parts


def _empty(number: int, num_coefficients: int) -> GaussianArrays:
    shapes = [(3,), (1, 3), (num_coefficients, 3), (1,), (3,), (4,)]
    return GaussianArrays(*(np.empty((number, *shape), np.float32) for shape in shapes))


def _copy_rows(parts: GaussianArrays, where: slice, rows: NDArray, num_coefficients: int) -> None:
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what float32 cannot hold becomes infinite, and is dropped later
        for column in range(3):
            parts.xyz[where, column] = rows[_POSITION[column]]
            parts.features_dc[where, 0, column] = rows[_BASE_COLOUR[column]]
            parts.scaling[where, column] = rows[_SCALE[column]]
            for coefficient in range(num_coefficients):
                name = f"f_rest_{column * num_coefficients + coefficient}"
                parts.features_rest[where, coefficient, column] = rows[name]
        for column in range(4):
            parts.rotation[where, column] = rows[_ROTATION[column]]
        parts.opacity[where, 0] = rows["opacity"]


def _check_properties(path: str | os.PathLike[str], element: PlyElement) -> int:
    """The number of `f_rest` properties, once everything needed is there."""
    names = {column.name for column in element.scalars}
    missing = [name for name in _REQUIRED if name not in names]
    if "packed_position" in names:
        raise FormatError(
            f"{os.fspath(path)}: is a compressed PLY (it has packed_position); make it a plain one first: "
            "python -m gaussian_splatting.export IN.ply OUT.ply"
        )
    if missing:
        kind = "this is a point cloud, not Gaussians; give it as the starting points with --init_ply"
        cure = kind if set(_POSITION) <= names else "this is not a splat file"
        raise FormatError(f"{os.fspath(path)}: element 'vertex' lacks {', '.join(missing)}: {cure}")
    rest = sorted(int(name[7:]) for name in names if re.fullmatch(r"f_rest_(0|[1-9]\d{0,4})", name))
    if len(rest) not in [3 * number for number in NUM_REST]:
        raise FormatError(
            f"{os.fspath(path)}: f_rest has {len(rest)} properties, expected 0, 9, 24, 45 or 72 "
            "(SH degree 0, 1, 2, 3 or 4); export the file again"
        )
    if rest != list(range(len(rest))):
        absent = next(index for index in range(len(rest)) if index not in rest)
        raise FormatError(f"{os.fspath(path)}: f_rest_{absent} is missing between the others; export the file again")
    return len(rest)
