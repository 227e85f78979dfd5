"""The shipped scene is what its maker says, and the ray tracer behind it is right."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from demo_scene.cameras import NUM_VIEWS, View, camera_rig, look_at
from demo_scene.dataset import DEPTH_SCALE, make_dataset
from demo_scene.intersect import hit_solid, nearest, surface_at
from demo_scene.render import render_geometry, render_picture
from demo_scene.solids import BOX, CAPSULE, ELLIPSOID, FRUSTUM, TORUS
from demo_scene.still_life import build_scene, packed_scene
from PIL import Image

from gaussian_splatting.dataset.colmap.model import qvec2rotmat, read_model

SIZE_LIMIT = 2_000_000
VIEWS = camera_rig()
CHECKED = (0, 9, 21)


def stored(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def halved(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    return picture[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1).mean(axis=(1, 3))


@pytest.fixture(scope="module")
def truth(demo_scene: Path) -> dict:
    return json.loads((demo_scene / "truth" / "truth.json").read_text())


# The shipped files


def test_layout_is_complete_and_small(demo_scene: Path) -> None:
    files = {str(path.relative_to(demo_scene)) for path in demo_scene.rglob("*") if path.is_file()}
    stems = [f"view_{number:03d}" for number in range(NUM_VIEWS)]
    expected = {f"images/{stem}.jpg" for stem in stems} | {f"images/{stem}_mask.png" for stem in stems}
    expected |= {f"depths/{stem}.png" for stem in stems}
    expected |= {f"sparse/0/{name}.bin" for name in ("cameras", "images", "points3D")}
    expected |= {"truth/surface.npz", "truth/truth.json", "SOURCE.md"}
    assert files == expected
    assert sum((demo_scene / name).stat().st_size for name in files) <= SIZE_LIMIT


def test_model_holds_the_rig_that_took_the_pictures(demo_scene: Path) -> None:
    model = read_model(demo_scene / "sparse" / "0")
    camera = model.cameras[1]
    assert (camera.model, camera.width, camera.height) == ("PINHOLE", VIEWS[0].width, VIEWS[0].height)
    assert camera.params == (*VIEWS[0].focal, *VIEWS[0].principal)
    assert abs(camera.params[2] - camera.width / 2) > 2 and abs(camera.params[3] - camera.height / 2) > 2
    assert [image.name for image in model.images.values()] == [view.name for view in VIEWS]
    for image, view in zip(model.images.values(), VIEWS, strict=True):
        np.testing.assert_allclose(qvec2rotmat(image.qvec), view.camera_from_world[:, :3], atol=1e-12)
        np.testing.assert_allclose(image.tvec, view.camera_from_world[:, 3], atol=1e-12)


def test_held_out_views_lie_between_others_at_all_heights(truth: dict) -> None:
    angles = {view.name: math.atan2(-view.centre[0], view.centre[1]) for view in VIEWS}  # the gap of the sweep is at pi
    held_out = truth["pictures"]["hold_out"]
    assert held_out == [view.name for view in VIEWS[::8]]
    kept = [angle for name, angle in angles.items() if name not in held_out]
    for name in held_out:
        assert min(kept) < angles[name] < max(kept)
        assert min(abs(angles[name] - angle) for angle in kept) < math.radians(15.0)
    heights = [view.centre[2] for view in VIEWS if view.name in held_out]
    assert max(heights) - min(heights) > 0.8


@pytest.mark.parametrize("number", CHECKED)
def test_depth_maps_hold_scaled_inverse_depth(demo_scene: Path, truth: dict, number: int) -> None:
    values = stored(demo_scene / "depths" / f"view_{number:03d}.png")
    assert values.dtype == np.uint16 and truth["depth"]["scale"] == DEPTH_SCALE
    geometry = render_geometry(packed_scene(), VIEWS[number])
    expected = np.round(DEPTH_SCALE / geometry.depth)
    assert np.mean(values == expected) > 0.9999


@pytest.mark.parametrize("number", CHECKED)
def test_masks_keep_the_table_and_what_stands_on_it(demo_scene: Path, number: int) -> None:
    mask = stored(demo_scene / "images" / f"view_{number:03d}_mask.png")
    assert mask.ndim == 2 and set(np.unique(mask)) == {0, 255}
    geometry = render_geometry(packed_scene(), VIEWS[number])
    room = len(packed_scene().solids) - 1
    assert np.mean((mask == 255) == (geometry.solid != room)) > 0.9999
    assert 0.3 < np.mean(mask == 255) < 0.9


def test_sparse_points_lie_on_surfaces_that_two_views_see(demo_scene: Path, truth: dict) -> None:
    points = read_model(demo_scene / "sparse" / "0").points
    assert points is not None and 2500 <= len(points) == truth["num_sfm_points"]
    assert 0.1 < points.error.mean() < 1.0
    seen = np.zeros(len(points), dtype=int)
    for view in VIEWS:
        pixels, depth = view.project(points.xyz)
        column, row = np.floor(pixels).astype(int).T
        inside = (depth > 0) & (column >= 0) & (row >= 0) & (column < view.width) & (row < view.height)
        values = stored(demo_scene / "depths" / view.name.replace(".jpg", ".png"))[row[inside], column[inside]]
        seen[inside] += np.abs(DEPTH_SCALE / values - depth[inside]) < 0.02 * depth[inside]
    assert np.mean(seen >= 2) > 0.98


def test_true_surface_sample_lies_on_the_solids(demo_scene: Path) -> None:
    with np.load(demo_scene / "truth" / "surface.npz", allow_pickle=False) as archive:
        points, normals = archive["points"].astype(np.float64), archive["normals"].astype(np.float64)
    assert len(points) == len(normals) >= 2000
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=2e-3)
    scene = packed_scene()
    for point, normal in zip(points[::10], normals[::10], strict=True):
        start, direction = tuple(point + 1e-3 * normal), tuple(-normal / np.linalg.norm(normal))
        distance, _ = nearest(scene.solids, scene.nodes, start, direction, 0.1, False)
        assert distance == pytest.approx(1e-3, abs=2e-5)


@pytest.mark.parametrize("number", CHECKED[1:])
def test_the_tool_still_makes_the_shipped_pictures(demo_scene: Path, number: int) -> None:
    shipped = stored(demo_scene / "images" / VIEWS[number].name) / 255.0
    again = render_picture(packed_scene(), VIEWS[number], samples_per_side=3)
    error = np.mean((halved(again) - halved(shipped)) ** 2)
    assert -10.0 * np.log10(error) > 35.0


def test_pictures_are_well_exposed_and_crisp(demo_scene: Path) -> None:
    for view in VIEWS:
        picture = stored(demo_scene / "images" / view.name) / 255.0
        assert 0.3 < picture.mean() < 0.6
        assert np.mean(picture.max(axis=2) < 0.02) < 0.01
        assert np.mean(picture.min(axis=2) > 0.995) < 0.01
        assert np.abs(np.diff(picture.mean(axis=2), axis=1)).mean() > 0.02


# The tool


def test_threads_do_not_change_a_byte(tmp_path: Path) -> None:
    for threads in (1, 3):
        make_dataset(tmp_path / str(threads), 64, 1, 90, threads, lambda line: None)
    first, second = (sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in "13")
    assert [path.relative_to(tmp_path / "1") for path in first] == [path.relative_to(tmp_path / "3") for path in second]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(first, second, strict=True))


def test_other_sizes_show_the_same_view() -> None:
    small, large = camera_rig(90, 68)[4], camera_rig(360, 272)[4]
    depth = render_geometry(packed_scene(), small).depth
    columns, rows = np.array([20, 45, 70]), np.array([30, 40, 60])
    pixels = np.stack([columns, rows], axis=1) + 0.5
    points = small.unproject(pixels, depth[rows, columns])
    np.testing.assert_allclose(large.project(points)[0], 4.0 * pixels, atol=1e-9)


def test_unproject_inverts_project() -> None:
    pixels, depth = np.array([[3.0, 7.0], [200.0, 100.0]]), np.array([1.5, 4.0])
    again, distance = VIEWS[5].project(VIEWS[5].unproject(pixels, depth))
    np.testing.assert_allclose(again, pixels, atol=1e-9)
    np.testing.assert_allclose(distance, depth, atol=1e-12)


# The ray tracer


def implicit(kind: int, size: np.ndarray, p: np.ndarray) -> float:
    """A function whose zeros are the surface of a solid in local coordinates."""
    if kind == ELLIPSOID:
        return float(np.sqrt(np.sum((p / size[:3]) ** 2)) - 1.0)
    if kind == BOX:
        return float(np.max(np.abs(p) / size[:3]) - 1.0)
    rim = math.hypot(p[0], p[1])
    if kind == FRUSTUM:
        radius = 0.5 * (size[0] + size[1]) + 0.5 * (size[1] - size[0]) * p[2] / size[2]
        return max(rim - radius, abs(p[2]) - size[2])
    if kind == CAPSULE:
        return math.hypot(rim, p[2] - np.clip(p[2], -size[1], size[1])) - size[0]
    return math.hypot(rim - size[0], p[2]) - size[1]


SIZES = {
    ELLIPSOID: (0.5, 0.8, 0.3, 0.0),
    BOX: (0.5, 0.7, 0.4, 0.0),
    FRUSTUM: (0.6, 0.3, 0.5, 3.0),
    CAPSULE: (0.3, 0.6, 0.0, 0.0),
    TORUS: (0.6, 0.2, 0.0, 0.0),
}


@pytest.mark.parametrize("kind", SIZES)
def test_rays_stop_on_the_surface_and_the_normal_is_its_gradient(kind: int) -> None:
    rng = np.random.default_rng(kind)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    centre, size = np.array([0.2, -0.1, 0.3]), np.array(SIZES[kind])
    solid = np.concatenate([[kind], centre, turn.ravel(), size])
    hits = 0
    for _ in range(300):
        origin = centre + 3.0 * (away := rng.normal(size=3)) / np.linalg.norm(away)
        direction = centre + 0.5 * rng.normal(size=3) - origin
        direction /= np.linalg.norm(direction)
        distance = hit_solid(solid, tuple(origin), tuple(direction))
        reach = np.linspace(0.0, distance if math.isfinite(distance) else 6.0, 400)[:-1]
        along = (origin + reach[:, None] * direction - centre) @ turn.T
        assert min(implicit(kind, size, p) for p in along) > -1e-6, "the ray went through the solid"
        if math.isfinite(distance):
            hits += 1
            check_normal(kind, size, solid, origin + distance * direction, direction)
    assert hits > 100


def check_normal(kind: int, size: np.ndarray, solid: np.ndarray, point: np.ndarray, direction: np.ndarray) -> None:
    turn = solid[4:13].reshape(3, 3)
    local = turn @ (point - solid[1:4])
    assert abs(implicit(kind, size, local)) < 1e-6
    normal = turn @ np.array(surface_at(solid, tuple(point), tuple(direction))[1])
    assert np.dot(turn.T @ normal, direction) < 0.0
    step = 1e-6
    gradient = np.array(
        [(implicit(kind, size, local + step * e) - implicit(kind, size, local - step * e)) for e in np.eye(3)]
    )
    near_edge = np.sort(np.abs(local / size[:3]))[1] > 0.999 if kind == BOX else False
    rim = abs(math.hypot(local[0], local[1]) - np.interp(local[2], [-size[2], size[2]], size[:2])) < 1e-3
    if not near_edge and not (kind == FRUSTUM and rim and abs(local[2]) > size[2] - 1e-3):
        np.testing.assert_allclose(normal, gradient / np.linalg.norm(gradient), atol=1e-4)


def test_the_tree_finds_what_a_search_of_all_solids_finds() -> None:
    scene, rng = packed_scene(), np.random.default_rng(3)
    for _ in range(200):
        origin = tuple(rng.uniform([-1.5, -1.5, -0.5], [1.5, 1.5, 2.5]))
        direction = rng.normal(size=3)
        direction = tuple(direction / np.linalg.norm(direction))
        distances = [hit_solid(solid, origin, direction) for solid in scene.solids[:-1]]
        found, index = nearest(scene.solids, scene.nodes, origin, direction, math.inf, False)
        assert found == min(distances)
        assert index == -1 or distances[index] == found


def test_a_camera_above_the_table_sees_its_top_at_the_true_depth() -> None:
    eye = np.array([0.3, -1.15, 2.0])
    straight_down = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    pose = np.concatenate([straight_down, -straight_down @ eye[:, None]], axis=1)
    geometry = render_geometry(packed_scene(), View("above", 9, 9, (400.0, 400.0), (4.5, 4.5), pose))
    np.testing.assert_allclose(geometry.depth, 2.0, atol=1e-12)
    np.testing.assert_allclose(geometry.normal, np.broadcast_to([0.0, 0.0, 1.0], (9, 9, 3)), atol=1e-12)


def test_look_at_is_a_rotation_that_faces_the_target() -> None:
    pose = look_at(np.array([2.0, 1.0, 1.5]), np.array([0.1, 0.0, 0.2]), roll_degrees=10.0)
    np.testing.assert_allclose(pose[:, :3] @ pose[:, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:, :3]) == pytest.approx(1.0)
    local = pose[:, :3] @ [0.1, 0.0, 0.2] + pose[:, 3]
    np.testing.assert_allclose(local[:2], 0.0, atol=1e-12)
    assert local[2] > 0


def test_every_solid_stands_inside_the_room() -> None:
    scene = build_scene()
    low, high = scene.room.bounds()
    for solid in scene.solids:
        bottom, top = solid.bounds()
        assert np.all(bottom > low - 1e-9) and np.all(top < high)


# Structure from motion


@pytest.mark.slow
def test_structure_from_motion_recovers_the_rig(demo_scene: Path, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    names = [view.name for view in VIEWS]
    options = pycolmap.FeatureExtractionOptions()
    options.num_threads = 2
    pycolmap.extract_features(
        tmp_path / "database.db",
        demo_scene / "images",
        image_names=names,
        camera_mode=pycolmap.CameraMode.SINGLE,
        extraction_options=options,
    )
    pycolmap.match_exhaustive(tmp_path / "database.db")
    models = pycolmap.incremental_mapping(tmp_path / "database.db", demo_scene / "images", tmp_path)
    model = max(models.values(), key=lambda candidate: candidate.num_reg_images())
    assert model.num_reg_images() >= 0.9 * NUM_VIEWS
    assert model.compute_mean_reprojection_error() < 1.0
    images = {image.name: image for image in model.images.values() if image.has_pose}
    found = np.array([images[name].projection_center() for name in names if name in images])
    true = np.array([view.centre for view in VIEWS if view.name in images])
    assert aligned_error(found, true) < 0.02


def aligned_error(found: np.ndarray, true: np.ndarray) -> float:
    """Root mean square distance after the best similarity transform (Umeyama, PAMI 1991)."""
    a, b = found - found.mean(axis=0), true - true.mean(axis=0)
    u, stretch, vt = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (stretch * signs).sum() / (a**2).sum()
    return float(np.sqrt(np.mean(np.sum((scale * a @ (u * signs @ vt).T - b) ** 2, axis=1))))
