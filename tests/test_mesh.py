"""Meshes: the surface of known Gaussians comes out, whole, coloured, and readable by other programs."""

from __future__ import annotations

import importlib.util
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from gaussian_splatting import mesh, open3d_library, surface_fusion
from gaussian_splatting.errors import SplatError
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.geometry.sh import RGB2SH
from gaussian_splatting.io.mesh_files import Mesh, linear_colors, write_mesh
from gaussian_splatting.io.ply import read_ply
from gaussian_splatting.prepare import prepare_dataset

BLUE = (0.2, 0.4, 0.8)
EXTENT = 3.68  # of the demo scene, as training says


def surfels(points: np.ndarray, normals: np.ndarray, size: float) -> GaussianModel:
    """An opaque blue disc at every point of a surface."""
    other = np.where(np.abs(normals[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    first = np.cross(normals, other)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    from scipy.spatial.transform import Rotation

    turned = Rotation.from_matrix(np.stack([first, np.cross(normals, first), normals], axis=2)).as_quat()
    model = GaussianModel(0, backend="cpu").create_from_pcd(torch.from_numpy(points), torch.zeros(len(points), 3))
    with torch.no_grad():
        model._rotation.copy_(torch.from_numpy(np.roll(turned, 1, axis=1)))
        model._scaling.copy_(torch.tensor([size, size, size / 20]).log().expand(len(points), 3))
        model._features_dc[:, 0] = RGB2SH(torch.tensor(BLUE))
        model._opacity.fill_(6.0)
    return model


@pytest.fixture(scope="module")
def truth(demo_scene: Path) -> np.ndarray:
    with np.load(demo_scene / "truth" / "surface.npz") as stored:
        return np.concatenate((stored["points"], stored["normals"].astype(np.float32)), axis=1)


@pytest.fixture(scope="module")
def splat(truth: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The true surface of the table of the demo scene and what stands on it, as Gaussians."""
    path = tmp_path_factory.mktemp("mesh") / "table.ply"
    normals = truth[:, 3:] / np.linalg.norm(truth[:, 3:], axis=1, keepdims=True)
    surfels(truth[:, :3], normals, 0.035).save_ply(path)
    return path


@pytest.fixture(scope="module")
def made(splat: Path, demo_scene: Path) -> Path:
    if importlib.util.find_spec("open3d") is None:
        pytest.skip("meshes need open3d, which is not installed")
    path = splat.with_name("mesh.ply")
    flags = ["--splat", str(splat), "-s", str(demo_scene), "-r", "2", "--voxel_size", "0.02", "--min_views", "2"]
    assert mesh.main([*flags, "--output", str(path), "--quiet", "--backend", "cpu"]) == 0
    return path


def test_the_true_surface_of_the_demo_is_covered(made: Path, truth: np.ndarray) -> None:
    rows = read_ply(made)["vertex"]
    vertices = np.stack([rows[name] for name in "xyz"], axis=1)
    assert np.mean(cKDTree(vertices).query(truth[:, :3])[0] <= 0.02 * EXTENT) >= 0.95
    assert np.mean(cKDTree(truth[:, :3]).query(vertices)[0] <= 0.04 * EXTENT) >= 0.95


def test_a_surface_counts_once_as_many_views_as_asked_have_seen_it(made: Path, demo_scene: Path) -> None:
    camera = prepare_dataset(demo_scene, load_mask=False, load_depth=False, resolution=4).geometry(0)
    shape = (camera.image_height, camera.image_width)
    view = surface_fusion.DepthView(camera, np.zeros((*shape, 3), np.float32), np.full(shape, 2, np.float32))
    settings = surface_fusion.FusionSettings(0.05, 0.25, 4.0)
    assert len(surface_fusion.fuse([view, view], settings, min_views=2)) > 1000
    with pytest.raises(SplatError, match=r"no surface is seen by 3 views in voxels of .*another --voxel_size"):
        surface_fusion.fuse([view, view], settings, min_views=3)


def test_the_mesh_has_the_colour_of_the_gaussians(made: Path) -> None:
    rows = read_ply(made)["vertex"]
    found = np.median(np.stack([rows[name] for name in ("red", "green", "blue")], axis=1), axis=0)
    np.testing.assert_allclose(found / 255, BLUE, atol=0.03)


def test_a_mesh_that_is_there_is_kept(made: Path, splat: Path, demo_scene: Path, capsys) -> None:
    before = made.read_bytes()
    assert mesh.main(["--splat", str(splat), "-s", str(demo_scene), "--output", str(made)]) == 2
    assert "is there already; give --overwrite" in capsys.readouterr().err
    assert made.read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--splat", "a.ply", "-s", "x"], "give --output FILE.ply or FILE.glb too"),
        (["--splat", "a.ply", "-s", "x", "--output", "a.obj"], "the name is of no mesh format"),
        (["--splat", "a.ply", "-s", "x", "--output", "a.ply", "--voxel_size", "0"], "0 is not a positive number"),
        (["--output", "a.ply"], "one of the arguments -d/--destination --splat is required"),
    ],
)
def test_flags_that_make_no_sense_are_refused(flags: list[str], message: str, capsys) -> None:
    assert mesh.main(flags) == 2
    assert message in capsys.readouterr().err


def test_without_open3d_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open3d_library.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SplatError, match=r"pip install \"gaussian-splatting-anywhere\[mesh\]\""):
        open3d_library.open3d_library()


def test_an_open3d_that_cannot_be_loaded_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("libX11.so.6: cannot open shared object file")

    monkeypatch.setattr(open3d_library.importlib.util, "find_spec", lambda name: "there")
    monkeypatch.setattr(open3d_library.importlib, "import_module", broken)
    with pytest.raises(SplatError, match=r"cannot be loaded: libX11.*apt-get install"):
        open3d_library.open3d_library()


# Without Open3D


def test_a_view_that_shows_a_speck_of_the_surface_is_no_error(demo_scene: Path) -> None:
    """Open3D looks at every fourth pixel, and raises where none of these has a depth."""
    camera = prepare_dataset(demo_scene, resolution=8).geometry(0)
    shape = (camera.image_height, camera.image_width)
    wall, speck = np.full(shape, 2.0, np.float32), np.zeros(shape, np.float32)
    speck[5:7, 5:7] = 2.0
    settings = surface_fusion.FusionSettings(0.1, 0.5, 4.0)

    def fused(*depths: np.ndarray) -> Mesh:
        views = (surface_fusion.DepthView(camera, np.ones((*shape, 3), np.float32), depth) for depth in depths)
        return surface_fusion.fuse(views, settings, min_views=1)

    assert len(fused(wall, speck).vertices) == len(fused(wall).vertices) > 0


def square(offset: float = 0.0) -> Mesh:
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32) + np.float32(offset)
    normals = np.tile(np.array([0, 0, 1], np.float32), (4, 1))
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Mesh(corners, normals, np.full((4, 3), (255, 128, 0), np.uint8), faces)


def two(first: Mesh, second: Mesh) -> Mesh:
    faces = np.concatenate((first.faces, second.faces + len(first.vertices)))
    pairs = ((getattr(first, name), getattr(second, name)) for name in ("vertices", "normals", "colors"))
    return Mesh(*(np.concatenate(pair) for pair in pairs), faces)


def test_small_pieces_are_dropped_and_their_vertices_too() -> None:
    small = square(5.0).with_faces(np.array([True, False]))
    found, dropped = surface_fusion.without_fragments(two(small, square()), 0.6)
    assert (len(found.vertices), len(found), dropped) == (4, 2, 1)
    np.testing.assert_array_equal(found.vertices, square().vertices)
    assert surface_fusion.without_fragments(two(small, square()), 0.0)[1] == 0


def test_other_programs_read_our_ply(tmp_path: Path) -> None:
    plyfile = pytest.importorskip("plyfile")
    write_mesh(tmp_path / "a.ply", square())
    found = plyfile.PlyData.read(str(tmp_path / "a.ply"))
    np.testing.assert_array_equal(np.stack(found["face"]["vertex_indices"]), square().faces)
    np.testing.assert_array_equal(found["vertex"]["red"], [255] * 4)
    np.testing.assert_array_equal(found["vertex"]["y"], square().vertices[:, 1])


def test_a_glb_is_turned_upright_and_has_linear_colours(tmp_path: Path) -> None:
    write_mesh(tmp_path / "a.glb", square())
    content = (tmp_path / "a.glb").read_bytes()
    magic, version, total, size, kind = struct.unpack_from("<4sIII4s", content)
    document = json.loads(content[20 : 20 + size])
    assert (magic, version, total, kind) == (b"glTF", 2, len(content), b"JSON")
    binary = content[28 + size :]
    views = document["bufferViews"]
    corners = np.frombuffer(binary, "<f4", 12, views[0]["byteOffset"]).reshape(4, 3)
    np.testing.assert_array_equal(corners, square().vertices * (-1, -1, 1))
    colors = np.frombuffer(binary, "<u2", 16, views[2]["byteOffset"]).reshape(4, 4) / 65535
    np.testing.assert_allclose(colors[0], (1, 0.2158605, 0, 1), atol=1e-4)
    assert document["buffers"][0]["byteLength"] == len(binary)


def test_linear_colours_show_as_they_were() -> None:
    every = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    linear = linear_colors(every)[:, 0] / 65535
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_array_equal(np.rint(shown * 255), np.arange(256))


def test_an_empty_mesh_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(SplatError, match="has no triangles"):
        write_mesh(tmp_path / "a.ply", square().with_faces(np.zeros(2, bool)))


def test_voxels_grow_until_they_fit_into_memory(demo_scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).uniform(-10, 10, (5000, 3))
    monkeypatch.setattr(surface_fusion.environment, "available_memory", lambda: 100_000_000)
    voxel = surface_fusion._affordable(0.001, points)
    assert surface_fusion.num_blocks(points, voxel) * surface_fusion.BYTES_PER_BLOCK <= 50_000_000
    assert surface_fusion.num_blocks(points, voxel / 1.25) * surface_fusion.BYTES_PER_BLOCK > 50_000_000


def test_default_settings_follow_the_scene(splat: Path, demo_scene: Path) -> None:
    cameras = prepare_dataset(demo_scene, load_mask=False, load_depth=False, resolution=2)
    model = GaussianModel(0, backend="cpu").load_ply(splat)
    geometry = [cameras.geometry(index) for index in range(4)]
    found = surface_fusion.default_settings(model, geometry)
    assert 3 < found.depth_max < 6  # the cameras stand about 3 units away
    assert 0.5 < found.voxel_size / (3 / float(geometry[0].K[0, 0])) < 2
    assert found.truncation == pytest.approx(5 * found.voxel_size)
    given = surface_fusion.default_settings(model, geometry, voxel_size=0.5, truncation=1.0, depth_max=9.0)
    assert given == surface_fusion.FusionSettings(0.5, 1.0, 9.0)
