"""COLMAP models: real ones against pycolmap, written ones, and the search for the model folder."""

from __future__ import annotations

import ast
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from gaussian_splatting.dataset.colmap import camera_models
from gaussian_splatting.dataset.colmap.model import (
    CAMERA_MODELS,
    ColmapCamera,
    ColmapImage,
    ColmapModel,
    ColmapPoints,
    count_images,
    find_model,
    qvec2rotmat,
    read_cameras,
    read_images,
    read_model,
    read_points,
    rotmat2qvec,
    unsupported_model_error,
    write_model,
)
from gaussian_splatting.errors import FormatError, SceneError
from gaussian_splatting.io.ply import write_point_cloud

SCENES = {  # folder: cameras, images, points, model
    "fox_colmap/sparse/0": (1, 50, 10979, "PINHOLE"),
    "banana/sparse/0": (1, 14, 7234, "PINHOLE"),
    "banana/distorted/sparse/0": (1, 14, 7234, "OPENCV"),
    "kermit_raw/sparse/0": (1, 11, 647, "PINHOLE"),
    "lightfield_depth/sparse/0": (9, 9, 10423, "SIMPLE_PINHOLE"),
    "sceaux_opencv/sparse/0": (1, 11, 7529, "OPENCV"),
}


def small_model(number: int = 3) -> ColmapModel:
    cameras = {
        4: ColmapCamera(4, "PINHOLE", 640, 480, (500.25, 501.0, 320.0, 0.1 + 0.2)),
        2: ColmapCamera(2, "OPENCV", 100, 50, (80.0, 81.0, 50.0, 25.0, -0.1, 0.01, 1e-5, -1e-300)),
    }
    names = ["b c.jpg", "sub/a.png", " é 日本\u2028.jpg ", "d.jpg", "e.jpg", "f.jpg"][:number]
    images = {
        9 - index: ColmapImage(9 - index, (0.5, -0.5, 0.5, 0.5), (1 / 3, -2e-17, 1e20), 4 if index else 2, name)
        for index, name in enumerate(names)
    }
    xyz = np.array([[1 / 3, 2.0, -3.0], [1e-310, 1e300, 0.0]])
    points = ColmapPoints(
        np.array([2**64 - 2, 1], np.uint64), xyz, np.array([[1, 2, 3], [255, 0, 9]], np.uint8), np.array([0.1, -1.0])
    )
    return ColmapModel(cameras, images, points)


def assert_equal(found: ColmapModel, expected: ColmapModel) -> None:
    assert list(found.cameras.items()) == list(expected.cameras.items())
    assert list(found.images.items()) == list(expected.images.items())
    assert found.points is not None
    assert expected.points is not None
    for field in ("ids", "xyz", "rgb", "error"):
        first, second = getattr(found.points, field), getattr(expected.points, field)
        assert first.dtype == second.dtype
        assert np.array_equal(first, second)


# Real models


@pytest.mark.parametrize("scene", SCENES)
def test_real_models_hold_what_their_authors_counted(shared_data: Path, scene: str) -> None:
    model = read_model(shared_data / scene)
    assert model.points is not None
    cameras = {camera.model for camera in model.cameras.values()}
    assert (len(model.cameras), len(model.images), len(model.points), *cameras) == SCENES[scene]
    assert count_images(shared_data / scene) == len(model.images)


@pytest.mark.parametrize("scene", SCENES)
def test_real_models_are_read_as_pycolmap_reads_them(shared_data: Path, scene: str) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    model, reference = read_model(shared_data / scene), pycolmap.Reconstruction(str(shared_data / scene))
    assert set(model.cameras) == set(reference.cameras)
    assert set(model.images) == set(reference.images)
    for number, camera in model.cameras.items():
        other = reference.cameras[number]
        assert (camera.model, camera.width, camera.height) == (other.model.name, other.width, other.height)
        assert np.array_equal(camera.params, other.params)
    for number, image in model.images.items():
        other = reference.images[number]
        pose = other.cam_from_world()
        assert (image.name, image.camera_id) == (other.name, other.camera_id)
        assert np.abs(qvec2rotmat(image.qvec) - pose.rotation.matrix()).max() < 1e-12
        assert np.array_equal(image.tvec, pose.translation)
    assert model.points is not None
    assert set(model.points.ids.tolist()) == set(reference.points3D)
    for index, number in enumerate(model.points.ids.tolist()):
        other = reference.points3D[number]
        assert np.array_equal(model.points.xyz[index], other.xyz)
        assert np.array_equal(model.points.rgb[index], other.color)
        assert model.points.error[index] == other.error


