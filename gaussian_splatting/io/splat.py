"""`.splat` (antimatter15): 32 bytes for each Gaussian without spherical harmonics, no header.

Position and scale are three float32 each, colour and opacity four bytes, the quaternion wxyz four bytes around 128.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.gaussian_arrays import (
    LARGEST_LOG_SCALE,
    Floats,
    GaussianArrays,
    with_sh_degree,
    without_unusable,
)
from gaussian_splatting.io.quantised import (
    colour_of,
    features_of,
    gaussians_from,
    logit_of,
    opacity_of,
    require_finite,
    to_steps,
    unit_quaternions,
)
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.splat_file import SplatFile
from gaussian_splatting.io.storage import write_atomically

ROW = np.dtype([("xyz", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("rotation", "u1", 4)])
"""One Gaussian."""

_SMALLEST_SCALE = np.float32(1e-30)  # a scale of 0 has no logarithm


def parse_splat(reader: Reader, *, strict: bool = False) -> SplatFile:
    """The Gaussians of a `.splat` file. Raises `FormatError` unless it is whole rows of 32 bytes."""
    number, surplus = divmod(reader.left, ROW.itemsize)
    if surplus or number == 0:
        found = f"{reader.left} bytes" + (f", {surplus} too many" if number else "")
        raise FormatError(
            f"{os.fspath(reader.path)}: byte {number * ROW.itemsize}: expected rows of {ROW.itemsize} bytes, "
            f"found {found}; the file is damaged or no .splat file: copy or export it again"
        )
    rows = reader.view(ROW, number, "Gaussians")
    reader.finish()
    return SplatFile(without_unusable(_decode(rows), reader.path, strict), "splat")


def write_splat(path: str | os.PathLike[str], gaussians: GaussianArrays) -> None:
    """Writes a `.splat` file, the most visible Gaussians first, as viewers of this format expect.

    Spherical harmonics beyond degree 0 are left out, and colours are cut to what a screen shows.
    """
    require_finite(path, gaussians)
    order = np.argsort(-visibility(gaussians), kind="stable")
    write_atomically(path, splat_rows(with_sh_degree(gaussians, 0).select(order)).tobytes())


def visibility(gaussians: GaussianArrays) -> NDArray[np.float32]:
    """How much of a picture each Gaussian can fill [N]: its volume times its opacity."""
    logarithm = np.clip(gaussians.scaling, -LARGEST_LOG_SCALE / 3, LARGEST_LOG_SCALE / 3).sum(axis=1)
    return np.exp(np.minimum(logarithm, LARGEST_LOG_SCALE)) * opacity_of(gaussians.opacity)[:, 0]


def splat_rows(gaussians: GaussianArrays) -> NDArray:
    """The rows [N] of a `.splat` file, of type `ROW`, in the order of the Gaussians."""
    rows = np.empty(len(gaussians), ROW)
    rows["xyz"] = gaussians.xyz
    rows["scale"] = np.exp(np.minimum(gaussians.scaling, LARGEST_LOG_SCALE))
    rows["rgba"][:, :3] = to_steps(colour_of(gaussians.features_dc[:, 0]), 255)
    rows["rgba"][:, 3:] = to_steps(opacity_of(gaussians.opacity), 255)
    rows["rotation"] = np.clip(np.rint(unit_quaternions(gaussians.rotation) * 128 + 128), 0, 255)
    return rows


def _decode(rows: NDArray) -> GaussianArrays:
    number = len(rows)
    rgba = rows["rgba"] / np.float32(255)
    return gaussians_from(
        rows["xyz"].astype(np.float32),
        features_of(rgba[:, :3])[:, None],
        np.zeros((number, 0, 3), np.float32),
        logit_of(rgba[:, 3:]),
        log_scale(rows["scale"]),
        _decode_rotation(rows["rotation"]),
    )


def log_scale(scale: NDArray) -> Floats:
    """Logarithms of scales; 0 counts as the smallest scale, and what is negative has none (NaN, dropped later)."""
    with np.errstate(invalid="ignore"):
        return np.log(np.where(scale == 0, _SMALLEST_SCALE, scale.astype(np.float32)))


def _decode_rotation(stored: NDArray) -> Floats:
    return unit_quaternions((stored.astype(np.float32) - 128) / 128)
