"""What goes wrong for users ends in one clear line and status 2, or in a stated fallback; told by its text."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from gaussian_splatting import train


@pytest.fixture
def scene(tmp_path, demo_scene) -> Path:
    """A copy of the shipped scene that a test may damage."""
    folder = tmp_path / "scene"
    shutil.copytree(demo_scene, folder, ignore=shutil.ignore_patterns("truth"))
    return folder


def run(scene: Path, out: Path, *flags: str) -> int:
    return train.main(["-s", str(scene), "-d", str(out), "-i", "3", "--quiet", "-r", "4", *flags])


def refused(capsys, scene: Path, out: Path, *flags: str) -> str:
    """The one error of a refused run; nothing may be claimed complete."""
    assert run(scene, out, *flags) == 2
    captured = capsys.readouterr()
    assert "completed" not in captured.out
    assert "Traceback" not in captured.err
    assert captured.err.count("error: ") == 1, captured.err
    return captured.err[captured.err.index("error: ") :]


def warned(capsys, scene: Path, out: Path, *flags: str) -> str:
    """Everything said by a run that completes."""
    status = run(scene, out, *flags)
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert "completed 3 steps" in captured.out
    return captured.out + captured.err


def test_no_scene(capsys, tmp_path):
    message = refused(capsys, tmp_path / "nowhere", tmp_path / "out")
    assert str(tmp_path / "nowhere") in message


def test_wrong_folder_lists_what_is_there(capsys, tmp_path, scene):
    message = refused(capsys, scene / "images", tmp_path / "out")
    assert "sparse" in message


def test_no_images(capsys, tmp_path, scene):
    shutil.rmtree(scene / "images")
    assert "images" in refused(capsys, scene, tmp_path / "out")


def test_a_missing_image_is_named_and_skipped(capsys, tmp_path, scene):
    (scene / "images" / "view_003.jpg").unlink()
    assert "view_003.jpg" in warned(capsys, scene, tmp_path / "out")


def test_no_points_trains_from_a_stated_random_start(capsys, tmp_path, scene):
    for path in (scene / "sparse" / "0").glob("points3D*"):
        path.unlink()
    said = warned(capsys, scene, tmp_path / "out")
    assert "random" in said


def test_one_camera_trains(capsys, tmp_path, scene):
    for path in sorted((scene / "images").glob("view_*.jpg"))[1:]:
        path.unlink()
    warned(capsys, scene, tmp_path / "out")


def test_a_corrupt_model_names_file_and_offset(capsys, tmp_path, scene):
    path = scene / "sparse" / "0" / "images.bin"
    path.write_bytes(path.read_bytes()[:-7])
    message = refused(capsys, scene, tmp_path / "out")
    assert "images.bin" in message and "byte" in message


def test_a_truncated_image_is_named(capsys, tmp_path, scene):
    path = scene / "images" / "view_002.jpg"
    path.write_bytes(path.read_bytes()[:3000])
    assert "view_002.jpg" in refused(capsys, scene, tmp_path / "out", "--eval")


def test_an_unsupported_camera_names_the_cure(capsys, tmp_path, scene):
    model = scene / "sparse" / "0"
    for name in ("cameras", "images", "points3D"):
        (model / f"{name}.bin").unlink()
    (model / "cameras.txt").write_text("1 RAD_TAN_THIN_PRISM_FISHEYE 360 270 300 300 180 135" + 12 * " 0.1" + "\n")
    (model / "images.txt").write_text("1 1 0 0 0 0 0 3 1 view_000.jpg\n\n")
    (model / "points3D.txt").write_text("1 0 0 0 1 2 3 0.5\n")
    message = refused(capsys, scene, tmp_path / "out")
    assert "RAD_TAN_THIN_PRISM_FISHEYE" in message and "colmap image_undistorter" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_output(capsys, tmp_path, scene):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert str(locked) in refused(capsys, scene, locked / "out")


def test_an_output_that_is_a_file(capsys, tmp_path, scene):
    (tmp_path / "out").write_text("mine")
    message = refused(capsys, scene, tmp_path / "out")
    assert str(tmp_path / "out") in message
    assert (tmp_path / "out").read_text() == "mine"


def test_a_mask_of_the_wrong_shape(capsys, tmp_path, scene):
    import cv2

    cv2.imwrite(str(scene / "images" / "view_001_mask.png"), np.full((90, 300), 255, np.uint8))
    message = refused(capsys, scene, tmp_path / "out")
    assert "view_001_mask.png" in message


def test_a_depth_map_of_another_size_is_resized_and_said(capsys, tmp_path, scene):
    import cv2

    depth = cv2.imread(str(scene / "depths" / "view_001.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(scene / "depths" / "view_001.png"), depth[::2, ::2])
    warned(capsys, scene, tmp_path / "out")


def test_a_misspelt_option_names_the_nearest(capsys, tmp_path, scene):
    message = refused(capsys, scene, tmp_path / "out", "-o", "densify_grad_treshold=1", "--mode", "densify")
    assert "densify_grad_threshold" in message


def test_a_value_of_the_wrong_type_is_refused_and_nothing_runs(capsys, tmp_path, scene):
    attack = f"__import__('os').system('touch {tmp_path}/x')"
    message = refused(capsys, scene, tmp_path / "out", "-o", f"feature_lr={attack}")
    assert "expected a number" in message
    assert not (tmp_path / "x").exists()


def test_an_option_of_another_mode_is_refused(capsys, tmp_path, scene):
    message = refused(capsys, scene, tmp_path / "out", "--densify_interval", "50", "--mode", "nodepth-base")
    assert "BaseSHLiftTrainer (--mode nodepth-base) has no option 'densify_interval'" in message
