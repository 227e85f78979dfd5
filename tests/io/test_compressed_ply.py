"""Compressed PLY against plyfile and the formulas of the format, and headers that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from splat_samples import some_splats

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.compressed_ply import CHUNK, is_compressed, parse_compressed_ply, write_compressed_ply
from gaussian_splatting.io.ply import read_gaussians, write_gaussians
from gaussian_splatting.io.reader import Reader

plyfile = pytest.importorskip("plyfile")


def decoded_with_plyfile(path: Path, row: int) -> dict[str, list[float]]:
    """One Gaussian by the formulas of the format, number by number."""
    data = plyfile.PlyData.read(str(path))
    chunk, vertex = data["chunk"][row // CHUNK], data["vertex"][row]
    position, scale, colour = (int(vertex[f"packed_{name}"]) for name in ("position", "scale", "color"))
    parts = lambda word: [(word >> 21) / 2047, (word >> 11 & 1023) / 1023, (word & 2047) / 2047]  # noqa: E731
    between = lambda unit, group, names: [  # noqa: E731
        float(chunk[f"min_{group}{n}"]) + u * float(chunk[f"max_{group}{n}"] - chunk[f"min_{group}{n}"])
        for u, n in zip(unit, names, strict=True)
    ]
    rgb = between([(colour >> shift & 255) / 255 for shift in (24, 16, 8)], "", "rgb")
    opacity = (colour & 255) / 255
    return {
        "xyz": between(parts(position), "", "xyz"),
        "scaling": between(parts(scale), "scale_", "xyz"),
        "features_dc": [(value - 0.5) / 0.28209479177387814 for value in rgb],
        "opacity": [np.log(opacity / (1 - opacity))],
    }


def test_words_mean_what_the_format_says(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    write_compressed_ply(path, some_splats(600, 2))
    found = parse_compressed_ply(Reader.open(path)).gaussians
    for row in (0, 255, 256, 511, 599):
        for name, expected in decoded_with_plyfile(path, row).items():
            np.testing.assert_allclose(getattr(found, name)[row].ravel(), expected, atol=2e-5)
    sh = plyfile.PlyData.read(str(path))["sh"]
    assert len(sh) == 600 and len(sh.properties) == 24
    expected = (np.array([int(sh[5][f"f_rest_{k}"]) for k in range(24)]) + 0.5) / 256 * 8 - 4
    np.testing.assert_allclose(found.features_rest[5], expected.reshape(3, 8).T, atol=1e-6)


def test_other_plys_are_told_apart(tmp_path: Path) -> None:
    write_gaussians(tmp_path / "plain.ply", some_splats(3, 0))
    write_compressed_ply(tmp_path / "packed.ply", some_splats(3, 0))
    assert not is_compressed(Reader.open(tmp_path / "plain.ply"))
    assert is_compressed(Reader.open(tmp_path / "packed.ply"))
    with pytest.raises(FormatError, match=r"make it a plain one first: python -m gaussian_splatting\.export"):
        read_gaussians(tmp_path / "packed.ply")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            b"element chunk 2",
            b"element chunk 3",
            "expected in the header of a compressed PLY 2 chunks for 300 Gaussians",
        ),
        (b"element vertex 300", b"element vertex 0", "holds no Gaussians"),
        (b"uint packed_scale", b"int packed_scale", "packed_scale of type u4 in element 'vertex', found i4"),
        (b"float min_x", b"double min_x", "min_x of type f4 in element 'chunk', found f8"),
        (b"element chunk", b"element pieces", "an element 'chunk'"),
        (b"element sh 300", b"element sh 299", "300 rows of element 'sh'"),
        (b"uchar f_rest_8\n", b"uchar f_rest_8\nproperty uchar f_rest_9\n", "9, 24 or 45 properties, found 10"),
        (b"f_rest_0\nproperty uchar f_rest_1\n", b"f_rest_1\nproperty uchar f_rest_0\n", "another order"),
    ],
)
def test_headers_that_do_not_fit_are_refused(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path = tmp_path / "a.ply"
    write_compressed_ply(path, some_splats(300, 1))
    data = path.read_bytes()
    assert data.count(old) == 1
    with pytest.raises(FormatError, match=message):
        parse_compressed_ply(Reader(data.replace(old, new), path))
