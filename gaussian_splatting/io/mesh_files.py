"""Triangle meshes with colours: what a mesh is, and the `.ply` and `.glb` files that hold one."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.ply_header import PlyElement, PlyProperty, format_header
from gaussian_splatting.io.storage import write_atomically

MESH_ENDINGS = (".ply", ".glb")

_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
_VERTEX = np.dtype([("xyz", "<f4", 3), ("normal", "<f4", 3), ("rgb", "u1", 3)])
_VERTEX_NAMES = ("x", "y", "z", "nx", "ny", "nz")
_GLB, _CHUNK = struct.Struct("<4sIII4s"), struct.Struct("<I4s")
# glTF has x to the left and y up, PLY x to the right and y down: half a turn about z.
_LEFT_UP_FORWARD = np.array([-1, -1, 1], np.float32)


@dataclass(frozen=True, eq=False)
class Mesh:
    """V vertices and F triangles, counter-clockwise from outside, in the axes and units of the scene."""

    vertices: NDArray[np.float32]  # [V, 3]
    normals: NDArray[np.float32]  # [V, 3] of length 1
    colors: NDArray[np.uint8]  # [V, 3] as on a screen (sRGB)
    faces: NDArray[np.int32]  # [F, 3] indices of vertices

    def __len__(self) -> int:
        return len(self.faces)

    def with_faces(self, kept: NDArray[np.bool_]) -> Mesh:
        """The mesh of some of the triangles, without vertices that belong to none."""
        faces = self.faces[kept]
        used = np.zeros(len(self.vertices), np.bool_)
        used[faces] = True
        places = np.cumsum(used, dtype=np.int32) - 1
        return Mesh(self.vertices[used], self.normals[used], self.colors[used], places[faces])


def check_mesh_name(path: str | os.PathLike[str]) -> None:
    """Raise SplatError unless the name ends with that of a mesh format."""
    if Path(path).suffix.lower() not in MESH_ENDINGS:
        raise SplatError(f"{os.fspath(path)}: the name is of no mesh format; use one that ends with .ply or .glb")


def write_mesh(path: str | os.PathLike[str], mesh: Mesh) -> None:
    """Writes a mesh as `.ply` (axes of the scene) or `.glb` (turned to y up, as exported splats are)."""
    check_mesh_name(path)
    if len(mesh) == 0:
        raise SplatError(f"{os.fspath(path)}: not written: the mesh has no triangles")
    if Path(path).suffix.lower() == ".glb":
        _write_glb(path, mesh)
    else:
        _write_ply(path, mesh)


def _write_ply(path: str | os.PathLike[str], mesh: Mesh) -> None:
    vertices = np.empty(len(mesh.vertices), _VERTEX)
    vertices["xyz"], vertices["normal"], vertices["rgb"] = mesh.vertices, mesh.normals, mesh.colors
    faces = np.empty(len(mesh), _FACE)
    faces["count"], faces["corners"] = 3, mesh.faces
    columns = [PlyProperty(name, "f4") for name in _VERTEX_NAMES]
    columns += [PlyProperty(name, "u1") for name in ("red", "green", "blue")]
    corners = PlyProperty("vertex_indices", "i4", "u1")
    elements = (PlyElement("vertex", len(vertices), tuple(columns)), PlyElement("face", len(faces), (corners,)))
    header = format_header(elements)

    def write(stream: BinaryIO) -> None:
        stream.write(header)
        stream.write(vertices.tobytes())
        stream.write(faces.tobytes())

    write_atomically(path, write, size_hint=len(header) + vertices.nbytes + faces.nbytes)


def _write_glb(path: str | os.PathLike[str], mesh: Mesh) -> None:
    vertices = (mesh.vertices * _LEFT_UP_FORWARD).astype("<f4")
    parts: list[tuple[NDArray, dict[str, Any]]] = [
        (vertices, {"type": "VEC3", "min": vertices.min(axis=0).tolist(), "max": vertices.max(axis=0).tolist()}),
        ((mesh.normals * _LEFT_UP_FORWARD).astype("<f4"), {"type": "VEC3"}),
        (linear_colors(mesh.colors), {"type": "VEC4", "normalized": True}),
        (mesh.faces.astype("<u4").reshape(-1), {"type": "SCALAR"}),
    ]
    text = json.dumps(_document(parts), separators=(",", ":"), allow_nan=False).encode("ascii")
    text += b" " * (-len(text) % 4)
    size = sum(values.nbytes for values, _ in parts)
    total = _GLB.size + len(text) + _CHUNK.size + size
    if total >= 1 << 32:
        raise SplatError(f"{os.fspath(path)}: .glb holds up to 4 GiB, {total} bytes are needed; write .ply")

    def write(stream: BinaryIO) -> None:
        stream.write(_GLB.pack(b"glTF", 2, total, len(text), b"JSON") + text)
        stream.write(_CHUNK.pack(size, b"BIN\0"))
        for values, _ in parts:
            stream.write(np.ascontiguousarray(values).tobytes())

    write_atomically(path, write, size_hint=total)


def linear_colors(colors: NDArray[np.uint8]) -> NDArray[np.uint16]:  # [V, 3] -> [V, 4]
    """Colours in linear light with an opacity of 1, as glTF wants them; 16 bits, because 8 would show steps."""
    shown = np.arange(256) / 255
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    linear = np.full((len(colors), 4), 65535, "<u2")
    linear[:, :3] = np.rint(light * 65535).astype(np.uint16)[colors]
    return linear


def _document(parts: list[tuple[NDArray, dict[str, Any]]]) -> dict[str, Any]:
    kinds = {"f4": 5126, "u2": 5123, "u4": 5125}
    views, accessors, place = [], [], 0
    for index, (values, facts) in enumerate(parts):
        is_index = facts["type"] == "SCALAR"
        target = 34963 if is_index else 34962
        views.append({"buffer": 0, "byteOffset": place, "byteLength": values.nbytes, "target": target})
        accessors.append(
            {"bufferView": index, "count": len(values), "componentType": kinds[values.dtype.str[1:]]} | facts
        )
        place += values.nbytes
    # A rough, matt, white surface: the vertices carry the colour.
    material = {"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}, "doubleSided": True}
    primitive = {"attributes": {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}, "indices": 3, "mode": 4, "material": 0}
    return {
        "asset": {"version": "2.0", "generator": "gaussian_splatting"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [material],
        "buffers": [{"byteLength": place}],
        "bufferViews": views,
        "accessors": accessors,
    }
