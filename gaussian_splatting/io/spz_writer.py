"""`.spz` (Niantic), writing: version 3, small integers attribute by attribute, compressed with gzip."""

from __future__ import annotations

import os
import zlib

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.gaussian_arrays import Floats, GaussianArrays
from gaussian_splatting.io.inflate import GZIP
from gaussian_splatting.io.quantised import (
    HALF_ROOT,
    Bytes,
    opacity_of,
    pieces_of,
    require_finite,
    spatial_order,
    split_quaternions,
    to_steps,
    unit_quaternions,
    with_axes_turned,
)
from gaussian_splatting.io.spz import (
    ANTIALIASED,
    COLOUR_SCALE,
    HEADER,
    MAGIC,
    RIGHT_UP_BACK,
    SCALE_STEPS,
    SCALE_ZERO,
)
from gaussian_splatting.io.storage import write_atomically

_FRACTION, _MOST_FRACTION = 12, 20
_LARGEST_FIXED = (1 << 23) - 1


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
        _encode(with_axes_turned(gaussians.select(order[where]), RIGHT_UP_BACK), fraction)
        for where in pieces_of(len(gaussians))
    ]
    flags = ANTIALIASED if antialiased else 0
    header = HEADER.pack(MAGIC, 3, len(gaussians), gaussians.sh_degree, fraction, flags, 0)
    # Small integers hardly repeat but in runs: looking for runs alone takes a fifth of the time, for up to 5 % of size.
    stream = zlib.compressobj(6, zlib.DEFLATED, GZIP, 9, zlib.Z_RLE)
    parts = [stream.compress(header)]
    parts += [stream.compress(part.tobytes()) for attribute in zip(*pieces, strict=True) for part in attribute]
    return b"".join([*parts, stream.flush()])


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
        to_steps(gaussians.features_dc * COLOUR_SCALE + np.float32(0.5), 255).astype(np.uint8),
        to_steps((gaussians.scaling - SCALE_ZERO) * SCALE_STEPS / 255, 255).astype(np.uint8),
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
    magnitude = to_steps(np.abs(others) / HALF_ROOT, 511)
    fields = magnitude | (others < 0).astype(np.uint32) << 9
    return (largest.astype(np.uint32) << 30 | fields[:, 0] << 20 | fields[:, 1] << 10 | fields[:, 2]).astype("<u4")
