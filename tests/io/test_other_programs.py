"""What other programs make of our files: splat-transform and the validator of Khronos, from npm, under node.

Run with `-m slow`, and `SPLAT_TOOLS` naming a folder in which
`npm install @playcanvas/splat-transform@2.7.1 gltf-validator` was run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from splat_samples import angle_error, colour_error, covariances, opacity_error, position_error, some_splats

from gaussian_splatting.io.formats import read_splats, write_splats
from gaussian_splatting.io.ply import GaussianArrays, read_gaussians, read_ply

pytestmark = pytest.mark.slow

VALIDATE = (
    "const v = require('gltf-validator'), fs = require('fs');"
    "v.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])), {maxIssues: 1000})"
    ".then((report) => console.log(JSON.stringify(report.issues.messages)));"
)


@pytest.fixture(scope="module")
def tools() -> Path:
    folder = Path(os.environ.get("SPLAT_TOOLS", "no folder"), "node_modules")
    if shutil.which("node") is None or not folder.is_dir():
        pytest.skip("node is missing, or SPLAT_TOOLS names no folder with splat-transform and gltf-validator")
    return folder


def transformed(tools: Path, source: Path, target: Path) -> Path:
    program = tools / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"
    subprocess.run(["node", program, "-w", source, target], check=True, capture_output=True, timeout=120)
    return target


def read_theirs(path: Path) -> GaussianArrays:
    """Their PLY; an opacity of 1 is infinite there, and of a millionth less here."""
    rows = read_ply(path)["vertex"].copy()
    rows["opacity"] = np.clip(rows["opacity"], -13.815, 13.815)
    from gaussian_splatting.io.ply import write_ply

    write_ply(path, {"vertex": rows})
    return read_gaussians(path)


def assert_same(expected: GaussianArrays, found: GaussianArrays) -> None:
    assert len(expected) == len(found)
    assert position_error(expected, found) < 1e-6
    assert colour_error(expected, found) < 1e-5
    assert opacity_error(expected, found) < 1e-4
    assert angle_error(expected, found) < 0.02  # of two readings of .splat's bytes
    np.testing.assert_allclose(found.scaling, expected.scaling, atol=1e-4)
    np.testing.assert_allclose(found.features_rest, expected.features_rest, atol=1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.splat", "a.spz", "a.sog", "folder/meta.json"])
def test_what_we_write_they_read_alike(tools: Path, tmp_path: Path, name: str, degree: int) -> None:
    write_splats(tmp_path / name, some_splats(2000, degree))
    theirs = transformed(tools, tmp_path / name, tmp_path / "theirs.ply")
    assert_same(read_theirs(theirs), read_splats(tmp_path / name).gaussians)


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.spz", "a.glb"])
def test_what_they_write_we_read_alike(tools: Path, tmp_path: Path, name: str) -> None:
    gaussians = some_splats(2000, 3)
    write_splats(tmp_path / "ours.ply", gaussians)
    found = read_splats(transformed(tools, tmp_path / "ours.ply", tmp_path / name)).gaussians
    if name == "a.glb":  # exact, but for quaternions: theirs turn where ours are conjugated, which means the same
        np.testing.assert_array_equal(found.xyz, gaussians.xyz)
        np.testing.assert_array_equal(found.features_rest, gaussians.features_rest)
        np.testing.assert_allclose(covariances(found), covariances(gaussians), rtol=1e-3, atol=1e-5)
        return
    assert_same(read_theirs(transformed(tools, tmp_path / name, tmp_path / "theirs.ply")), found)


@pytest.mark.parametrize(
    "name",
    ["biker.compressed.ply", "biker.sog", "biker_v3.spz", "minimal.splat", "minimal.ksplat", "minimal-v2.spz",
     "minimal-v3.spz", "playbot_lod4_l1_sh1.ksplat", "playbot_lod4_sog/meta.json", "playbot_lod4.ply",
     "train-1000.ply"],
        # Exact, but for quaternions: theirs turn where ours are conjugated, which means the same.
)  # fmt: skip
def test_real_files_are_read_alike(tools: Path, shared_data: Path, tmp_path: Path, name: str) -> None:
    source = shared_data / "splats" / name
    assert_same(read_theirs(transformed(tools, source, tmp_path / "theirs.ply")), read_splats(source).gaussians)


def test_the_validator_finds_no_fault_but_the_extension_it_does_not_know(tools: Path, tmp_path: Path) -> None:
    write_splats(tmp_path / "a.glb", some_splats(100, 3))
    result = subprocess.run(
        ["node", "-e", VALIDATE, tmp_path / "a.glb"], check=True, capture_output=True, text=True, cwd=tools.parent,
        timeout=120,
    )  # fmt: skip
    for issue in json.loads(result.stdout):
        assert issue["code"] in ("UNSUPPORTED_EXTENSION", "MESH_PRIMITIVE_INVALID_ATTRIBUTE", "UNUSED_OBJECT"), issue
        assert "KHR_gaussian_splatting" in issue["pointer"] + issue["message"], issue
