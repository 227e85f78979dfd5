"""What a glTF document says about its arrays and nodes, believed only as far as its bytes reach."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.gaussian_arrays import Floats

Placement = tuple[NDArray[np.float64], float, NDArray[np.float64]]
"""A rotation matrix, a scale and a translation."""

_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5126: "<f4"}
_MOST_NODES = 4096
_DEEPEST = 64
_MOST_PRIMITIVES = 1024
_TOLERANCE = 1e-4


class GltfFile:
    """Reads arrays and places of splats. Everything that does not fit is a `FormatError` that names its place."""

    def __init__(self, document: dict[str, Any], binary: NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
        self._document, self._binary, self._path = document, binary, path

    def primitives(self, extension: str) -> list[tuple[str, dict[str, Any], Placement | None]]:
        """The primitives with this extension: their place in the document, their attributes, where their node is."""
        found: list[tuple[str, dict[str, Any], Placement | None]] = []
        for mesh, matrix in self._meshes():
            for index, primitive in enumerate(self._list(self._entry("meshes", mesh), "primitives", f"meshes[{mesh}]")):
                place = f"meshes[{mesh}].primitives[{index}]"
                if isinstance(primitive, dict) and isinstance(primitive.get("extensions"), dict):
                    content = primitive["extensions"].get(extension)
                    if content is not None:
                        found.append((place, self._attributes(place, primitive, content), self._placement(matrix)))
            if len(found) > _MOST_PRIMITIVES:
                raise self.fault("meshes", f"at most {_MOST_PRIMITIVES} splat primitives", len(found))
        return found

    def accessor(self, what: str, index: Any, width: int) -> Floats:  # [N, width]
        """An array of floats; small integers become floats, divided by their range if the accessor says so."""
        accessor = self._entry("accessors", index, what)
        if "sparse" in accessor or "bufferView" not in accessor:
            raise self.fault(what, "an accessor that is not sparse", "a sparse or empty one")
        code = accessor.get("componentType")
        kind = _COMPONENTS.get(code) if type(code) is int else None
        if _WIDTHS.get(str(accessor.get("type"))) != width or kind is None:
            raise self.fault(what, f"{width} components of a number type", f"{accessor.get('type')} of {code}")
        layout, number = np.dtype(kind), self._count(accessor, "count", what, 1)
        view = self._entry("bufferViews", accessor["bufferView"], what)
        if view.get("buffer", 0) != 0 or view.get("extensions"):
            raise self.fault(what, "a view of the binary chunk", "another buffer or a compressed view")
        start, size = self._count(view, "byteOffset", what, 0, 0), self._count(view, "byteLength", what, 0)
        inner = self._count(accessor, "byteOffset", what, 0, 0)
        stride = self._count(view, "byteStride", what, 1, width * layout.itemsize)
        needed = inner + stride * (number - 1) + width * layout.itemsize
        if stride < width * layout.itemsize or needed > size or start + size > len(self._binary):
            room = f"a view of {size} bytes at byte {start} of {len(self._binary)}"
            raise self.fault(what, f"{needed} bytes for {number} values", room)
        shape, strides = (number, width), (stride, layout.itemsize)
        stored = np.ndarray(shape, layout, self._binary[start : start + size], inner, strides)
        values = stored.astype(np.float32)
        if layout.kind != "f" and accessor.get("normalized") is True:
            values = np.maximum(values / np.float32(np.iinfo(layout).max), -1)
        return values

    def fault(self, where: str, wanted: str, found: object) -> FormatError:
        """The error to raise about a place in the document."""
        text = str(found)
        shown = text if len(text) <= 80 else text[:80] + "…"
        return FormatError(
            f"{os.fspath(self._path)}: {where}: expected {wanted}, found {shown}; "
            "the file is damaged or of a kind that is not supported: export it again"
        )

    # The document

    def _list(self, owner: dict[str, Any], key: str, where: str) -> list[Any]:
        value = owner.get(key, [])
        if not isinstance(value, list):
            raise self.fault(where, f"an array {key!r}", type(value).__name__)
        return value

    def _entry(self, kind: str, index: Any, where: str = "the document") -> dict[str, Any]:
        entries = self._list(self._document, kind, "the document")
        if type(index) is not int or not 0 <= index < len(entries) or not isinstance(entries[index], dict):
            raise self.fault(where, f"an entry of {kind!r} (there are {len(entries)})", index)
        return entries[index]

    def _count(self, owner: dict[str, Any], key: str, where: str, least: int, default: int | None = None) -> int:
        value = owner.get(key, default)
        if type(value) is not int or not least <= value < 1 << 40:
            raise self.fault(where, f"a whole number {key!r} of at least {least}", value)
        return value

    def _attributes(self, place: str, primitive: dict[str, Any], content: Any) -> dict[str, Any]:
        if not isinstance(content, dict) or content.get("extensions"):
            names = ", ".join(content["extensions"]) if isinstance(content, dict) else type(content).__name__
            raise self.fault(place, "splats that are not compressed", names)
        attributes = primitive.get("attributes")
        if not isinstance(attributes, dict):
            raise self.fault(place, "an object 'attributes'", type(attributes).__name__)
        return attributes

    # Nodes

    def _meshes(self) -> list[tuple[int, NDArray[np.float64]]]:
        """Each mesh of the scene with the matrix of its node; every mesh once where there is no scene."""
        if "scenes" not in self._document:
            return [(index, np.eye(4)) for index in range(len(self._list(self._document, "meshes", "the document")))]
        scene = self._entry("scenes", self._document.get("scene", 0))
        found: list[tuple[int, NDArray[np.float64]]] = []
        waiting = [(node, np.eye(4), 0) for node in self._list(scene, "nodes", "the scene")]
        visited = 0
        while waiting:
            index, parent, depth = waiting.pop()
            visited += 1
            if visited > _MOST_NODES or depth > _DEEPEST:
                raise self.fault("nodes", f"at most {_MOST_NODES} nodes, {_DEEPEST} deep", "more, or a ring")
            node = self._entry("nodes", index, "the scene")
            matrix = parent @ self._node_matrix(index, node)
            if "mesh" in node:
                self._entry("meshes", node["mesh"], f"nodes[{index}]")
                found.append((node["mesh"], matrix))
            children = self._list(node, "children", f"nodes[{index}]")
            waiting += [(child, matrix, depth + 1) for child in children[:_MOST_NODES]]
        return found

    def _node_matrix(self, index: int, node: dict[str, Any]) -> NDArray[np.float64]:
        where = f"nodes[{index}]"
        if "matrix" in node:
            return self._numbers(where, node["matrix"], 16).reshape(4, 4).T
        x, y, z, w = self._numbers(where, node.get("rotation", [0, 0, 0, 1]), 4)
        matrix = np.eye(4)
        matrix[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
        matrix[:3, :3] *= self._numbers(where, node.get("scale", [1, 1, 1]), 3)
        matrix[:3, 3] = self._numbers(where, node.get("translation", [0, 0, 0]), 3)
        return matrix

    def _numbers(self, where: str, values: Any, count: int) -> NDArray[np.float64]:
        if not isinstance(values, list) or len(values) != count or not all(type(v) in (int, float) for v in values):
            raise self.fault(where, f"{count} numbers", values)
        numbers = np.array(values, np.float64)
        if not np.abs(numbers).max() < 1e15:
            raise self.fault(where, "numbers below 1e15", values)
        return numbers

    def _placement(self, matrix: NDArray[np.float64]) -> Placement | None:
        """The parts of a similarity; None for the identity, so that exact values stay exact."""
        if np.array_equal(matrix, np.eye(4)):
            return None
        linear = matrix[:3, :3]
        scale = float(np.cbrt(np.linalg.det(linear)))
        if not scale > 0 or not np.isfinite(matrix).all():
            raise self.fault("nodes", "a node that does not mirror its mesh", f"a determinant of {scale**3:g}")
        rotation = linear / scale
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > _TOLERANCE:
            raise self.fault("nodes", "a node that scales its mesh alike in all directions", linear.tolist())
        return rotation, scale, matrix[:3, 3]
