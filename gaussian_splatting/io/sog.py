"""SOG (PlayCanvas), reading: WebP pictures whose pixels are Gaussians, beside or bundled with a `meta.json`.

A `.sog` file is a ZIP archive of what an unbundled SOG keeps in a folder. Layout:
https://developer.playcanvas.com/user-manual/gaussian-splatting/formats/sog
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io.gaussian_arrays import NUM_REST, Floats, GaussianArrays, without_unusable
from gaussian_splatting.io.paths import inside
from gaussian_splatting.io.quantised import Bytes, gaussians_from, join_quaternions, logit_of
from gaussian_splatting.io.reader import Content, Reader, read_content
from gaussian_splatting.io.sog_meta import Meta
from gaussian_splatting.io.splat_file import SplatFile
from gaussian_splatting.io.tensor_file import parse_json
from gaussian_splatting.io.zip_bundle import ZipBundle

META = "meta.json"
PALETTE_WIDTH = 64
"""Palette entries in each row of the picture of the SH palette."""
LARGEST_PALETTE = 1 << 16
SMALLEST_TAG = 252
"""The last byte of a rotation whose first part is the largest; 253 to 255 stand for the others."""
ROOT_TWO = np.float32(np.sqrt(2))

Loader = Callable[[str], Content]

_LARGEST_META = 2 << 20
# Pixels beyond the last Gaussian: writers round the sides up to multiples of 4.
_SPARE_PIXELS = 4096
# Real pictures take about 12 bytes for each Gaussian; this bounds what a picture of one colour can claim.
_GAUSSIANS_PER_BYTE, _GAUSSIANS_FOR_FREE = 64, 1 << 16
_PALETTE_WIDTHS = tuple(PALETTE_WIDTH * count for count in NUM_REST[1:4])


def read_sog(path: str | os.PathLike[str], *, strict: bool = False) -> SplatFile:
    """The Gaussians of a `.sog` bundle, or of the folder around a `meta.json`. Raises `FormatError`."""
    path = Path(path)
    if path.suffix.lower() == ".json":
        return parse_sog(path, lambda name: _read_beside(path, name), strict=strict)
    return parse_sog(path, ZipBundle(Reader.open(path)).read, strict=strict)


def parse_sog(path: str | os.PathLike[str], load: Loader, *, strict: bool = False) -> SplatFile:
    """As `read_sog`, from a function that gives the bytes of each file by its name; `path` is for messages."""
    text = bytes(load(META))
    if len(text) > _LARGEST_META:
        raise FormatError(f"{os.fspath(path)}: {META} has {len(text)} bytes, expected at most {_LARGEST_META}")
    meta = Meta(parse_json(text, path), META, path)
    pictures = _Pictures(path, load)
    gaussians = _decode_second(meta, pictures) if meta.has("version") else _decode_first(meta, pictures)
    antialiased = meta["antialias"].flag() if meta.has("antialias") else None
    name = "SOG 2" if meta.has("version") else "SOG 1"
    return SplatFile(without_unusable(gaussians, path, strict), name, antialiased)


def _read_beside(path: Path, name: str) -> Content:
    if name == META:
        return read_content(path)
    try:
        return read_content(inside(path.parent, name, must_be_file=True))
    except FormatError:
        raise
    except SplatError as error:
        raise FormatError(f"{path}: names a file that cannot be read: {error}") from error


class _Pictures:
    """Decodes pictures, none larger than the Gaussians it is for."""

    def __init__(self, path: str | os.PathLike[str], load: Loader) -> None:
        self._path, self._load = path, load

    def pixels(self, name: str, count: int) -> Bytes:  # [count, 4]
        """The first `count` pixels of a picture of about as many."""
        content = bytes(self._load(name))
        if count > len(content) * _GAUSSIANS_PER_BYTE + _GAUSSIANS_FOR_FREE:
            raise self._fault(name, f"a picture of {count} pixels", f"{len(content)} bytes")
        wanted = f"a picture of {count} pixels or a few more"
        picture = self._decode(
            name, content, lambda size: count <= size[0] * size[1] <= 2 * count + _SPARE_PIXELS, wanted
        )
        return picture.reshape(-1, 4)[:count]

    def palette(self, name: str) -> Bytes:  # [64 H, K-1, 3]
        """The entries of an SH palette, 64 in each row of the picture."""
        highest = LARGEST_PALETTE // PALETTE_WIDTH
        wanted = f"a picture {', '.join(map(str, _PALETTE_WIDTHS))} wide and at most {highest} high"
        picture = self._decode(
            name, bytes(self._load(name)), lambda size: size[0] in _PALETTE_WIDTHS and size[1] <= highest, wanted
        )
        return picture[:, :, :3].reshape(-1, picture.shape[1] // PALETTE_WIDTH, 3)

    def _decode(self, name: str, content: bytes, fits: Callable[[tuple[int, int]], bool], wanted: str) -> Bytes:
        from PIL import Image

        try:
            with Image.open(io.BytesIO(content), formats=("WEBP", "PNG")) as picture:
                if not fits(picture.size):
                    raise self._fault(name, wanted, f"{picture.size[0]} x {picture.size[1]}")
                return np.asarray(picture.convert("RGBA"))
        except SplatError:
            raise
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise self._fault(name, "a whole WebP picture", error) from error

    def _fault(self, name: str, wanted: str, found: object) -> FormatError:
        return FormatError(
            f"{os.fspath(self._path)}: {name}: expected {wanted}, found {found}; "
            "the file is damaged: copy or export it again"
        )


def _decode_second(meta: Meta, pictures: _Pictures) -> GaussianArrays:
    """Version 2: code books."""
    meta["version"].integer(2, 2)
    number = meta["count"].integer(1, 1 << 30)
    scales = pictures.pixels(meta["scales"].files(1)[0], number)
    base = pictures.pixels(meta["sh0"].files(1)[0], number)
    return gaussians_from(
        _positions(meta["means"], pictures, number),
        meta["sh0"]["codebook"].numbers(256)[base[:, None, :3]],
        _rest(meta["shN"], pictures, number) if meta.has("shN") else np.zeros((number, 0, 3), np.float32),
        logit_of(base[:, 3:] / np.float32(255)),
        meta["scales"]["codebook"].numbers(256)[scales[:, :3]],
        _rotations(pictures.pixels(meta["quats"].files(1)[0], number)),
    )


def _decode_first(meta: Meta, pictures: _Pictures) -> GaussianArrays:
    """Version 1, which names none: everything lies between a least and a largest value."""
    shape = meta["means"]["shape"]
    if not isinstance(shape.value, list) or not shape.value:
        raise shape.fault("the number of Gaussians and 3")
    number = Meta(shape.value[0], shape.place, shape.path).integer(1, 1 << 30)
    scales = pictures.pixels(meta["scales"].files(1)[0], number)
    base = _between(meta["sh0"], pictures.pixels(meta["sh0"].files(1)[0], number), 4)
    rest = np.zeros((number, 0, 3), np.float32)
    if meta.has("shN"):
        centroids, labels = meta["shN"].files(2)
        entries = pictures.palette(centroids)
        rest = _between(meta["shN"], entries, 1)[_labels(meta["shN"], pictures, labels, number, len(entries))]
    return gaussians_from(
        _positions(meta["means"], pictures, number),
        base[:, None, :3],
        rest,
        base[:, 3:],
        _between(meta["scales"], scales[:, :3], 3),
        _rotations(pictures.pixels(meta["quats"].files(1)[0], number)),
    )


def _between(meta: Meta, stored: Bytes, num_channels: int) -> Floats:
    low, high = meta["mins"].numbers(num_channels), meta["maxs"].numbers(num_channels)
    with np.errstate(over="ignore", invalid="ignore"):
        return (low + (high - low) * (stored / np.float32(255))).astype(np.float32, copy=False)


def _positions(meta: Meta, pictures: _Pictures, number: int) -> Floats:
    """Sixteen bits between the bounds of ln(1 + |x|), which keeps the sign of x."""
    low, high = meta["mins"].numbers(3).astype(np.float64), meta["maxs"].numbers(3).astype(np.float64)
    lower, upper = (pictures.pixels(name, number)[:, :3] for name in meta.files(2))
    unit = (lower.astype(np.uint16) | upper.astype(np.uint16) << 8) / 65535.0
    with np.errstate(over="ignore", invalid="ignore"):
        logarithm = low + (high - low) * unit
        return (np.sign(logarithm) * np.expm1(np.abs(logarithm))).astype(np.float32)


def _rotations(stored: Bytes) -> Floats:
    """The last byte says which part is the largest; any other value stands for no rotation."""
    tags = stored[:, 3].astype(np.intp) - SMALLEST_TAG
    others = (stored[:, :3] / np.float32(255) * 2 - 1) / ROOT_TWO
    rotation = join_quaternions(np.maximum(tags, 0), others)
    rotation[tags < 0] = (1, 0, 0, 0)
    return rotation


def _rest(meta: Meta, pictures: _Pictures, number: int) -> Floats:
    bands = meta["bands"].integer(1, 3)
    count = meta["count"].integer(1, LARGEST_PALETTE)
    centroids, labels = meta.files(2)
    entries = pictures.palette(centroids)
    if entries.shape[1] != NUM_REST[bands] or len(entries) < count:
        found = f"one of {len(entries)} entries with {entries.shape[1]} coefficients"
        raise meta.fault(f"a palette of {count} entries with {NUM_REST[bands]} coefficients, {centroids} is {found},")
    palette = meta["codebook"].numbers(256)[entries[:count]]
    return palette[_labels(meta, pictures, labels, number, count)]


def _labels(meta: Meta, pictures: _Pictures, name: str, number: int, count: int) -> NDArray[np.intp]:
    stored = pictures.pixels(name, number).astype(np.intp)
    labels = stored[:, 0] | stored[:, 1] << 8
    if labels.max() >= count:
        raise meta.fault(f"labels below the {count} entries of the palette, {name} has {labels.max()}, in an object")
    return labels
