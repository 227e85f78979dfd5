"""Rows A10-A12 and B4, as the user meets them: odd cameras, points and places, what is said and what is left behind."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutations import MEMORY_ABOVE_FILE, bounded_memory
from tiny_scenes import on_a_ring, points_of, some_points, write_scene
from train_command import Command

from gaussian_splatting.dataset.colmap.model import read_points
from gaussian_splatting.dataset.extent import scene_extent_of
from gaussian_splatting.io.ply import write_point_cloud

pytestmark = pytest.mark.usefixtures("one_thread")


def extent_said(text: str) -> float:
    return float(text.split("extent ")[1].partition(";")[0])


# A10


@pytest.mark.parametrize("far", [(3e6, 0, 0), (-2e6, 2e6, 1e6), (0, 0, 4e7)], ids=str)
def test_a_stray_camera_is_named_and_does_not_stretch_the_scene(command: Command, tmp_path: Path, far: tuple) -> None:
    centers = on_a_ring(6)
    plain = extent_said(command.trained(write_scene(tmp_path / "plain", centers=centers)))
    shutil.rmtree(command.out)
    strayed = write_scene(tmp_path / "stray", centers=np.concatenate([centers, [far]]))
    said = command.trained(strayed)
    assert "1 of 7 cameras lie more than 1000 times the usual distance away" in said
    assert "left out of the scene extent: 0006.png; check their poses" in said
    assert extent_said(said) == pytest.approx(plain, rel=0.2)


def test_an_extent_without_that_care_would_be_a_million_times_larger() -> None:
    """The control."""
    centers = np.concatenate([on_a_ring(6), [[3e6, 0, 0]]])
    careless = 1.1 * np.linalg.norm(centers - centers.mean(axis=0), axis=1).max()
    with pytest.warns(UserWarning, match="left out of the scene extent: 6"):
        assert careless > 1e5 * scene_extent_of(centers)


# A11


FEW_CAMERAS: dict[str, Callable[[], dict[str, Any]]] = {
    "one": lambda: {"centers": on_a_ring(1)},
    "two": lambda: {"centers": on_a_ring(2)},
    "all at one place": lambda: {"centers": np.ones((4, 3)) * 2, "targets": on_a_ring(4)},
    "all the same": lambda: {"centers": np.ones((3, 3)) * 2},
    "on a line": lambda: {"centers": np.stack([np.arange(1.0, 6), np.zeros(5), np.zeros(5)], -1)},
    "at one place without points": lambda: {"centers": np.ones((3, 3)) * 2, "points": points_of([])},
}


@pytest.mark.parametrize("kind", FEW_CAMERAS)
def test_few_or_flat_cameras_train(command: Command, tmp_path: Path, kind: str) -> None:
    said = command.trained(write_scene(tmp_path / "scene", **FEW_CAMERAS[kind]()), "--mode", "densify", steps=50)
    assert 0 < extent_said(said) < 100
    if kind not in ("two", "on a line"):
        assert "cameras stay at one place" in said


def test_no_camera_is_refused(command: Command, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene", centers=np.zeros((0, 3)))
    assert "the model has no registered images; reconstruct the scene again" in command.refused(scene)


# A12


NOT_FINITE = np.concatenate([some_points(20).xyz, [[np.nan, 0, 0], [0, np.inf, 0], [0, 0, -np.inf]]])
POINTS: dict[str, tuple[Callable[[], Any], str]] = {
    "none": (lambda: points_of([]), "0 sparse points in 0 places, too few to start from; starting from 20000 random"),
    "one": (lambda: points_of([0, 0, 0]), "1 sparse points in 1 places, too few to start from"),
    "three": (lambda: points_of(np.eye(3)), "3 sparse points in 3 places, too few"),
    "coincident": (lambda: points_of(np.ones((30, 3))), "30 sparse points in 1 places, too few"),
    "coincident in part": (lambda: points_of(np.repeat(some_points(6).xyz, 5, axis=0)), "30 Gaussians"),
    "black": (lambda: points_of(some_points().xyz, np.zeros((30, 3), np.uint8)), "30 Gaussians"),
    "very far": (lambda: points_of(np.concatenate([some_points().xyz, [[1e30, 0, 0]]])), "31 Gaussians"),
    "not finite": (lambda: points_of(NOT_FINITE), "3 of 23 points are not finite"),
}


@pytest.mark.parametrize("kind", POINTS)
def test_any_points_are_a_start(command: Command, tmp_path: Path, kind: str) -> None:
    points, stated = POINTS[kind]
    said = command.trained(write_scene(tmp_path / "scene", points=points()))
    assert stated in said


def test_missing_points_are_a_stated_random_start(command: Command, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene")
    (scene / "sparse/0/points3D.bin").unlink()
    assert "starting from 20000 random points (seed 0)" in command.trained(scene)


def test_points_without_colours_are_grey(command: Command, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene")
    write_point_cloud(scene / "sparse/0/points3D.ply", some_points().xyz)
    assert "30 Gaussians" in command.trained(scene)


@pytest.mark.slow
def test_ten_million_points_are_read_within_their_size(tmp_path: Path) -> None:
    rows = np.zeros(10**7, [("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("track", "<u8")])
    rows["id"] = np.arange(10**7)
    rows["xyz"] = np.arange(10**7)[:, None]
    (tmp_path / "points3D.bin").write_bytes(struct.pack("<Q", 10**7) + rows.tobytes())
    size = (tmp_path / "points3D.bin").stat().st_size
    del rows
    values, places = 10**7 * (8 + 24 + 3 + 8), 10**7 * (8 + 8)  # what is returned; where each begins, and ids in order
    with bounded_memory(size + values + places + MEMORY_ABOVE_FILE):
        points = read_points(tmp_path)
    assert points is not None
    assert len(points) == 10**7
    assert sum(array.nbytes for array in (points.ids, points.xyz, points.rgb, points.error)) == values


# B4


def places_to_write(tmp_path: Path) -> dict[str, tuple[Path, bool]]:
    """Run folders by what is odd about them, and whether they can be written."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    return {
        "no parent": (tmp_path / "a/b/c/run", True),
        "a file": (tmp_path / "file", False),
        "below a file": (tmp_path / "file/run", False),
        "read-only": (Path("/proc/run"), False),
        "a loop of links": (tmp_path / "loop/run", False),
        "a long name": (tmp_path / ("x" * 300), False),
        "a path of 4000 bytes": (tmp_path.joinpath(*["y" * 100] * 45), False),
        "another device": (Path(f"/dev/shm/run-{os.getpid()}-ü é"), Path("/dev/shm").is_dir()),
    }


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_folder_that_cannot_be_written_is_refused_before_training(command: Command, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene")
    for kind, (place, writable) in places_to_write(tmp_path).items():
        command.out = place
        try:
            if writable:
                command.trained(scene)
                continue
            started = time.process_time()
            message = command.refused(scene)
            assert str(place)[:50] in message, (kind, message)
            assert time.process_time() - started < 2, kind
        finally:
            if kind == "another device":
                shutil.rmtree(place, ignore_errors=True)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locales")
def test_names_outside_ascii_survive_the_plainest_locale(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scène 日本", names=["é 1.png", "猫.png", "🦊.png"], centers=on_a_ring(3))
    plain = {"LC_ALL": "C", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "NUMBA_CACHE_DIR")}
    words = ["-s", str(scene), "-d", str(tmp_path / "ausgeführt"), "-i", "2", "--sh_degree", "0", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "gaussian_splatting.train", *words], env=kept | plain, capture_output=True, check=False,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    cameras = json.loads((tmp_path / "ausgeführt/cameras.json").read_text("utf-8"))
    assert sorted(camera["img_name"] for camera in cameras) == sorted(["é 1.png", "猫.png", "🦊.png"])
