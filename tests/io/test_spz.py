"""`.spz`: versions, axes, flags, extensions, and containers that lie."""

from __future__ import annotations

import builtins
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from splat_samples import some_splats

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io.ply import GaussianArrays
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.spz import parse_spz
from gaussian_splatting.io.spz_writer import write_spz


def old_file(version: int, *, positions: bytes, rotation: bytes, flags: int = 0, extensions: bytes = b"") -> bytes:
    """One Gaussian without harmonics."""
    header = b"NGSP" + struct.pack("<IIBBBB", version, 1, 0, 12, flags, 0)
    return header + extensions + positions + bytes([128, 255, 0, 127, 160, 176, 144]) + rotation


def test_version_1_holds_half_floats_and_version_2_fixed_point() -> None:
    half = np.array([1.5, -2.0, 0.25], "<f2").tobytes()
    fixed = b"".join(int(value * 4096).to_bytes(3, "little", signed=True) for value in (1.5, -2.0, 0.25))
    for version, positions in ((1, half), (2, fixed)):
        found = parse_spz(Reader(old_file(version, positions=positions, rotation=b"\x80\x80\x80"), "a.spz"))
        np.testing.assert_array_equal(found.gaussians.xyz, [[1.5, 2.0, -0.25]])  # y and z point the other way
        np.testing.assert_allclose(found.gaussians.scaling, [[0, 1, -1]])
        np.testing.assert_allclose(found.gaussians.features_dc[0, 0, 0], 0.5 / 0.15, rtol=1e-6)
        assert found.format == f"SPZ {version}"


def test_the_axes_of_the_file_are_right_up_back(tmp_path: Path) -> None:
    gaussians = some_splats(1, 1)
    gaussians.xyz[0], gaussians.rotation[0] = (1, 2, 3), (0.5, 0.5, 0.5, 0.5)
    write_spz(tmp_path / "a.spz", gaussians)
    content = gzip.decompress((tmp_path / "a.spz").read_bytes())
    fraction = content[13]
    stored = [int.from_bytes(content[16 + 3 * i : 19 + 3 * i], "little", signed=True) / 2**fraction for i in range(3)]
    assert stored == [1, -2, -3]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e6])
def test_positions_of_any_size_are_kept(tmp_path: Path, scale: float) -> None:
    gaussians = some_splats(100, 0)
    gaussians.xyz[:] *= scale
    write_spz(tmp_path / "a.spz", gaussians)
    found = parse_spz(Reader.open(tmp_path / "a.spz")).gaussians
    assert np.ptp(found.xyz) == pytest.approx(np.ptp(gaussians.xyz), rel=1e-3)
    gaussians.xyz[0] = 1e8
    with pytest.raises(SplatError, match="SPZ holds positions up to 8388607"):
        write_spz(tmp_path / "b.spz", gaussians)


def with_extension(record: bytes) -> bytes:
    plain = old_file(3, positions=bytes(9), rotation=bytes([0, 0, 0, 192]), flags=2, extensions=record)
    return gzip.compress(plain)


def test_unknown_extensions_are_passed_over_with_a_warning() -> None:
    data = with_extension(struct.pack("<II5s", 0x12345, 5, b"hello"))
    with pytest.warns(UserWarning, match="the extension 0x12345 is not known"):
        assert len(parse_spz(Reader(data, "a.spz"))) == 1


@pytest.mark.parametrize("with_length", [True, False])
def test_the_range_of_harmonics_is_used(with_length: bool) -> None:
    record = struct.pack("<I", 0xADBE0001) + (struct.pack("<I", 10) if with_length else b"")
    record += struct.pack("<BBff", 8, 8, -2.0, 3.0)
    plain = bytearray(old_file(3, positions=bytes(9), rotation=bytes([0, 0, 0, 192]), flags=2, extensions=record))
    plain[12] = 1
    found = parse_spz(Reader(bytes(plain) + bytes([0] * 8 + [255]), "a.spz")).gaussians.features_rest[0]
    # Degree 1 is (-y, z, -x): the first two change sign with their axes.
    np.testing.assert_allclose(found, [[2, 2, 2], [2, 2, 2], [-2, -2, 3]], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "gzip data with a checksum at its end, found none"),
        (lambda data: data + b"x", "expected the end of the file, found 1 more bytes"),
        (lambda data: data[:-5] + bytes(5), "whole gzip data"),
        (lambda data: gzip.compress(gzip.decompress(data) + b"x"), "the end of the gzip data, found more of it"),
        (lambda data: gzip.compress(gzip.decompress(data)[:-1]), "bytes of 3 Gaussians"),
        (lambda data: gzip.compress(b"NGSP" + struct.pack("<I", 9) + bytes(40)), "SPZ version 1 or 2 or 3, found 9"),
        (lambda data: gzip.compress(b"NOPE" + bytes(40)), "the letters NGSP"),
        (lambda data: b"hello, I am no splat", "the letters NGSP"),
    ],
)
def test_damaged_containers_are_refused(tmp_path: Path, change, message: str) -> None:
    write_spz(tmp_path / "a.spz", some_splats(3, 0))
    with pytest.raises(FormatError, match=message):
        parse_spz(Reader(change((tmp_path / "a.spz").read_bytes()), "a.spz"))


def test_version_4_without_a_library_says_what_to_install(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_zstd(name: str, *rest, **more):
        if name in ("zstandard", "compression"):
            raise ImportError(name)
        return real_import(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_zstd)
    with pytest.raises(SplatError, match="pip install zstandard"):
        parse_spz(Reader.open(shared_data / "splats" / "minimal-v4.spz"))


def test_harmonics_are_quantised_like_other_writers_do(tmp_path: Path) -> None:
    gaussians = some_splats(50, 3)
    write_spz(tmp_path / "a.spz", gaussians)
    found: GaussianArrays = parse_spz(Reader.open(tmp_path / "a.spz")).gaussians
    steps = np.abs(found.features_rest) * 128
    assert set(np.unique(steps[:, :3] % 8)) <= {0.0, 7.0}  # 255 ends the last step early
    assert set(np.unique(steps[:, 3:] % 16)) <= {0.0, 15.0}
