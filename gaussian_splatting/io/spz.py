"""`.spz` (Niantic): small integers, attribute by attribute, compressed with gzip (versions 1 to 3) or zstd (4).

The axes of the file are x right, y up, z back; those of PLY are x right, y down, z forward. Layout:
https://github.com/nianticlabs/spz
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io.inflate import Gunzip, decompress_zstd
from gaussian_splatting.io.ply_gaussians import Floats, GaussianArrays, without_unusable
from gaussian_splatting.io.quantised import (
    NUM_REST,
    Bytes,
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
    with_axes_turned,
)
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.splat_file import SplatFile
from gaussian_splatting.io.storage import write_atomically

MAGIC = b"NGSP"
_GZIP_MAGIC = b"\x1f\x8b"
_HEADER = struct.Struct("<4sIIBBBB")
_DIRECTORY_PLACE = struct.Struct("<I12x")
_STREAM_SIZES = struct.Struct("<QQ")
_LARGEST_EXTENSIONS = 64 << 10

_ANTIALIASED, _EXTENDED = 1, 2
_SH_RANGE, _ORBIT = 0xADBE0001, 0xADBE0002
_KNOWN_EXTENSIONS = {_SH_RANGE: struct.Struct("<BBff"), _ORBIT: struct.Struct("<fff")}

_RIGHT_UP_BACK = (1, -1, -1)
_COLOUR_SCALE = np.float32(0.15)
_SCALE_ZERO, _SCALE_STEPS = np.float32(-10), np.float32(16)
_HALF_ROOT = np.float32(np.sqrt(0.5))
_GZIP = 31  # zlib's word for 32 KiB windows with a gzip header, which holds no time: the same bytes every time
_FRACTION, _MOST_FRACTION = 12, 20
_LARGEST_FIXED = (1 << 23) - 1


@dataclass(frozen=True)
class _Header:
    version: int
    number: int
    degree: int
    fraction: int
    flags: int
    last_byte: int
    """Zero before version 4, then the number of streams."""

    def sizes(self) -> dict[str, int]:
        """Bytes of each attribute, in the order of the file."""
        widths = {
            "positions": 6 if self.version == 1 else 9,
            "opacities": 1,
            "colours": 3,
            "scales": 3,
            "rotations": 3 if self.version < 3 else 4,
            "harmonics": 3 * NUM_REST[self.degree],
        }
        return {name: self.number * width for name, width in widths.items()}


def parse_spz(reader: Reader, *, strict: bool = False) -> SplatFile:
    """The Gaussians of an `.spz` file of versions 1 to 4, in the axes of PLY. Raises `FormatError`.

    Version 4 needs a zstd library: a `SplatError` says how to install it.
    """
    if reader.peek(2) == _GZIP_MAGIC:
        header, parts, extensions = _read_gzip(reader)
    elif reader.peek(8)[4:] == struct.pack("<I", 4):
        header, parts, extensions = _read_streams(reader)
    else:
        header, parts, extensions = _read_plain(reader)
    gaussians = _decode(header, parts, _sh_range(reader, extensions))
    usable = without_unusable(gaussians, reader.path, strict)
    return SplatFile(usable, f"SPZ {header.version}", bool(header.flags & _ANTIALIASED))


def write_spz(path: str | os.PathLike[str], gaussians: GaussianArrays, *, antialiased: bool = False) -> None:
    """Writes `.spz` version 3, the Gaussians in spatial order.

    Positions are fixed-point numbers with 12 bits after the point (more in small scenes), logarithmic scales steps of
    1/16 from -10 to 5.94, and coefficients steps of 1/16 (degree 1) and 1/8, clamped to ±1: the usual losses of SPZ.
    """
    write_atomically(path, spz_bytes(path, gaussians, antialiased=antialiased))


def spz_bytes(path: str | os.PathLike[str], gaussians: GaussianArrays, *, antialiased: bool = False) -> bytes:
    """The content of the file that `write_spz` writes; `path` only names it in messages."""
    require_finite(path, gaussians)
    fraction = _fraction_for(path, gaussians.xyz)
    order = spatial_order(gaussians.xyz)
    pieces = [
        _encode(with_axes_turned(gaussians.select(order[where]), _RIGHT_UP_BACK), fraction)
        for where in pieces_of(len(gaussians))
    ]
    flags = _ANTIALIASED if antialiased else 0
    header = _HEADER.pack(MAGIC, 3, len(gaussians), gaussians.sh_degree, fraction, flags, 0)
    # Small integers hardly repeat but in runs: looking for runs alone takes a fifth of the time, for up to 5 % of size.
    stream = zlib.compressobj(6, zlib.DEFLATED, _GZIP, 9, zlib.Z_RLE)
    parts = [stream.compress(header)]
    parts += [stream.compress(part.tobytes()) for attribute in zip(*pieces, strict=True) for part in attribute]
    return b"".join([*parts, stream.flush()])


# Containers


def _read_gzip(reader: Reader) -> tuple[_Header, dict[str, Bytes], bytes]:
    stream = Gunzip(reader)
    header = _header(Reader(stream.take(_HEADER.size), reader.path), (1, 2, 3))
    size = sum(header.sizes().values())
    room = _LARGEST_EXTENSIONS if header.flags & _EXTENDED else 0
    content = stream.take(size + room)
    stream.finish()
    return header, *_split(Reader(content, reader.path), header)


def _read_plain(reader: Reader) -> tuple[_Header, dict[str, Bytes], bytes]:
    header = _header(reader, (1, 2, 3))
    return header, *_split(reader, header)


def _read_streams(reader: Reader) -> tuple[_Header, dict[str, Bytes], bytes]:
    header = _header(reader, (4,))
    num_streams = header.last_byte
    (place,) = reader.unpack(_DIRECTORY_PLACE, "the place of the stream sizes")
    extensions = _bytes_up_to(reader, place) if header.flags & _EXTENDED else b""
    if place != reader.offset:
        raise reader.error(f"the stream sizes at byte {reader.offset}", place, offset=16)
    wanted = {name: size for name, size in header.sizes().items() if size}
    if num_streams < len(wanted):
        raise reader.error(f"{len(wanted)} streams", num_streams, offset=15)
    sizes = [reader.unpack(_STREAM_SIZES, "the sizes of a stream") for _ in range(num_streams)]
    parts: dict[str, Bytes] = {name: np.empty(0, np.uint8) for name in header.sizes()}
    for (name, expected), (size, decompressed) in zip(wanted.items(), sizes, strict=False):
        if decompressed != expected:
            raise reader.error(f"{expected} bytes of {name}", decompressed, offset=place)
        parts[name] = np.frombuffer(decompress_zstd(reader, size, expected, name), np.uint8)
    for size, decompressed in sizes[len(wanted) :]:  # an empty stream of harmonics
        if decompressed:
            raise reader.error("no more streams", f"one of {decompressed} bytes", offset=place)
        reader.skip(size, "an empty stream")
    reader.finish()
    return header, parts, extensions


def _bytes_up_to(reader: Reader, place: int) -> bytes:
    if not 0 <= place - reader.offset <= _LARGEST_EXTENSIONS:
        raise reader.error(f"extensions of at most {_LARGEST_EXTENSIONS} bytes", place - reader.offset)
    return reader.take(place - reader.offset, "extensions")


def _header(reader: Reader, versions: tuple[int, ...]) -> _Header:
    magic, version, number, degree, fraction, flags, last_byte = reader.unpack(_HEADER, "SPZ header")
    if magic != MAGIC:
        raise reader.error("the letters NGSP, or gzip data that begin with them", repr(magic), offset=0)
    if version not in versions:
        raise reader.error(f"SPZ version {' or '.join(map(str, versions))}", version, offset=4)
    if number == 0:
        raise FormatError(f"{os.fspath(reader.path)}: holds no Gaussians; export it again")
    if degree >= len(NUM_REST):
        raise reader.error("an SH degree of at most 4", degree, offset=12)
    if fraction > 24:
        raise reader.error("at most 24 bits after the point of positions", fraction, offset=13)
    return _Header(version, number, degree, fraction, flags, last_byte)


def _split(reader: Reader, header: _Header) -> tuple[dict[str, Bytes], bytes]:
    """The attributes, and the extensions between them and the header."""
    sizes = header.sizes()
    size = sum(sizes.values())
    if size > reader.left:
        raise reader.error(f"{size} bytes of {header.number} Gaussians", f"{reader.left} bytes")
    extensions = reader.take(reader.left - size, "extensions") if header.flags & _EXTENDED else b""
    parts = {name: reader.view(np.uint8, size, name) for name, size in sizes.items()}
    reader.finish()
    return parts, extensions


def _sh_range(reader: Reader, extensions: bytes) -> tuple[float, float]:
    """The least and the largest coefficient; every record is a type, a length and a value."""
    limits = (-1.0, 1.0)
    records = Reader(extensions, reader.path)
    while records.left:
        kind = records.uint32("the type of an extension")
        layout = _KNOWN_EXTENSIONS.get(kind)
        # Early writers of the known extensions left the length out.
        has_length = layout is None or records.peek(4) == struct.pack("<I", layout.size)
        value = records.take(records.uint32("its length") if has_length or layout is None else layout.size, "extension")
        if layout is None:
            warnings.warn(f"{os.fspath(reader.path)}: the extension {kind:#x} is not known and ignored", stacklevel=4)
        elif kind == _SH_RANGE:
            limits = layout.unpack(value)[2:]
    return limits


# Values


def _decode(header: _Header, parts: dict[str, Bytes], sh_range: tuple[float, float]) -> GaussianArrays:
    rows = {name: part.reshape(header.number, -1) for name, part in parts.items()}

    def decode(where: slice) -> GaussianArrays:
        piece = {name: values[where] for name, values in rows.items()}
        return with_axes_turned(_decode_piece(header, piece, sh_range), _RIGHT_UP_BACK)

    return gaussians_by_piece(header.number, decode)


def _decode_piece(header: _Header, parts: dict[str, Bytes], sh_range: tuple[float, float]) -> GaussianArrays:
    """Some of the Gaussians, in the axes of the file, from the bytes [N, width] of their attributes."""
    number = len(parts["positions"])
    rest = parts["harmonics"].reshape(number, NUM_REST[header.degree], 3).astype(np.float32)
    low, high = sh_range
    with np.errstate(over="ignore", invalid="ignore"):
        if (low, high) == (-1.0, 1.0) or not low < high:
            rest = (rest - 128) / 128
        else:
            rest = low + rest / 255 * (high - low)
        return gaussians_from(
            _positions(header, parts["positions"]),
            ((parts["colours"].reshape(number, 1, 3) / np.float32(255)) - np.float32(0.5)) / _COLOUR_SCALE,
            rest,
            logit_of(parts["opacities"] / np.float32(255)),
            parts["scales"] / _SCALE_STEPS + _SCALE_ZERO,
            _rotations(header, parts["rotations"]),
        )


def _positions(header: _Header, stored: Bytes) -> Floats:
    if header.version == 1:
        return np.ascontiguousarray(stored).view("<f2").reshape(-1, 3).astype(np.float32)
    triples = stored.reshape(-1, 3).astype(np.int32)
    # The highest byte carries the sign.
    fixed = triples[:, 0] | triples[:, 1] << 8 | (triples[:, 2] ^ 128) - 128 << 16
    step = np.float32(1 / (1 << header.fraction))
    return (fixed.astype(np.float32) * step).reshape(-1, 3)


def _rotations(header: _Header, stored: Bytes) -> Floats:
    """Quaternions wxyz; the file has them as xyzw."""
    if header.version < 3:
        xyz = stored.reshape(-1, 3) / np.float32(127.5) - 1
        w = np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", xyz, xyz)))
        return np.concatenate((w[:, None], xyz), axis=1).astype(np.float32)
    words = np.ascontiguousarray(stored).view("<u4")[:, 0]
    fields = (words[:, None] >> np.array([20, 10, 0], np.uint32)) & np.uint32(1023)
    magnitude = (fields & 511) * (_HALF_ROOT / 511)
    others = np.where(fields >> 9, -magnitude, magnitude).astype(np.float32)
    return np.roll(join_quaternions(words >> 30, others), 1, axis=1)


def _fraction_for(path: str | os.PathLike[str], xyz: Floats) -> int:
    """How many bits after the point: 12, more where the scene is small, fewer where it would not fit otherwise."""
    largest = float(np.abs(xyz).max())
    if largest > _LARGEST_FIXED:
        raise SplatError(
            f"{os.fspath(path)}: SPZ holds positions up to {_LARGEST_FIXED}, found {largest:g}; scale them"
        )
    extent = max(float((xyz.max(axis=0) - xyz.min(axis=0)).max()), 1e-6)
    fraction = min(_MOST_FRACTION, _FRACTION + max(0, int(-np.floor(np.log2(extent)))))
    while largest * (1 << fraction) > _LARGEST_FIXED:
        fraction -= 1
    return fraction


def _encode(gaussians: GaussianArrays, fraction: int) -> list[NDArray]:
    fixed = np.rint(gaussians.xyz.astype(np.float64) * (1 << fraction)).astype("<i4")
    return [
        np.ascontiguousarray(fixed).view(np.uint8).reshape(-1, 4)[:, :3],
        to_steps(opacity_of(gaussians.opacity), 255).astype(np.uint8),
        to_steps(gaussians.features_dc * _COLOUR_SCALE + np.float32(0.5), 255).astype(np.uint8),
        to_steps((gaussians.scaling - _SCALE_ZERO) * _SCALE_STEPS / 255, 255).astype(np.uint8),
        _encode_rotations(gaussians.rotation),
        _encode_harmonics(gaussians.features_rest),
    ]


def _encode_harmonics(rest: Floats) -> Bytes:
    """The nearest step of 8 (degree 1) or 16 (the others) of 0 to 255, where 128 is 0."""
    step = np.full((rest.shape[1], 1), 16, np.float32)
    step[:3] = 8
    stored = np.rint(rest * 128)
    stored += 128 + step / 2
    stored /= step
    np.floor(stored, out=stored)
    stored *= step
    return np.clip(stored, 0, 255, out=stored).astype(np.uint8)


def _encode_rotations(rotation: Floats) -> NDArray:
    largest, others = split_quaternions(np.roll(unit_quaternions(rotation), -1, axis=1))
    magnitude = to_steps(np.abs(others) / _HALF_ROOT, 511)
    fields = magnitude | (others < 0).astype(np.uint32) << 9
    return (largest.astype(np.uint32) << 30 | fields[:, 0] << 20 | fields[:, 1] << 10 | fields[:, 2]).astype("<u4")
