"""`.ksplat`: the three levels, buckets, sections, and headers that do not fit."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.ksplat import parse_ksplat
from gaussian_splatting.io.reader import Reader


def section_header(number: int, num_full: int, num_partial: int, degree: int, bucket_bytes: int = 12) -> bytes:
    buckets = num_full + num_partial
    values = (number, number, 2, buckets, 4.0, bucket_bytes, 0, 32767, 0, num_full, num_partial, degree)
    return struct.pack("<IIIIfHHIIIIH", *values).ljust(1024, b"\0")


def file_header(level: int, sections: int, number: int, limits: tuple[float, float] = (-1.0, 3.0)) -> bytes:
    values = (0, 1, 0, sections, sections, number, number, level, 0, 0, 0, 0, *limits)
    return struct.pack("<BBHIIIIHH3fff", *values).ljust(4096, b"\0")


def rows(level: int, degree: int, number: int) -> np.ndarray:
    real, coefficient = ("<f4", "<f4") if level == 0 else ("<f2", "<f2" if level == 1 else "u1")
    centre = "<f4" if level == 0 else "<u2"
    rest = (3 * ((degree + 1) ** 2 - 1),)
    made = np.zeros(
        number, [("c", centre, 3), ("s", real, 3), ("q", real, 4), ("rgba", "u1", 4), ("r", coefficient, rest)]
    )
    made["c"] = 32767 + 16384 * np.arange(number)[:, None] if level else np.arange(number)[:, None]
    made["s"], made["q"], made["rgba"] = 1, (1, 0, 0, 0), 127
    made["r"] = np.arange(rest[0])
    return made


def ksplat(level: int, degree: int) -> bytes:
    """Three Gaussians: a full bucket of two around 10, and a partial one around 20."""
    buckets = struct.pack("<I", 1) + np.repeat([10.0, 20.0], 3).astype("<f4").tobytes()
    return file_header(level, 1, 3) + section_header(3, 1, 1, degree) + buckets + rows(level, degree, 3).tobytes()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_positions_are_relative_to_their_bucket(level: int) -> None:
    found = parse_ksplat(Reader(ksplat(level, 0), "a.ksplat")).gaussians
    expected = [0, 1, 2] if level == 0 else [10, 11.0, 22.0]
    np.testing.assert_allclose(found.xyz[:, 0], expected, atol=1e-3)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_coefficients_come_band_by_band_and_channel_by_channel(level: int) -> None:
    found = parse_ksplat(Reader(ksplat(level, 2), "a.ksplat")).gaussians.features_rest[0]
    order = np.concatenate((np.arange(9).reshape(3, 3).T, (9 + np.arange(15)).reshape(3, 5).T))  # [8, 3]
    expected = order if level < 2 else -1 + order / 255 * 4
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sections_of_different_degree_are_joined() -> None:
    one, two = rows(0, 0, 2), rows(0, 1, 1)
    data = file_header(0, 2, 3) + section_header(2, 0, 0, 0, 0) + section_header(1, 0, 0, 1, 0)
    found = parse_ksplat(Reader(data + one.tobytes() + two.tobytes(), "a.ksplat")).gaussians
    assert (len(found), found.sh_degree) == (3, 1)
    assert not found.features_rest[:2].any() and found.features_rest[2].any()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, b"\x01", "version 0.1 or later"),
        (4, struct.pack("<I", 5000), "at most 4096 sections"),
        (4, struct.pack("<I", 9), "a number of sections"),
        (16, struct.pack("<I", 4), "sections of 4 Gaussians in all, and not 0, found 3"),
        (20, b"\x03", "a compression level of 0, 1 or 2"),
        (4096, struct.pack("<I", 4), "at most 3 Gaussians in a section"),
        (4096 + 20, b"\x08", "buckets with a centre of 12 bytes each"),
        (4096 + 32, struct.pack("<I", 0), "buckets of 3 Gaussians, found buckets of 1"),
        (4096 + 40, b"\x04", "an SH degree of at most 3"),
    ],
)
def test_headers_that_do_not_fit_are_refused(place: int, value: bytes, message: str) -> None:
    data = ksplat(1, 1)
    with pytest.raises(FormatError, match=message):
        parse_ksplat(Reader(data[:place] + value + data[place + len(value) :], "a.ksplat"))
