"""Compressed PLY (PlayCanvas): 16 bytes for each Gaussian, as small integers between the bounds of its chunk of 256.

Element `chunk` holds the bounds, `vertex` four 32-bit words for each Gaussian, and `sh`, if there is one, a byte for
each coefficient. Layout: https://developer.playcanvas.com/user-manual/gaussian-splatting/formats/compressed-ply
"""

from __future__ import annotations

import os
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io.gaussian_arrays import NUM_REST, Floats, GaussianArrays, without_unusable
from gaussian_splatting.io.ply_header import LONGEST_HEADER, PlyElement, PlyProperty, format_header, parse_header
from gaussian_splatting.io.ply_rows import PlyBody
from gaussian_splatting.io.quantised import (
    HALF_ROOT,
    Bytes,
    colour_of,
    features_of,
    gaussians_by_piece,
    gaussians_from,
    join_quaternions,
    logit_of,
    opacity_of,
    pieces_of,
    require_finite,
    spatial_order,
    split_quaternions,
    to_steps,
    unit_quaternions,
)
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.splat_file import SplatFile
from gaussian_splatting.io.storage import write_atomically

CHUNK = 256
"""Gaussians in each chunk but the last."""

_PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
_BOUNDS = tuple(
    f"{end}_{axis}" for group in (("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b"))
    for end in ("min", "max") for axis in group
)  # fmt: skip
_NUM_BOUNDS_WITHOUT_COLOUR = 12
_LARGEST_BOUND = 20.0  # of logarithmic scales, as other writers clamp them
_SH_RANGE = np.float32(8.0)


def is_compressed(reader: Reader) -> bool:
    """Whether the PLY file that the reader is at the start of is a compressed one."""
    header = parse_header(reader.peek(LONGEST_HEADER), reader.path)
    return any(column.name == _PACKED[0] for element in header.elements for column in element.properties)


def parse_compressed_ply(reader: Reader, *, strict: bool = False) -> SplatFile:
    """The Gaussians of a compressed PLY, read from its start. Raises `FormatError`."""
    body = PlyBody(reader)
    tables: dict[str, NDArray] = {}
    _check_elements(reader, body.header.elements)
    for element in body.header.elements:
        if element.name in ("chunk", "vertex", "sh"):
            tables[element.name] = body.rows(element)
        else:
            body.skip(element)
    body.finish()
    gaussians = _decode(tables["chunk"], tables["vertex"], tables.get("sh"))
    return SplatFile(without_unusable(gaussians, reader.path, strict), "compressed PLY")


def write_compressed_ply(path: str | os.PathLike[str], gaussians: GaussianArrays) -> None:
    """Writes a compressed PLY with the spherical harmonics up to degree 3, the Gaussians in spatial order.

    Error: 1/2046 of a chunk's extent for positions and logarithmic scales, 1/511 for quaternions and opacities, and
    1/64 for coefficients, which are clamped to ±4.
    """
    require_finite(path, gaussians)
    if gaussians.sh_degree > 3:
        raise SplatError(f"{os.fspath(path)}: compressed PLY holds SH up to degree 3; export with --sh_degree 3")
    number, num_rest = len(gaussians), 3 * gaussians.features_rest.shape[1]
    order = spatial_order(gaussians.xyz)
    pieces = [_encode(gaussians.select(order[where])) for where in pieces_of(number)]
    bounds, words, sh_bytes = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    elements = [
        PlyElement("chunk", len(bounds), tuple(PlyProperty(name, "f4") for name in _BOUNDS)),
        PlyElement("vertex", number, tuple(PlyProperty(name, "u4") for name in _PACKED)),
    ]
    if num_rest:
        elements.append(PlyElement("sh", number, tuple(PlyProperty(f"f_rest_{i}", "u1") for i in range(num_rest))))
    header = format_header(tuple(elements))

    def write(stream: BinaryIO) -> None:
        stream.write(header)
        for rows in (bounds.astype("<f4"), words.astype("<u4"), sh_bytes):
            stream.write(np.ascontiguousarray(rows).tobytes())

    write_atomically(path, write, size_hint=len(header) + bounds.nbytes + words.nbytes + sh_bytes.nbytes)