def test_fifty_images_and_eleven_thousand_points_take_a_fifth_of_a_second(shared_data: Path) -> None:
    def seconds() -> float:
        begin = time.process_time()
        read_model(shared_data / "fox_colmap" / "sparse" / "0")
        return time.process_time() - begin

    assert min(seconds() for _ in range(3)) < 0.2


def test_nothing_depends_on_pycolmap() -> None:
    for path in Path(camera_models.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            module = node.module if isinstance(node, ast.ImportFrom) else None
            assert "pycolmap" not in {*names, module}, path


def test_the_camera_models_are_those_of_pycolmap() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    known = {name: int(number) for name, number in pycolmap.CameraModelId.__members__.items() if int(number) >= 0}
    if len(known) < len(CAMERA_MODELS):
        pytest.skip(f"this pycolmap knows only {len(known)} camera models")
    assert {model.name: model.id for model in CAMERA_MODELS} == known
    for model in CAMERA_MODELS:
        camera = pycolmap.Camera.create_from_model_name(1, model.name, 500.0, 640, 480)
        assert tuple(camera.params_info.replace(" ", "").split(",")) == model.parameters


# Writing


@pytest.mark.parametrize("extension", [".bin", ".txt"])
def test_what_is_written_reads_back_equal(tmp_path: Path, extension) -> None:
    write_model(tmp_path / "new", small_model(), extension=extension)
    assert_equal(read_model(tmp_path / "new"), small_model())
    first = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    write_model(tmp_path / "new", read_model(tmp_path / "new"), extension=extension)
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == first


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("extension", [".bin", ".txt"])
def test_real_models_survive_both_formats(shared_data: Path, tmp_path: Path, scene: str, extension) -> None:
    model = read_model(shared_data / scene)
    write_model(tmp_path, model, extension=extension)
    assert_equal(read_model(tmp_path), model)


@pytest.mark.parametrize("extension", [".bin", ".txt"])
def test_pycolmap_reads_what_is_written(shared_data: Path, tmp_path: Path, extension) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    model = read_model(shared_data / "fox_colmap/sparse/0")
    write_model(tmp_path, model, extension=extension)
    reference = pycolmap.Reconstruction(str(tmp_path))
    assert (len(reference.cameras), len(reference.images), len(reference.points3D)) == (1, 50, 10979)
    image = next(iter(model.images.values()))
    assert np.array_equal(reference.images[image.id].cam_from_world().translation, image.tvec)


def test_a_model_without_points_is_written_and_read(tmp_path: Path) -> None:
    model = small_model()
    write_model(tmp_path, ColmapModel(model.cameras, model.images))
    points = read_model(tmp_path).points
    assert points is not None
    assert len(points) == 0
    (tmp_path / "points3D.bin").unlink()
    assert read_model(tmp_path).points is None


def test_a_name_with_a_line_break_is_not_written_as_text(tmp_path: Path) -> None:
    model = small_model(1)
    images = {9: ColmapImage(9, (1, 0, 0, 0), (0, 0, 0), 4, "a\nb")}
    with pytest.raises(ValueError, match="control character"):
        write_model(tmp_path, ColmapModel(model.cameras, images), extension=".txt")


# Points


def test_points_of_a_ply_come_first(tmp_path: Path) -> None:
    write_model(tmp_path, small_model())
    write_point_cloud(tmp_path / "points3D.ply", np.array([[1.0, 2.0, 3.0]]), np.array([[7, 8, 9]], np.uint8))
    points = read_points(tmp_path)
    assert points is not None
    assert (points.ids.tolist(), points.xyz.tolist(), points.rgb.tolist()) == ([1], [[1, 2, 3]], [[7, 8, 9]])
    assert points.error.tolist() == [-1]
    write_point_cloud(tmp_path / "points3D.ply", np.array([[1.0, 2.0, 3.0]]))
    points = read_points(tmp_path)
    assert points is not None
    assert points.rgb.tolist() == [[128, 128, 128]]


def test_a_damaged_ply_is_an_error_although_the_bin_is_there(tmp_path: Path) -> None:
    write_model(tmp_path, small_model())
    (tmp_path / "points3D.ply").write_bytes(b"plx")
    with pytest.raises(FormatError, match="points3D.ply: line 1 of the PLY header"):
        read_points(tmp_path)


def test_points_can_be_left_unread(tmp_path: Path) -> None:
    write_model(tmp_path, small_model())
    (tmp_path / "points3D.bin").write_bytes(b"damaged")
    assert read_model(tmp_path, with_points=False).points is None


# Rotations


def test_rotations_and_quaternions_agree() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        qvec = random.standard_normal(4)
        qvec *= np.sign(qvec[0]) / np.linalg.norm(qvec)
        rotation = qvec2rotmat(qvec)
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-14)
        assert np.isclose(np.linalg.det(rotation), 1)
        assert np.allclose(rotmat2qvec(rotation), qvec, atol=1e-12)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    half = np.sqrt(0.5)
    assert np.allclose(qvec2rotmat((half, 0, 0, half)) @ [1, 0, 0], [0, 1, 0])
    assert np.allclose(rotmat2qvec(np.diag([1.0, -1.0, -1.0])), [0, 1, 0, 0]) or np.allclose(
        rotmat2qvec(np.diag([1.0, -1.0, -1.0])), [0, -1, 0, 0]
    )


