"""`.ksplat` (mkkellogg/GaussianSplats3D), read only: sections of buckets, at three levels of compression.

A header of 4096 bytes, one of 1024 bytes for each section, then the sections: bucket sizes, bucket centres, rows.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.io.gaussian_arrays import NUM_REST, Floats, without_unusable
from gaussian_splatting.io.quantised import features_of, gaussians_from, logit_of, unit_quaternions
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.splat import log_scale
from gaussian_splatting.io.splat_file import SplatFile

_HEADER_SIZE, _SECTION_SIZE = 4096, 1024
_HEADER = struct.Struct("<BBxxIIIIHxx3fff")  # version, sections, splats, compression, centre, range of SH
_SECTION = struct.Struct("<IIIIfHxxIIIIH")
_DEFAULT_SH_LIMIT = 1.5
_CENTRE_RANGE = 32767
_MOST_SECTIONS = 4096
_LARGEST_DEGREE = 3


@dataclass(frozen=True)
class _Header:
    num_sections: int
    num_splats: int
    level: int
    sh_limits: tuple[float, float]


@dataclass(frozen=True)
class _Section:
    number: int
    capacity: int
    bucket_size: int
    num_buckets: int
    block_size: float
    bucket_bytes: int
    centre_range: int
    num_full: int
    num_partial: int
    degree: int


def parse_ksplat(reader: Reader, *, strict: bool = False) -> SplatFile:
    """The Gaussians of a `.ksplat` file; sections of a lower SH degree are filled with zeros. Raises `FormatError`."""
    header = _read_header(reader)
    sections = [_read_section(reader, header) for _ in range(header.num_sections)]
    total = sum(section.number for section in sections)
    if total != header.num_splats or total == 0:
        raise reader.error(f"sections of {header.num_splats} Gaussians in all, and not 0", total, offset=16)
    degree = max((section.degree for section in sections if section.number), default=0)
    parts = [_read_rows(reader, header, section, degree) for section in sections]
    gaussians = gaussians_from(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return SplatFile(without_unusable(gaussians, reader.path, strict), f"KSPLAT {header.level}")


def _read_header(reader: Reader) -> _Header:
    if reader.left < _HEADER_SIZE:
        raise reader.error(f"a header of {_HEADER_SIZE} bytes", f"the end of the file after {reader.left}")
    values = reader.unpack(_HEADER, "header")
    major, minor, num_sections, _, _, num_splats, level, _, _, _, low, high = values
    if (major, minor > 0) != (0, True):
        raise reader.error("version 0.1 or later of .ksplat", f"{major}.{minor}", offset=0)
    if level > 2:
        raise reader.error("a compression level of 0, 1 or 2", level, offset=20)
    reader.offset = _HEADER_SIZE
    if num_sections > _MOST_SECTIONS:
        raise reader.error(f"at most {_MOST_SECTIONS} sections", num_sections, offset=4)
    reader.require_records(num_sections, _SECTION_SIZE, "sections", offset=4)
    # Files before version 0.1 of the SH limits hold zeros there.
    return _Header(num_sections, num_splats, level, (low or -_DEFAULT_SH_LIMIT, high or _DEFAULT_SH_LIMIT))


def _read_section(reader: Reader, header: _Header) -> _Section:
    start = reader.offset
    values = reader.unpack(_SECTION, "a section header")
    reader.offset = start
    reader.skip(_SECTION_SIZE, "a section header")
    number, capacity, bucket_size, num_buckets, block_size, bucket_bytes, centre_range, _, full, partial, degree = (
        values
    )
    section = _Section(
        number, capacity, bucket_size, num_buckets, block_size, bucket_bytes, centre_range or _CENTRE_RANGE,
        full, partial, degree,
    )  # fmt: skip
    if number > capacity:
        raise reader.error(f"at most {capacity} Gaussians in a section", number, offset=start)
    if degree > _LARGEST_DEGREE:
        raise reader.error(f"an SH degree of at most {_LARGEST_DEGREE}", degree, offset=start + 40)
    if header.level and number and (bucket_bytes != 12 or full + partial > num_buckets):
        found = f"{full} full and {partial} partial of {num_buckets} buckets with {bucket_bytes} bytes each"
        raise reader.error("buckets with a centre of 12 bytes each", found, offset=start)
    return section


def _read_rows(reader: Reader, header: _Header, section: _Section, degree: int) -> tuple[Floats, ...]:
    """The six arrays of the Gaussians of one section, in the order of `GaussianArrays`."""
    layout = _row_layout(header.level, section.degree)
    sizes = reader.view("<u4", section.num_partial, "sizes of partial buckets")
    start = reader.offset
    reader.require_records(section.num_buckets, section.bucket_bytes, "buckets")
    centres = np.empty((0, 3), np.float32)
    if header.level and section.number:
        centres = reader.view(("<f4", 3), section.num_buckets, "bucket centres")
    reader.offset = start + section.num_buckets * section.bucket_bytes
    rows = reader.view(layout, section.capacity, "Gaussians")[: section.number]
    rgba = rows["rgba"] / np.float32(255)
    with np.errstate(over="ignore", invalid="ignore"):
        return (
            _positions(reader, header, section, rows, sizes, centres),
            features_of(rgba[:, :3])[:, None],
            _rest(header, section, rows, degree),
            logit_of(rgba[:, 3:]),
            log_scale(rows["scale"]),
            unit_quaternions(rows["rotation"].astype(np.float32)),
        )


def _row_layout(level: int, degree: int) -> np.dtype:
    real, centre = ("<f4", "<f4") if level == 0 else ("<f2", "<u2")
    coefficient = ("<f4", "<f2", "u1")[level]
    return np.dtype([
        ("centre", centre, 3), ("scale", real, 3), ("rotation", real, 4), ("rgba", "u1", 4),
        ("rest", coefficient, (3 * NUM_REST[degree],)),
    ])  # fmt: skip


def _positions(
    reader: Reader, header: _Header, section: _Section, rows: NDArray, sizes: NDArray, centres: NDArray
) -> Floats:
    stored = rows["centre"].astype(np.float32)
    if header.level == 0 or section.number == 0:
        return stored
    # Full buckets first, each with the same number of Gaussians, then the partial ones.
    num_in_full = section.num_full * section.bucket_size
    num_in_all = num_in_full + int(sizes.sum(dtype=np.uint64))
    if num_in_all < section.number:
        raise reader.error(f"buckets of {section.number} Gaussians", f"buckets of {num_in_all}")
    rank = np.arange(section.number)
    bucket = rank // max(section.bucket_size, 1)
    ends = num_in_full + np.cumsum(sizes, dtype=np.int64)
    in_partial = rank >= num_in_full
    bucket[in_partial] = section.num_full + np.searchsorted(ends, rank[in_partial], side="right")
    step = np.float32(section.block_size / 2 / section.centre_range)
    return (stored - section.centre_range) * step + centres[bucket]


def _rest(header: _Header, section: _Section, rows: NDArray, degree: int) -> Floats:
    """Coefficients [N, K-1, 3]; in the file those of each band come channel by channel."""
    number, low, high = len(rows), *header.sh_limits
    stored = rows["rest"].astype(np.float32)
    values = low + stored / 255 * (high - low) if header.level == 2 else stored
    rest = np.zeros((number, NUM_REST[degree], 3), np.float32)
    for band in range(1, section.degree + 1):
        first, last = NUM_REST[band - 1], NUM_REST[band]
        rest[:, first:last] = values[:, 3 * first : 3 * last].reshape(number, 3, last - first).transpose(0, 2, 1)
    return rest
