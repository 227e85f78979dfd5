"""Whole COLMAP models under the names of COLMAP's helper: what pycolmap wrote is read, and it reads what we write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: F401  pycolmap has to come after torch

from gaussian_splatting.dataset.colmap import read_write_model as rwm
from gaussian_splatting.errors import FormatError, SplatError

IMAGE, POINT = 3, 2**40 + 1


def small_model() -> rwm.Model:
    """Two cameras, two images, one of which saw nothing, and a point with a track."""
    cameras = {1: rwm.Camera(1, "PINHOLE", 40, 30, np.array([35.5, 36.25, 20.0, 15.0]))}
    cameras[7] = rwm.Camera(7, "SIMPLE_RADIAL", 64, 48, np.array([50.0, 32.0, 24.0, 0.01]))
    rotation = np.array([0.5, 0.5, -0.5, 0.5])
    seen = np.array([[1.5, 2.25], [30.125, 29.0]])
    images = {
        IMAGE: rwm.Image(IMAGE, rotation, np.array([0.1, -2.0, 3.0]), 7, "a b.jpg", seen, np.array([-1, POINT])),
        4: rwm.Image(4, np.array([1.0, 0, 0, 0]), np.zeros(3), 1, "sub/ü.png", np.zeros((0, 2)), np.zeros(0, np.int64)),
    }
    track = np.array([IMAGE], np.int32), np.array([1], np.int32)
    colour = np.array([255, 0, 9], np.uint8)
    return cameras, images, {POINT: rwm.Point3D(POINT, np.array([1.0, 1 / 3, -2e-9]), colour, 0.7, *track)}


def assert_equal_models(found: rwm.Model, expected: rwm.Model) -> None:
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other)
        for key, record in other.items():
            for field, value in record._asdict().items():
                assert np.array_equal(getattr(one[key], field), value), (key, field)


@pytest.mark.parametrize("extension", rwm.EXTENSIONS)
def test_what_is_written_reads_back_equal(tmp_path: Path, extension: str) -> None:
    rwm.write_model(*small_model(), tmp_path, extension)
    assert rwm.detect_model_format(tmp_path, extension)
    assert_equal_models(rwm.read_model(tmp_path), small_model())


@pytest.mark.parametrize("extension", rwm.EXTENSIONS)
@pytest.mark.parametrize("scene", ["fox_colmap", "sceaux_opencv"])
def test_real_models_survive_a_change_of_format(shared_data: Path, tmp_path: Path, scene: str, extension: str) -> None:
    model = rwm.read_model(shared_data / scene / "sparse" / "0")
    rwm.write_model(*model, tmp_path, extension)
    assert_equal_models(rwm.read_model(tmp_path, extension), model)
    if extension == ".bin":
        for name in rwm.NAMES:
            original = shared_data / scene / "sparse" / "0" / f"{name}.bin"
            if original.is_file():
                assert (tmp_path / f"{name}.bin").read_bytes() == original.read_bytes()


def test_pycolmap_reads_what_is_written(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    rwm.write_model(*small_model(), tmp_path)
    found = pycolmap.Reconstruction(str(tmp_path))
    assert found.images[IMAGE].name == "a b.jpg"
    assert found.images[IMAGE].points2D[1].point3D_id == POINT
    assert found.points3D[POINT].track.elements[0].image_id == IMAGE
    np.testing.assert_array_equal(found.points3D[POINT].xyz, [1.0, 1 / 3, -2e-9])


def test_rotations_go_there_and_back() -> None:
    image = small_model()[1][IMAGE]
    np.testing.assert_allclose(rwm.rotmat2qvec(image.qvec2rotmat()), image.qvec, atol=1e-12)


@pytest.mark.parametrize("name", ["images", "points3D"])
def test_files_that_were_cut_are_refused_at_every_byte(tmp_path: Path, name: str) -> None:
    rwm.write_model(*small_model(), tmp_path)
    path = tmp_path / f"{name}.bin"
    whole = path.read_bytes()
    read = rwm.read_images_binary if name == "images" else rwm.read_points3D_binary
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match="byte"):
            read(path)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("images", " -1 ", " -2 "),
        ("images", "1.5 2.25 -1", "1.5 nan -1"),
        ("points3D", f" {IMAGE} 1\n", f" {IMAGE}\n"),
        ("points3D", f" {IMAGE} 1\n", f" {IMAGE} x\n"),
    ],
)
def test_damaged_lines_are_named(tmp_path: Path, name: str, old: str, new: str) -> None:
    rwm.write_model(*small_model(), tmp_path, ".txt")
    path = tmp_path / f"{name}.txt"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(FormatError, match="line"):
        rwm.read_model(tmp_path)


def test_the_command_converts_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rwm.write_model(*small_model(), tmp_path / "in")
    assert rwm.main(["--input_model", str(tmp_path / "in"), "--output_model", str(tmp_path / "out")]) == 0
    assert "2 cameras, 2 images, 1 points" in capsys.readouterr().out
    assert_equal_models(rwm.read_model(tmp_path / "out", ".txt"), small_model())
    assert rwm.main(["--input_model", str(tmp_path)]) == 2
    assert "no COLMAP model" in capsys.readouterr().err


def test_an_unknown_extension_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SplatError, match=r"\.bin or \.txt"):
        rwm.write_model(*small_model(), tmp_path, ".ply")
