"""`.spz` (Niantic), reading: small integers, attribute by attribute, packed with gzip (versions 1 to 3) or zstd (4).

The axes of the file are x right, y up, z back; those of PLY are x right, y down, z forward. Layout:
https://github.com/nianticlabs/spz
"""

from __future__ import annotations

import os
import struct
import warnings
from dataclasses import dataclass

import numpy as np

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.gaussian_arrays import NUM_REST, Floats, GaussianArrays, without_unusable
from gaussian_splatting.io.inflate import Gunzip, decompress_zstd
from gaussian_splatting.io.quantised import (
    HALF_ROOT,
    Bytes,
    gaussians_by_piece,
    gaussians_from,
    join_quaternions,
    logit_of,
    with_axes_turned,
)
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.splat_file import SplatFile

MAGIC = b"NGSP"
_GZIP_MAGIC = b"\x1f\x8b"
HEADER = struct.Struct("<4sIIBBBB")
_DIRECTORY_PLACE = struct.Struct("<I12x")
_STREAM_SIZES = struct.Struct("<QQ")
_LARGEST_EXTENSIONS = 64 << 10

ANTIALIASED, _EXTENDED = 1, 2
_SH_RANGE, _ORBIT = 0xADBE0001, 0xADBE0002
_KNOWN_EXTENSIONS = {_SH_RANGE: struct.Struct("<BBff"), _ORBIT: struct.Struct("<fff")}

RIGHT_UP_BACK = (1, -1, -1)
COLOUR_SCALE = np.float32(0.15)
SCALE_ZERO, SCALE_STEPS = np.float32(-10), np.float32(16)


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
    return SplatFile(usable, f"SPZ {header.version}", bool(header.flags & ANTIALIASED))


# Containers


def _read_gzip(reader: Reader) -> tuple[_Header, dict[str, Bytes], bytes]:
    stream = Gunzip(reader)
    header = _header(Reader(stream.take(HEADER.size), reader.path), (1, 2, 3))
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
    magic, version, number, degree, fraction, flags, last_byte = reader.unpack(HEADER, "SPZ header")
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
        return with_axes_turned(_decode_piece(header, piece, sh_range), RIGHT_UP_BACK)

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
            ((parts["colours"].reshape(number, 1, 3) / np.float32(255)) - np.float32(0.5)) / COLOUR_SCALE,
            rest,
            logit_of(parts["opacities"] / np.float32(255)),
            parts["scales"] / SCALE_STEPS + SCALE_ZERO,
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
    magnitude = (fields & 511) * (HALF_ROOT / 511)
    others = np.where(fields >> 9, -magnitude, magnitude).astype(np.float32)
    return np.roll(join_quaternions(words >> 30, others), 1, axis=1)
