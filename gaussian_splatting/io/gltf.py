"""glTF binary (`.glb`) with the extension KHR_gaussian_splatting: float attributes of a mesh of points.

Scales and opacities are stored as they are, not as logarithms and logits. The axes of glTF are x left, y up, z forward;
those of PLY are x right, y down, z forward. Text of the extension: https://github.com/KhronosGroup/glTF
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io.gaussian_arrays import (
    LARGEST_LOG_SCALE,
    NUM_REST,
    Floats,
    GaussianArrays,
    joined,
    without_unusable,
)
from gaussian_splatting.io.gltf_accessors import GltfFile
from gaussian_splatting.io.quantised import (
    colour_of,
    gaussians_from,
    logit_of,
    opacity_of,
    require_finite,
    to_steps,
    unit_quaternions,
    with_axes_turned,
)
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.rigid_motion import moved
from gaussian_splatting.io.splat import log_scale
from gaussian_splatting.io.splat_file import SplatFile
from gaussian_splatting.io.storage import write_atomically
from gaussian_splatting.io.tensor_file import parse_json

EXTENSION = "KHR_gaussian_splatting"

_MAGIC, _VERSION, _JSON, _BINARY = b"glTF", 2, 0x4E4F534A, 0x004E4942
_HEADER, _CHUNK = struct.Struct("<4sII"), struct.Struct("<II")
_LARGEST_JSON = 16 << 20
_LEFT_UP_FORWARD = (-1, -1, 1)
_POINTS, _ARRAY_BUFFER, _FLOAT, _UNSIGNED_BYTE = 0, 34962, 5126, 5121


def parse_glb(reader: Reader, *, strict: bool = False) -> SplatFile:
    """The Gaussians of every splat primitive in the scene, placed by its nodes. Raises `FormatError`.

    Meshes without the extension are ignored; compressed splats and nodes that shear or stretch are refused.
    """
    document, binary = _read_chunks(reader)
    file = GltfFile(document, binary, reader.path)
    parts = [
        moved(_primitive(file, place, attributes), *placement) if placement is not None else
        _primitive(file, place, attributes) for place, attributes, placement in file.primitives(EXTENSION)
    ]  # fmt: skip
    if not parts:
        raise FormatError(f"{os.fspath(reader.path)}: holds no Gaussians: no primitive in its scene has {EXTENSION}")
    gaussians = with_axes_turned(joined(parts), _LEFT_UP_FORWARD)
    return SplatFile(without_unusable(gaussians, reader.path, strict), "glTF")


def write_glb(path: str | os.PathLike[str], gaussians: GaussianArrays) -> None:
    """Writes one mesh of points with float attributes, spherical harmonics up to degree 3, and fallback colours."""
    require_finite(path, gaussians)
    if gaussians.sh_degree > 3:
        raise SplatError(f"{os.fspath(path)}: {EXTENSION} holds SH up to degree 3; export with --sh_degree 3")
    attributes = _attributes(with_axes_turned(gaussians, _LEFT_UP_FORWARD))
    text = json.dumps(_document(attributes), separators=(",", ":"), allow_nan=False).encode("ascii")
    text += b" " * (-len(text) % 4)
    size = sum(values.nbytes for values in attributes.values())
    total = _HEADER.size + 2 * _CHUNK.size + len(text) + size
    if total >= 1 << 32:
        raise SplatError(f"{os.fspath(path)}: .glb holds up to 4 GiB, {total} bytes are needed; export as .ply or .spz")

    def write(stream: BinaryIO) -> None:
        stream.write(_HEADER.pack(_MAGIC, _VERSION, total) + _CHUNK.pack(len(text), _JSON) + text)
        stream.write(_CHUNK.pack(size, _BINARY))
        for values in attributes.values():
            stream.write(np.ascontiguousarray(values).tobytes())

    write_atomically(path, write, size_hint=total)


# Reading


def _read_chunks(reader: Reader) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    magic, version, total = reader.unpack(_HEADER, "glTF header")
    if magic != _MAGIC or version != _VERSION:
        raise reader.error("binary glTF 2, which begins with `glTF`", f"{magic!r}, version {version}", offset=0)
    if total != reader.size:
        raise reader.error(f"the length of the file, {reader.size}", total, offset=8)
    size, kind = reader.unpack(_CHUNK, "the header of the JSON chunk")
    if kind != _JSON or size > _LARGEST_JSON:
        raise reader.error(
            f"a JSON chunk of at most {_LARGEST_JSON} bytes", f"{size} bytes of type {kind:#x}", offset=12
        )
    document = parse_json(reader.take(size, "JSON"), reader.path)
    if not isinstance(document, dict):
        raise reader.error("a JSON object", type(document).__name__, offset=20)
    if not reader.left:
        return document, np.empty(0, np.uint8)
    size, kind = reader.unpack(_CHUNK, "the header of the binary chunk")
    if kind != _BINARY:
        raise reader.error("a binary chunk", f"{kind:#x}", offset=reader.offset - 4)
    binary = reader.view(np.uint8, size, "the binary chunk")
    reader.finish()
    return document, binary


def _primitive(file: GltfFile, place: str, attributes: dict[str, Any]) -> GaussianArrays:
    """The Gaussians of one primitive, in the axes of glTF."""

    def read(name: str, width: int) -> Floats:
        return file.accessor(f"{place}.{name}", attributes.get(name), width)

    xyz, rotation = read("POSITION", 3), read(f"{EXTENSION}:ROTATION", 4)
    scale, opacity = read(f"{EXTENSION}:SCALE", 3), read(f"{EXTENSION}:OPACITY", 1)
    base = read(f"{EXTENSION}:SH_DEGREE_0_COEF_0", 3)
    rest = [read(name, 3) for name in _rest_names(_degree(attributes))]
    for name, values in (("ROTATION", rotation), ("SCALE", scale), ("OPACITY", opacity), ("SH", base)):
        if len(values) != len(xyz):
            raise file.fault(f"{place}.{name}", f"{len(xyz)} values, as many as positions", len(values))
    if any(len(values) != len(xyz) for values in rest):
        raise file.fault(f"{place}.SH", f"{len(xyz)} values of every coefficient", "another number")
    harmonics = np.stack(rest, axis=1) if rest else np.zeros((len(xyz), 0, 3), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return gaussians_from(
            xyz, base[:, None], harmonics, logit_of(opacity), log_scale(scale), np.roll(rotation, 1, axis=1)
        )


def _degree(attributes: dict[str, Any]) -> int:
    """The highest degree that is there; a missing coefficient is then refused when it is read."""
    return max((degree for degree in (1, 2, 3) if f"{EXTENSION}:SH_DEGREE_{degree}_COEF_0" in attributes), default=0)


def _rest_names(degree: int) -> list[str]:
    return [
        f"{EXTENSION}:SH_DEGREE_{band}_COEF_{index}" for band in range(1, degree + 1) for index in range(2 * band + 1)
    ]


# Writing


def _attributes(gaussians: GaussianArrays) -> dict[str, NDArray]:
    """The attributes by name, every row of them a multiple of 4 bytes."""
    colour = np.concatenate((colour_of(gaussians.features_dc[:, 0]), opacity_of(gaussians.opacity)), axis=1)
    attributes: dict[str, NDArray] = {
        "POSITION": gaussians.xyz,
        "COLOR_0": to_steps(colour, 255).astype(np.uint8),
        f"{EXTENSION}:ROTATION": np.roll(unit_quaternions(gaussians.rotation), -1, axis=1),
        f"{EXTENSION}:SCALE": np.exp(np.minimum(gaussians.scaling, LARGEST_LOG_SCALE)),
        f"{EXTENSION}:OPACITY": opacity_of(gaussians.opacity),
        f"{EXTENSION}:SH_DEGREE_0_COEF_0": gaussians.features_dc[:, 0],
    }
    assert gaussians.features_rest.shape[1] == NUM_REST[gaussians.sh_degree]
    for index, name in enumerate(_rest_names(gaussians.sh_degree)):
        attributes[name] = gaussians.features_rest[:, index]
    return {name: values if values.dtype == np.uint8 else values.astype("<f4") for name, values in attributes.items()}


def _document(attributes: dict[str, NDArray]) -> dict[str, Any]:
    views, accessors, place = [], [], 0
    kinds = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
    for name, values in attributes.items():
        views.append({"buffer": 0, "byteOffset": place, "byteLength": values.nbytes, "target": _ARRAY_BUFFER})
        accessor: dict[str, Any] = {"bufferView": len(accessors), "count": len(values), "type": kinds[values.shape[1]]}
        accessor["componentType"] = _UNSIGNED_BYTE if values.dtype == np.uint8 else _FLOAT
        if values.dtype == np.uint8:
            accessor["normalized"] = True
        if name == "POSITION":
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        accessors.append(accessor)
        place += values.nbytes
    looks = {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
        "sortingMethod": "cameraDistance",
        "projection": "perspective",
    }
    indices = {name: index for index, name in enumerate(attributes)}
    primitive = {"attributes": indices, "mode": _POINTS, "extensions": {EXTENSION: looks}}
    return {
        "asset": {"version": "2.0", "generator": "gaussian_splatting"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "buffers": [{"byteLength": place}],
        "bufferViews": views,
        "accessors": accessors,
    }