# Reading


def _check_elements(reader: Reader, elements: tuple[PlyElement, ...]) -> None:
    found = {element.name: element for element in elements}
    wanted = {"chunk": ("f4", _BOUNDS[:_NUM_BOUNDS_WITHOUT_COLOUR]), "vertex": ("u4", _PACKED)}
    if "sh" in found:
        num_rest = len(found["sh"].properties)
        if num_rest not in (9, 24, 45):
            raise _fault(reader, "element 'sh' with 9, 24 or 45 properties", num_rest)
        wanted["sh"] = ("u1", tuple(f"f_rest_{index}" for index in range(num_rest)))
        if tuple(column.name for column in found["sh"].properties) != wanted["sh"][1]:
            raise _fault(reader, f"f_rest_0 to f_rest_{num_rest - 1} in this order in element 'sh'", "another order")
    for name, (number_type, names) in wanted.items():
        if name not in found:
            raise _fault(reader, f"an element {name!r}", ", ".join(found) or "none")
        types = {column.name: column.number_type for column in found[name].scalars}
        missing = [column for column in names if types.get(column) != number_type]
        if missing:
            raise _fault(reader, f"{missing[0]} of type {number_type} in element {name!r}", types.get(missing[0]))
    number = found["vertex"].count
    if number == 0:
        raise FormatError(f"{os.fspath(reader.path)}: holds no Gaussians: element 'vertex' has 0 rows; export it again")
    if found["chunk"].count != -(-number // CHUNK):
        raise _fault(reader, f"{-(-number // CHUNK)} chunks for {number} Gaussians", found["chunk"].count)
    if "sh" in found and found["sh"].count != number:
        raise _fault(reader, f"{number} rows of element 'sh'", found["sh"].count)


def _fault(reader: Reader, wanted: str, found: object) -> FormatError:
    return reader.error(f"in the header of a compressed PLY {wanted}", found, offset=0)


def _decode(chunks: NDArray, vertices: NDArray, sh: NDArray | None) -> GaussianArrays:
    def decode(where: slice) -> GaussianArrays:
        first, end = where.start // CHUNK, -(-where.stop // CHUNK)
        return _decode_piece(chunks[first:end], vertices[where], None if sh is None else sh[where])

    return gaussians_by_piece(len(vertices), decode)


def _decode_piece(chunks: NDArray, vertices: NDArray, sh: NDArray | None) -> GaussianArrays:
    """The Gaussians of whole chunks."""
    number = len(vertices)
    spread = np.arange(number) // CHUNK
    colours = _unpack(vertices["packed_color"], (24, 16, 8, 0), (8, 8, 8, 8))
    rgb = colours[:, :3]
    if set(_BOUNDS[_NUM_BOUNDS_WITHOUT_COLOUR:]) <= set(chunks.dtype.names or ()):
        rgb = _between(chunks, spread, _BOUNDS[_NUM_BOUNDS_WITHOUT_COLOUR:], rgb)
    rotation = _unpack(vertices["packed_rotation"], (20, 10, 0), (10, 10, 10))
    with np.errstate(over="ignore", invalid="ignore"):  # damaged bounds: the rows are dropped later
        return gaussians_from(
            _between(chunks, spread, _BOUNDS[:6], _unpack(vertices["packed_position"], (21, 11, 0), (11, 10, 11))),
            features_of(rgb)[:, None],
            _decode_rest(sh, number),
            logit_of(colours[:, 3:]),
            _between(chunks, spread, _BOUNDS[6:12], _unpack(vertices["packed_scale"], (21, 11, 0), (11, 10, 11))),
            join_quaternions(vertices["packed_rotation"] >> 30, (rotation - np.float32(0.5)) / HALF_ROOT),
        )


def _unpack(words: NDArray, shifts: tuple[int, ...], bits: tuple[int, ...]) -> Floats:
    """Numbers of 0 to 1 from fields of 32-bit words."""
    unpacked = np.empty((len(words), len(bits)), np.float32)
    for column, (shift, width) in enumerate(zip(shifts, bits, strict=True)):
        largest = (1 << width) - 1
        unpacked[:, column] = ((words >> np.uint32(shift)) & np.uint32(largest)) / np.float32(largest)
    return unpacked


def _between(chunks: NDArray, spread: NDArray, names: tuple[str, ...], unit: Floats) -> Floats:
    values = np.empty_like(unit)
    with np.errstate(over="ignore", invalid="ignore"):
        for axis in range(3):
            low, high = chunks[names[axis]][spread], chunks[names[axis + 3]][spread]
            values[:, axis] = low * (1 - unit[:, axis]) + high * unit[:, axis]
    return values


def _decode_rest(sh: NDArray | None, number: int) -> Floats:
    if sh is None:
        return np.zeros((number, 0, 3), np.float32)
    num_rest = len(sh.dtype.names or ()) // 3
    assert num_rest in NUM_REST
    stored = sh.view(np.uint8).reshape(number, 3, num_rest).astype(np.float32)
    unit = (stored + np.float32(0.5)) / 256
    unit[stored == 0], unit[stored == 255] = 0, 1
    return np.ascontiguousarray(((unit - np.float32(0.5)) * _SH_RANGE).transpose(0, 2, 1))


# Writing


def _encode(gaussians: GaussianArrays) -> tuple[Floats, NDArray[np.uint32], Bytes]:  # [C, 18], [N, 4], [N, 3 K]
    """The bounds of chunks, the words and the coefficients of whole chunks of Gaussians."""
    positions = _quantise(gaussians.xyz)
    scales = _quantise(np.clip(gaussians.scaling, -_LARGEST_BOUND, _LARGEST_BOUND))
    colours = _quantise(colour_of(gaussians.features_dc[:, 0]))
    rgba = np.concatenate((colours[2], opacity_of(gaussians.opacity)), axis=1)
    largest, others = split_quaternions(unit_quaternions(gaussians.rotation))
    words = np.stack(
        (
            _pack(positions[2], (21, 11, 0), (11, 10, 11)),
            _pack(others * HALF_ROOT + np.float32(0.5), (20, 10, 0), (10, 10, 10)) | (largest << 30).astype(np.uint32),
            _pack(scales[2], (21, 11, 0), (11, 10, 11)),
            _pack(rgba, (24, 16, 8, 0), (8, 8, 8, 8)),
        ),
        axis=1,
    )
    bounds = np.concatenate([part for low, high, _ in (positions, scales, colours) for part in (low, high)], axis=1)
    rest = gaussians.features_rest.transpose(0, 2, 1).reshape(len(gaussians), -1)
    return bounds, words, np.clip((rest / _SH_RANGE + np.float32(0.5)) * 256, 0, 255).astype(np.uint8)


def _quantise(values: Floats) -> tuple[Floats, Floats, Floats]:
    """The bounds [C, 3] of each chunk, and where in them [N, 3] each value lies, from 0 to 1."""
    number = len(values)
    padded = np.pad(values, ((0, -number % CHUNK), (0, 0)), mode="edge").reshape(-1, CHUNK, 3)
    low, high = padded.min(axis=1), padded.max(axis=1)
    unit = (padded - low[:, None]) / np.maximum(high - low, np.float32(1e-30))[:, None]
    return low, high, unit.reshape(-1, 3)[:number]


def _pack(unit: Floats, shifts: tuple[int, ...], bits: tuple[int, ...]) -> NDArray[np.uint32]:
    words = np.zeros(len(unit), np.uint32)
    for column, (shift, width) in enumerate(zip(shifts, bits, strict=True)):
        words |= to_steps(unit[:, column], (1 << width) - 1) << np.uint32(shift)
    return words
