"""PLY files: splats, point clouds, and any table of numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.gaussian_arrays import GaussianArrays
from gaussian_splatting.io.ply_gaussians import parse_gaussians, read_gaussians, write_gaussians
from gaussian_splatting.io.ply_header import PlyElement, PlyProperty, format_header
from gaussian_splatting.io.ply_points import parse_point_cloud, read_point_cloud, write_point_cloud
from gaussian_splatting.io.ply_rows import PlyBody
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.storage import write_atomically

__all__ = [
    "GaussianArrays",
    "parse_gaussians",
    "parse_ply",
    "parse_point_cloud",
    "read_gaussians",
    "read_ply",
    "read_point_cloud",
    "write_gaussians",
    "write_ply",
    "write_point_cloud",
]


def read_ply(path: str | os.PathLike[str]) -> dict[str, NDArray]:
    """Every element of a PLY file as a structured array, in the byte order of this machine; lists are left out.

    Text and both binary encodings are read. A count is believed only when the file has the bytes for it, and bytes
    after the last row are refused: a `FormatError` with the place.
    """
    return parse_ply(Reader.open(path))


def parse_ply(reader: Reader) -> dict[str, NDArray]:
    """As `read_ply`, from a reader of the whole content."""
    body = PlyBody(reader)
    elements = {element.name: body.rows(element) for element in body.header.elements}
    body.finish()
    return elements


def write_ply(path: str | os.PathLike[str], elements: Mapping[str, NDArray]) -> None:
    """Writes structured arrays of numbers as little-endian binary PLY, one element each."""
    tables = {name: rows.astype(_little_endian(path, rows.dtype), copy=False) for name, rows in elements.items()}
    header = format_header(tuple(_element(name, rows) for name, rows in tables.items()))

    def write(stream: BinaryIO) -> None:
        stream.write(header)
        for rows in tables.values():
            stream.write(np.ascontiguousarray(rows).view(np.uint8).data)

    write_atomically(path, write, size_hint=len(header) + sum(rows.nbytes for rows in tables.values()))


def _little_endian(path: str | os.PathLike[str], dtype: np.dtype) -> np.dtype:
    fields = [(name, dtype[name].newbyteorder("<")) for name in dtype.names or ()]
    for name, number in fields:
        if number.kind not in "iuf" or number.itemsize not in (1, 2, 4, 8) or number.str[1:] in ("i8", "u8", "f2"):
            raise SplatError(f"{os.fspath(path)}: not written: PLY has no number type for {name!r} ({number})")
    return np.dtype(fields)


def _element(name: str, rows: NDArray) -> PlyElement:
    columns = tuple(PlyProperty(column, rows.dtype[column].str[1:]) for column in rows.dtype.names or ())
    return PlyElement(name, len(rows), columns)