# A6: finding the model


def test_the_usual_folder_is_found(tmp_path: Path) -> None:
    write_model(tmp_path / "sparse" / "0", small_model())
    assert find_model(tmp_path) == tmp_path / "sparse" / "0"


def test_a_model_directly_in_sparse_is_found(tmp_path: Path) -> None:
    write_model(tmp_path / "sparse", small_model(), extension=".txt")
    assert find_model(tmp_path) == tmp_path / "sparse"


def test_a_single_model_with_another_number_is_found(tmp_path: Path) -> None:
    write_model(tmp_path / "sparse" / "3", small_model())
    (tmp_path / "sparse" / "0").mkdir()
    assert find_model(tmp_path) == tmp_path / "sparse" / "3"


@pytest.mark.parametrize("extension", [".bin", ".txt"])
def test_of_several_models_the_largest_is_taken_and_said(tmp_path: Path, extension) -> None:
    for number, size in enumerate((1, 3, 2)):
        write_model(tmp_path / "sparse" / str(number), small_model(size), extension=extension)
    with pytest.warns(UserWarning) as caught:
        assert find_model(tmp_path) == tmp_path / "sparse" / "1"
    sparse = tmp_path / "sparse"
    assert str(caught[0].message) == (
        f"{sparse}: several models (registered images): {sparse}/0 (1), {sparse}/1 (3), {sparse}/2 (2); "
        f"using {sparse}/1, the largest"
    )


