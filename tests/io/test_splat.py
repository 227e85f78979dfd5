"""`.splat`: its rows byte by byte, their order, and sizes that are no whole rows."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from splat_samples import some_splats

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.splat import parse_splat, visibility, write_splat


def row(**changes) -> bytes:
    values = {"xyz": (1, 2, 3), "scale": (0.1, 0.2, 0.3), "rgba": (0, 128, 255, 51), "rotation": (128, 255, 128, 128)}
    values |= changes
    return struct.pack("<6f8B", *values["xyz"], *values["scale"], *values["rgba"], *values["rotation"])


def test_a_row_is_read_as_the_format_says() -> None:
    found = parse_splat(Reader(row(), "a.splat")).gaussians
    np.testing.assert_array_equal(found.xyz, [[1, 2, 3]])
    np.testing.assert_allclose(np.exp(found.scaling), [[0.1, 0.2, 0.3]], rtol=1e-6)
    np.testing.assert_allclose(found.features_dc[0, 0] * 0.28209479 + 0.5, [0, 128 / 255, 1], atol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-found.opacity)), [[0.2]], rtol=1e-5)
    np.testing.assert_array_equal(found.rotation, [[0, 1, 0, 0]])


def test_the_ends_of_opacity_stay_finite_and_come_back() -> None:
    data = row(rgba=(0, 0, 0, 0)) + row(rgba=(0, 0, 0, 255))
    opacity = parse_splat(Reader(data, "a.splat")).gaussians.opacity[:, 0]
    assert opacity[0] < -13 and opacity[1] > 13 and np.isfinite(opacity).all()


def test_the_most_visible_come_first(tmp_path: Path) -> None:
    write_splat(tmp_path / "a.splat", some_splats(500, 0))
    found = parse_splat(Reader.open(tmp_path / "a.splat")).gaussians
    seen = visibility(found)
    assert (np.diff(seen) <= 0.02 * seen[:-1]).mean() > 0.9  # opacities were rounded after sorting
    assert seen[:50].min() > seen[-50:].max()


@pytest.mark.parametrize("size", [0, 1, 31, 33, 63])
def test_sizes_that_are_no_whole_rows_are_refused(size: int) -> None:
    with pytest.raises(FormatError, match=rf"expected rows of 32 bytes, found {size} bytes"):
        parse_splat(Reader((row() * 2)[:size], "a.splat"))


def test_rows_that_cannot_be_rendered_are_counted() -> None:
    data = row() + row(xyz=(float("nan"), 0, 0)) + row(scale=(-1, 1, 1))
    with pytest.warns(UserWarning, match="2 of 3 Gaussians cannot be rendered"):
        assert len(parse_splat(Reader(data, "a.splat"))) == 1
