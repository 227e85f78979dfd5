"""Coloured points in PLY files."""

from __future__ import annotations

import os
import warnings

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io.ply_header import PlyElement, PlyProperty, format_header
from gaussian_splatting.io.ply_rows import PlyBody
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.storage import write_atomically

_POSITION = ("x", "y", "z")
_COLOUR_NAMES = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))


def read_point_cloud(
    path: str | os.PathLike[str], *, strict: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.uint8] | None]:
    """Positions [M, 3] and colours [M, 3] in 0..255 of element `vertex`; no colours when the file has none.

    Colours are red, green, blue (or r, g, b): bytes as they are, 16-bit numbers scaled, floats in [0, 1] scaled by 255
    and otherwise taken as 0..255. Points that are not finite are dropped with a warning that counts them, or
    refused when `strict`. Raises `FormatError`.
    """
    return parse_point_cloud(Reader.open(path), strict=strict)


def parse_point_cloud(reader: Reader, *, strict: bool = False) -> tuple[NDArray[np.float64], NDArray[np.uint8] | None]:
    """As `read_point_cloud`, from a reader of the whole content."""
    body = PlyBody(reader)
    found: tuple[NDArray[np.float64], NDArray | None] | None = None
    for element in body.header.elements:
        if element.name == "vertex":
            found = _read_vertices(body, element)
        else:
            body.skip(element)
    body.finish()
    if found is None:
        names = ", ".join(repr(element.name) for element in body.header.elements) or "none"
        raise FormatError(
            f"{os.fspath(reader.path)}: expected an element 'vertex', found {names}; this is no point cloud"
        )
    return _without_not_finite(*found, reader.path, strict)


def write_point_cloud(path: str | os.PathLike[str], xyz: NDArray, rgb: NDArray | None = None) -> None:
    """Writes positions [M, 3] as float32 and colours [M, 3] in 0..255 as bytes: x y z red green blue, little-endian."""
    fields = [(name, "<f4") for name in _POSITION]
    if rgb is not None:
        if rgb.shape != xyz.shape:
            raise SplatError(f"{os.fspath(path)}: not written: {rgb.shape} colours for {xyz.shape} positions")
        fields += [(name, "u1") for name in _COLOUR_NAMES[0]]
    rows = np.empty(len(xyz), fields)
    with np.errstate(over="ignore"):
        for column, name in enumerate(_POSITION):
            rows[name] = xyz[:, column]
            if not np.isfinite(rows[name]).all():
                raise SplatError(
                    f"{os.fspath(path)}: not written: some {name} are not finite; remove those points first"
                )
    if rgb is not None:
        for column, name in enumerate(_COLOUR_NAMES[0]):
            rows[name] = rgb[:, column]
    columns = tuple(PlyProperty(name, number_type.lstrip("<")) for name, number_type in fields)
    header = format_header((PlyElement("vertex", len(xyz), columns),))
    write_atomically(path, header + rows.tobytes())


def _read_vertices(body: PlyBody, element: PlyElement) -> tuple[NDArray[np.float64], NDArray | None]:
    types = {column.name: column.number_type for column in element.scalars}
    missing = [name for name in _POSITION if name not in types]
    if missing:
        path = os.fspath(body.reader.path)
        raise FormatError(f"{path}: element 'vertex' lacks {', '.join(missing)}; this is no point cloud")
    colour_names = next((names for names in _COLOUR_NAMES if all(name in types for name in names)), None)
    colour_type = np.result_type(*(types[name] for name in colour_names or ("x",)))
    xyz, colours = np.empty((0, 3)), np.empty((0, 3), colour_type)
    for start, rows in body.chunks(element):
        if start == 0:  # only now is the count known to be possible
            xyz, colours = (
                np.empty((element.count, 3)),
                np.empty((element.count if colour_names else 0, 3), colour_type),
            )
        where = slice(start, start + len(rows))
        for column in range(3):
            xyz[where, column] = rows[_POSITION[column]]
            if colour_names is not None:
                colours[where, column] = rows[colour_names[column]]
    return xyz, None if colour_names is None else colours


def _as_bytes(colours: NDArray) -> NDArray[np.uint8]:
    if colours.dtype == np.uint8:
        return colours
    if colours.dtype == np.uint16:
        return (colours / 257 + 0.5).astype(np.uint8)
    values = np.nan_to_num(colours.astype(np.float64), nan=0.0)
    is_fraction = colours.dtype.kind == "f" and values.size > 0 and values.max() <= 1.0
    return (np.clip(values * (255.0 if is_fraction else 1.0), 0.0, 255.0) + 0.5).astype(np.uint8)


def _without_not_finite(
    xyz: NDArray[np.float64], colours: NDArray | None, path: str | os.PathLike[str], strict: bool
) -> tuple[NDArray[np.float64], NDArray[np.uint8] | None]:
    rgb = None if colours is None else _as_bytes(colours)
    finite = np.isfinite(xyz).all(axis=1)
    num_dropped = len(xyz) - int(finite.sum())
    if num_dropped == 0:
        return xyz, rgb
    found = f"{os.fspath(path)}: {num_dropped} of {len(xyz)} points have coordinates that are not finite"
    if strict:
        raise FormatError(f"{found}; remove them and export the file again")
    warnings.warn(f"{found}; they were dropped", stacklevel=4)
    return xyz[finite], None if rgb is None else rgb[finite]