def test_of_equally_large_models_the_first_is_taken(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        write_model(tmp_path / "sparse" / str(number), small_model())
    with pytest.warns(UserWarning, match="sparse/0, the largest"):
        assert find_model(tmp_path) == tmp_path / "sparse" / "0"


def test_images_are_counted_without_their_observations(tmp_path: Path) -> None:
    write_model(tmp_path, small_model(), extension=".txt")
    lines = (tmp_path / "images.txt").read_text().split("\n")
    (tmp_path / "images.txt").write_text(
        "\n\n# comment\n" + "\n".join(lines[:3]) + "\n1 2 3\n\n# another\n" + "\n".join(lines[4:])
    )
    assert count_images(tmp_path) == len(read_images(tmp_path)) == 3


@pytest.mark.parametrize(
    ("make", "found", "cure"),
    [
        (lambda scene: None, "nothing", "reconstruct the scene with COLMAP first"),
        (lambda scene: (scene / "sparse").mkdir(), "nothing", "reconstruct the scene"),
        (lambda scene: (scene / "sparse" / "0").mkdir(parents=True), "0", "reconstruct the scene"),
        (lambda scene: write_model(scene, small_model()), "cameras.bin", "there is a model in {scene}: move it"),
        (
            lambda scene: write_model(scene / "colmap/sparse/0", small_model()),
            "colmap",
            "there is a model in {scene}/colmap/sparse/0: move it",
        ),
        (
            lambda scene: write_model(scene / "distorted/sparse/0", small_model()),
            "distorted",
            "move it to {scene}/sparse/0, after colmap image_undistorter",
        ),
    ],
)
def test_without_a_model_the_message_says_where_it_looked_and_what_it_found(
    tmp_path: Path, make, found: str, cure: str
) -> None:
    make(tmp_path)
    with pytest.raises(SceneError) as caught:
        find_model(tmp_path)
    message = str(caught.value)
    assert f"looked for images.bin or images.txt in {tmp_path}/sparse/0, in {tmp_path}/sparse and in" in message
    assert f"holds {found}" in message
    assert cure.format(scene=tmp_path) in message


def test_a_scene_that_does_not_exist_is_said_to(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="holds nothing .the folder does not exist"):
        find_model(tmp_path / "absent")


def test_half_a_model_is_not_completed_from_another(tmp_path: Path) -> None:
    write_model(tmp_path, small_model(), extension=".txt")
    write_model(tmp_path, small_model(), extension=".bin")
    (tmp_path / "cameras.bin").unlink()
    with pytest.raises(
        SceneError, match="images.bin is there but cameras.bin is not; found cameras.txt, images.bin, .* remove"
    ):
        read_model(tmp_path)


def test_rigs_and_frames_are_ignored(tmp_path: Path) -> None:
    write_model(tmp_path, small_model())
    for name in ("rigs.bin", "frames.bin", "project.ini", "database.db"):
        (tmp_path / name).write_bytes(b"\xff" * 100)
    assert_equal(read_model(tmp_path), small_model())


# A5


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
@pytest.mark.parametrize("damage", [b"", b"\xff" * 100])
def test_a_damaged_binary_file_is_an_error_although_the_text_file_is_there(
    tmp_path: Path, name: str, damage: bytes
) -> None:
    for extension in (".bin", ".txt"):
        write_model(tmp_path, small_model(), extension=extension)
    (tmp_path / f"{name}.bin").write_bytes(damage)
    with pytest.raises(FormatError, match=rf"{name}\.bin: byte 0: expected"):
        read_model(tmp_path)


def test_a_reader_that_falls_back_fails_the_same_test(tmp_path: Path) -> None:
    def falling_back(folder: Path) -> object:
        try:
            return read_cameras(folder)
        except FormatError:
            (folder / "cameras.bin").unlink()
            (folder / "images.bin").unlink()
            return read_cameras(folder)

    for extension in (".bin", ".txt"):
        write_model(tmp_path, small_model(), extension=extension)
    (tmp_path / "cameras.bin").write_bytes(b"")
    falling_back(shutil.copytree(tmp_path, tmp_path / "copy"))  # silently: exactly what must not happen
    with pytest.raises(FormatError):
        read_cameras(tmp_path)


def test_the_error_about_a_camera_model_names_the_commands(tmp_path: Path) -> None:
    message = str(unsupported_model_error(tmp_path / "sparse" / "0", 3, "OPENCV_FISHEYE"))
    assert "camera 3 has the model OPENCV_FISHEYE" in message
    assert f"colmap image_undistorter --image_path {tmp_path}/images --input_path {tmp_path}/sparse/0" in message
    assert "colmap feature_extractor" in message
    assert "--ImageReader.camera_model PINHOLE" in message
