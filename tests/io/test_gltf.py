"""glTF: attributes, nodes, and documents that do not fit."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from splat_samples import covariances, paired, some_splats

from gaussian_splatting.errors import FormatError
from gaussian_splatting.io.gltf import parse_glb, write_glb
from gaussian_splatting.io.reader import Reader
from gaussian_splatting.io.rigid_motion import moved

K = "KHR_gaussian_splatting"


def opened(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def closed(document: dict[str, Any], binary: bytes) -> Reader:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    size = 28 + len(text) + len(binary)
    head = struct.pack("<4sIIII", b"glTF", 2, size, len(text), 0x4E4F534A)
    return Reader(head + text + struct.pack("<II", len(binary), 0x004E4942) + binary, "a.glb")


def test_attributes_are_what_the_extension_says(tmp_path: Path) -> None:
    gaussians = some_splats(20, 2)
    write_glb(tmp_path / "a.glb", gaussians)
    document, binary = opened(tmp_path / "a.glb")
    primitive = document["meshes"][0]["primitives"][0]

    def attribute(name: str, width: int) -> np.ndarray:
        view = document["bufferViews"][document["accessors"][primitive["attributes"][name]]["bufferView"]]
        start = view["byteOffset"]
        return np.frombuffer(binary[start : start + view["byteLength"]], "<f4").reshape(-1, width)

    assert primitive["mode"] == 0 and document["extensionsUsed"] == [K]
    np.testing.assert_array_equal(attribute("POSITION", 3), gaussians.xyz * (-1, -1, 1))  # left, up, forward
    np.testing.assert_allclose(attribute(f"{K}:SCALE", 3), np.exp(gaussians.scaling), rtol=1e-6)
    np.testing.assert_allclose(attribute(f"{K}:OPACITY", 1), 1 / (1 + np.exp(-gaussians.opacity)), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(attribute(f"{K}:ROTATION", 4), axis=1), 1, rtol=1e-6)
    # Degree 1 is (-y, z, -x): y and x are reversed.
    signs = (-1, 1, -1)
    for index in range(3):
        found = attribute(f"{K}:SH_DEGREE_1_COEF_{index}", 3)
        np.testing.assert_array_equal(found, gaussians.features_rest[:, index] * signs[index])
    bounds = document["accessors"][primitive["attributes"]["POSITION"]]
    np.testing.assert_array_equal(bounds["min"], attribute("POSITION", 3).min(axis=0))


def test_nodes_place_their_meshes(tmp_path: Path) -> None:
    gaussians = some_splats(20, 2)
    write_glb(tmp_path / "a.glb", gaussians)
    document, binary = opened(tmp_path / "a.glb")
    half = np.sqrt(0.5)
    document["nodes"] = [
        {"children": [1], "translation": [1, 2, 3]},
        {"mesh": 0, "rotation": [0, half, 0, half], "scale": [2, 2, 2]},
    ]
    found = parse_glb(closed(document, binary)).gaussians
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], float)
    flip = np.diag([-1.0, -1, 1])
    expected = moved(gaussians, flip @ turn @ flip, 2.0, flip @ [1, 2, 3])
    found = paired(expected, found)
    np.testing.assert_allclose(found.xyz, expected.xyz, atol=1e-5)
    np.testing.assert_allclose(found.features_rest, expected.features_rest, atol=1e-5)
    np.testing.assert_allclose(covariances(found), covariances(expected), rtol=1e-3, atol=1e-5)


def test_small_integers_are_read_as_the_accessor_says(tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb", some_splats(4, 0))
    document, binary = opened(tmp_path / "a.glb")
    start = len(binary)
    binary += np.array([0, 85, 170, 255], "u1").tobytes()
    document["bufferViews"].append({"buffer": 0, "byteOffset": start, "byteLength": 4})
    document["accessors"].append({
        "bufferView": len(document["bufferViews"]) - 1, "componentType": 5121, "normalized": True, "count": 4,
        "type": "SCALAR",
    })  # fmt: skip
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    attributes[f"{K}:OPACITY"] = len(document["accessors"]) - 1
    opacity = 1 / (1 + np.exp(-parse_glb(closed(document, binary)).gaussians.opacity[:, 0]))
    np.testing.assert_allclose(opacity, [0, 1 / 3, 2 / 3, 1], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["meshes"][0]["primitives"][0].pop("extensions"), "no primitive in its scene has KHR_gauss"),
        (
            lambda d: d["accessors"][0].update(count=10**9),
            r"POSITION: expected 12000000000 bytes for 1000000000 values",
        ),
        (lambda d: d["accessors"][0].update(count=3), "ROTATION: expected 3 values, as many as positions"),
        (lambda d: d["bufferViews"][0].update(byteOffset=-4), "a whole number 'byteOffset' of at least 0"),
        (lambda d: d["bufferViews"][0].update(buffer=1), "a view of the binary chunk"),
        (lambda d: d["nodes"][0].update(scale=[1, 2, 1]), "scales its mesh alike in all directions"),
        (lambda d: d["nodes"][0].update(scale=[-1, 1, 1]), "does not mirror its mesh"),
        (lambda d: d["nodes"][0].update(children=[0]), "4096 nodes, 64 deep, found more, or a ring"),
        (lambda d: d["scenes"][0].update(nodes=[7]), "an entry of 'nodes'"),
        (
            lambda d: d["meshes"][0]["primitives"][0]["extensions"][K].update(extensions={"KHR_spz": {}}),
            "splats that are not compressed, found KHR_spz",
        ),
        (
            lambda d: d["meshes"][0]["primitives"][0]["attributes"].pop(f"{K}:SH_DEGREE_1_COEF_2"),
            "SH_DEGREE_1_COEF_2: expected an entry of 'accessors'",
        ),
    ],
)
def test_documents_that_do_not_fit_are_refused(tmp_path: Path, change, message: str) -> None:
    write_glb(tmp_path / "a.glb", some_splats(4, 1))
    document, binary = opened(tmp_path / "a.glb")
    change(document)
    with pytest.raises(FormatError, match=message):
        parse_glb(closed(document, binary))
