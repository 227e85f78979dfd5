"""SOG (PlayCanvas), writing: version 2, bundled or in a folder, with lossless WebP and an SH palette."""

from __future__ import annotations

import io
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.clustering import code_book, nearest_in, palette
from gaussian_splatting.io.gaussian_arrays import NUM_REST, Floats, GaussianArrays, with_sh_degree
from gaussian_splatting.io.quantised import (
    Bytes,
    opacity_of,
    require_finite,
    spatial_order,
    split_quaternions,
    to_steps,
    unit_quaternions,
)
from gaussian_splatting.io.sog import LARGEST_PALETTE, META, PALETTE_WIDTH, ROOT_TWO, SMALLEST_TAG
from gaussian_splatting.io.storage import write_atomically
from gaussian_splatting.io.zip_bundle import write_zip

_GENERATOR = "gaussian_splatting"
# Stronger settings of WebP take several times as long for less than a hundredth of the size.
_EFFORT, _METHOD = 20, 1


def write_sog(
    path: str | os.PathLike[str],
    gaussians: GaussianArrays,
    *,
    antialiased: bool | None = None,
    palette_size: int | None = None,
) -> None:
    """Writes a `.sog` bundle, or beside a `meta.json` its pictures; spherical harmonics up to degree 3.

    16 bits for positions on a logarithmic axis, code books of 256 for scales and colours, 8 bits for opacities and
    quaternion parts, and a palette for the coefficients: as many entries as Gaussians, down to a power of two and
    65536 at most, unless `palette_size`, a power of two, asks for fewer.
    """
    path = Path(path)
    require_finite(path, gaussians)
    if gaussians.sh_degree > 3:
        raise SplatError(f"{path}: SOG holds SH up to degree 3; export with --sh_degree 3")
    files = _files(gaussians, antialiased, palette_size)
    if path.suffix.lower() == ".json":
        meta = files.pop(META)
        for name, content in files.items():
            write_atomically(path.parent / name, content)
        write_atomically(path, meta)  # last: what it names is then there
    else:
        size = sum(map(len, files.values())) + 4096
        write_atomically(path, lambda stream: write_zip(stream, files), size_hint=size)


def _files(gaussians: GaussianArrays, antialiased: bool | None, palette_size: int | None) -> dict[str, bytes]:
    """The content of every file; the pictures first, as other writers order them."""
    order = spatial_order(gaussians.xyz)
    harmonics, gaussians = gaussians.features_rest, with_sh_degree(gaussians, 0).select(order)
    meta: dict[str, Any] = {"version": 2, "asset": {"generator": _GENERATOR}, "count": len(gaussians)}
    if antialiased is not None:
        meta["antialias"] = antialiased
    low, high, lower, upper = _positions(gaussians.xyz)
    names = ["means_l.webp", "means_u.webp"]
    meta["means"] = {"mins": low, "maxs": high, "files": names}
    pictures = dict(zip(names, (lower, upper), strict=True))
    scales, base = code_book(gaussians.scaling), code_book(gaussians.features_dc)
    meta["scales"] = {"codebook": scales.tolist(), "files": ["scales.webp"]}
    meta["quats"] = {"files": ["quats.webp"]}
    meta["sh0"] = {"codebook": base.tolist(), "files": ["sh0.webp"]}
    pictures["scales.webp"] = nearest_in(scales, gaussians.scaling)
    pictures["quats.webp"] = _rotations(gaussians.rotation)
    opacities = to_steps(opacity_of(gaussians.opacity), 255).astype(np.uint8)
    pictures["sh0.webp"] = np.concatenate((nearest_in(base, gaussians.features_dc[:, 0]), opacities), axis=1)
    files = {name: _webp(_square(values)) for name, values in pictures.items()}
    if harmonics.size:
        meta["shN"], centroids, labels = _harmonics(harmonics, palette_size)
        files |= {"shN_centroids.webp": _webp(centroids), "shN_labels.webp": _webp(_square(labels[order]))}
    return files | {META: json.dumps(meta, separators=(",", ":"), allow_nan=False).encode("ascii")}


def _positions(xyz: Floats) -> tuple[list[float], list[float], Bytes, Bytes]:
    logarithm = np.sign(xyz) * np.log1p(np.abs(xyz.astype(np.float64)))
    low, high = logarithm.min(axis=0), logarithm.max(axis=0)
    steps = np.rint((logarithm - low) / np.maximum(high - low, 1e-30) * 65535).astype(np.uint16)
    return low.tolist(), high.tolist(), (steps & 255).astype(np.uint8), (steps >> 8).astype(np.uint8)


def _rotations(rotation: Floats) -> Bytes:
    largest, others = split_quaternions(unit_quaternions(rotation))
    stored = to_steps(others * ROOT_TWO / 2 + np.float32(0.5), 255).astype(np.uint8)
    return np.concatenate((stored, (largest + SMALLEST_TAG).astype(np.uint8)[:, None]), axis=1)


def _harmonics(features_rest: Floats, size: int | None) -> tuple[dict[str, Any], Bytes, Bytes]:
    """The entry of `meta.json`, the picture of the palette, and the labels [N, 3]."""
    number, num_rest, _ = features_rest.shape
    largest = 1 << int(math.log2(number))
    size = min(size or largest, largest, LARGEST_PALETTE)
    entries, labels = palette(features_rest.reshape(number, -1), size)
    book = code_book(entries)
    picture = np.zeros((-(-size // PALETTE_WIDTH) * PALETTE_WIDTH, num_rest, 3), np.uint8)
    picture[:size] = nearest_in(book, entries).reshape(size, num_rest, 3)
    meta = {
        "count": size,
        "bands": NUM_REST.index(num_rest),
        "codebook": book.tolist(),
        "files": ["shN_centroids.webp", "shN_labels.webp"],
    }
    stored = np.stack((labels & 255, labels >> 8, np.zeros_like(labels)), axis=1).astype(np.uint8)
    return meta, _with_alpha(picture.reshape(-1, PALETTE_WIDTH * num_rest, 3)), stored


def _square(values: Bytes) -> Bytes:  # [N, 3 or 4] -> [H, W, 4]
    """About as wide as high, with sides that are multiples of 4."""
    width = math.ceil(math.sqrt(len(values)) / 4) * 4
    height = math.ceil(len(values) / width / 4) * 4
    padded = np.zeros((height * width, values.shape[1]), np.uint8)
    padded[: len(values)] = values
    return _with_alpha(padded.reshape(height, width, -1))


def _with_alpha(picture: Bytes) -> Bytes:
    if picture.shape[2] == 4:
        return picture
    return np.concatenate((picture, np.full((*picture.shape[:2], 1), 255, np.uint8)), axis=2)


def _webp(picture: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    # Without `exact`, the encoder would change the colours of pixels whose last channel is 0.
    Image.fromarray(picture, "RGBA").save(stream, "WEBP", lossless=True, exact=True, quality=_EFFORT, method=_METHOD)
    return stream.getvalue()
