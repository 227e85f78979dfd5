"""Rows A10-A12, B4, C1, C3, C6 and C8, as the user meets them: what the commands say and what they leave behind."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutations import MEMORY_ABOVE_FILE, bounded_memory, peak_of
from tiny_scenes import SIZE, on_a_ring, png, points_of, some_points, write_scene
from toy import results

from gaussian_splatting import render, train
from gaussian_splatting.dataset import pictures as pictures_module
from gaussian_splatting.dataset.colmap.dataset import ColmapCameraDataset
from gaussian_splatting.dataset.colmap.model import read_points
from gaussian_splatting.dataset.extent import scene_extent_of
from gaussian_splatting.dataset.load import load_pictures
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.io.ply import read_gaussians, write_point_cloud

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 3


def run(scene: Path, out: Path, *flags: str, steps: int = STEPS) -> int:
    words = ["-s", str(scene), "-d", str(out), "-i", str(steps), "--sh_degree", "0", "--quiet", "--threads", "1"]
    return train.main([*words, *flags])


class Command:
    """Runs the train command, and knows what it said."""

    def __init__(self, capsys: Any, out: Path) -> None:
        self.capsys, self.out = capsys, out

    def trained(self, scene: Path, *flags: str, steps: int = STEPS) -> str:
        """Everything that a run said which completed with a finite result."""
        status = run(scene, self.out, *flags, steps=steps)
        said = self.capsys.readouterr()
        assert status == 0, said.err
        assert f"completed {steps} steps" in said.out
        assert "Traceback" not in said.err
        gaussians = read_gaussians(self.out / f"point_cloud/iteration_{steps}/point_cloud.ply")
        for name, values in vars(gaussians).items():
            assert np.isfinite(values).all(), name
        return said.out + said.err

    def refused(self, scene: Path, *flags: str, steps: int = STEPS) -> str:
        """The one error of a run that was refused; nothing is claimed."""
        assert run(scene, self.out, *flags, steps=steps) == 2
        said = self.capsys.readouterr()
        assert "completed" not in said.out
        assert "Traceback" not in said.err
        assert said.err.count("error: ") == 1, said.err
        return said.err[said.err.index("error: ") :]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    return Command(capsys, tmp_path / "run")


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


# C1


def test_missing_pictures_are_listed_and_left_out(command: Command, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene", centers=on_a_ring(20), missing=["0007.png"])
    said = command.trained(scene)
    assert "19 views of" in said
    assert f"1 of 20 pictures are not in {scene / 'images'}, left out: 0007.png" in said


def test_one_picture_of_twenty_is_enough(command: Command, tmp_path: Path) -> None:
    missing = [f"{index:04d}.png" for index in range(19)]
    said = command.trained(write_scene(tmp_path / "scene", centers=on_a_ring(20), missing=missing))
    assert "19 of 20 pictures are not in" in said
    assert "left out: 0000.png, 0001.png, 0002.png, 0003.png, 0004.png, …" in said


@pytest.mark.parametrize(("number", "flags"), [(20, []), (1, ["--strict"]), (19, ["--strict"]), (20, ["--strict"])])
def test_all_missing_or_strict_is_an_error(command: Command, tmp_path: Path, number: int, flags: list[str]) -> None:
    missing = [f"{index:04d}.png" for index in range(number)]
    message = command.refused(write_scene(tmp_path / "scene", centers=on_a_ring(20), missing=missing), *flags)
    assert f"{number} of the 20 pictures of the model are not there, 0000.png" in message
    assert not (command.out / "point_cloud").exists()


# C3


def declared(width: int, height: int) -> bytes:
    """A PNG of a few bytes that declares any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(65_535, 65_535), (50_000, 40_000), (14_204, 10_653)])
def test_a_picture_that_declares_too_much_is_refused_before_decoding(
    command: Command, tmp_path: Path, size: tuple[int, int]
) -> None:
    scene = write_scene(tmp_path / "scene", pictures={"0002.png": declared(*size)})
    with bounded_memory():
        message = command.refused(scene)
    assert "0002.png" in message
    assert f"--max_pixels {size[0] * size[1]}" in message


def test_a_decoder_that_trusts_the_header_needs_that_memory() -> None:
    """The control."""

    def trusting(data: bytes) -> object:
        width, height = struct.unpack(">II", data[16:24])
        return np.ones((height, width, 3), np.uint8)

    assert peak_of(trusting, declared(6000, 5000)) > MEMORY_ABOVE_FILE


def test_the_flag_that_the_message_names_lets_the_picture_pass(command: Command, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene")
    message = command.refused(scene, "--max_pixels", "191")
    assert "16 x 12 = 192 pixels, more than the limit of 191" in message
    cure = message.split("raise the limit with ")[1].split()
    assert cure == ["--max_pixels", "192"]
    shutil.rmtree(command.out, ignore_errors=True)
    command.trained(scene, *cure)
    assert render.main(["-d", str(command.out), "--max_pixels", "100", "--quiet", "--lpips", "none"]) == 2
    assert render.main(["-d", str(command.out), "--quiet", "--lpips", "none"]) == 0  # the limit of the run


def test_a_picture_of_one_pixel_is_a_picture(command: Command, tmp_path: Path) -> None:
    command.trained(write_scene(tmp_path / "scene", sizes=[(1, 1)] * 5))


# C6


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 000 pictures of seven sizes."""
    sizes = [(8 + index % 7, 6 + index % 7) for index in range(3000)]
    return write_scene(tmp_path_factory.mktemp("many"), centers=on_a_ring(3000), sizes=sizes)


def test_three_thousand_pictures_of_mixed_sizes_train(command: Command, many: Path) -> None:
    assert "3000 views of" in command.trained(many, "--mode", "densify", steps=20)


def test_each_has_its_own_size_and_lens(many: Path) -> None:
    dataset = ColmapCameraDataset(many)
    dataset.preload()
    for index in range(0, 3000, 101):
        camera = dataset[index]
        assert camera.ground_truth_image is not None
        width, height = 8 + index % 7, 6 + index % 7
        assert camera.ground_truth_image.shape == (3, height, width)
        assert camera.K[0, 0] == pytest.approx(1.1 * width, rel=1e-6)


def test_metrics_are_averaged_over_pictures_not_over_pixels(command: Command, tmp_path: Path) -> None:
    sizes = [(40, 30), (12, 14), (16, 16), (13, 40), (11, 11)]
    command.trained(write_scene(tmp_path / "scene", sizes=sizes))
    assert render.main(["-d", str(command.out), "--quiet", "--lpips", "none"]) == 0
    folder = command.out / f"ours_{STEPS}"
    views = json.loads((folder / "per_view.json").read_text())
    found = json.loads((folder / "results.json").read_text())
    each = [view["psnr"] for view in (views.values() if isinstance(views, dict) else views)]
    assert len(each) == 5
    assert found["psnr"] == pytest.approx(np.mean(each), rel=1e-6)


# C8


FAULTS: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:60]),
    "of another size": lambda path: path.write_bytes(png((8, 6))),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


class Meddler:
    """Does something when a view is decoded for the `number`-th time; nothing is kept in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[Path], object]) -> None:
        self.count = 0

        def load(view: Any, *rest: Any) -> Any:
            self.count += 1
            if self.count == number:
                act(view.image_path)
            return load_pictures(view, *rest)

        monkeypatch.setattr(pictures_module, "load_pictures", load)
        monkeypatch.setattr(pictures_module, "free_memory", lambda: 0)
        monkeypatch.setattr(pictures_module.PictureStore, "prefetch", lambda self, indices: None)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_picture_that_changes_during_training_is_named_and_nothing_is_lost(
    command: Command, tmp_path: Path, kind: str
) -> None:
    scene = write_scene(tmp_path / "scene")
    shutil.copytree(scene, tmp_path / "whole")
    flags = ("--checkpoint_interval", "2", "--seed", "3")
    with pytest.MonkeyPatch.context() as patch:
        Meddler(patch, 9, FAULTS[kind])
        message = command.refused(scene, *flags, steps=12)
    names = [path.name for path in (tmp_path / "whole/images").iterdir() if path.name in message]
    assert len(names) == 1, message
    assert not (command.out / "point_cloud/iteration_12").exists()
    kept = sorted((command.out / "checkpoints").glob("step_*.safetensors"))
    assert kept
    assert f". The last finished step is saved in {kept[-1]}." in message
    shutil.rmtree(scene)
    shutil.copytree(tmp_path / "whole", scene)
    command.trained(scene, *flags, steps=12)
    found = results(command.out)
    command.out = tmp_path / "undisturbed"
    command.trained(scene, *flags, steps=12)
    assert found == results(command.out)


def test_a_slow_disk_only_takes_time(command: Command, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene")
    command.trained(scene, steps=8)
    expected = results(command.out)
    command.out = tmp_path / "stalled"
    with pytest.MonkeyPatch.context() as patch:
        Meddler(patch, 4, lambda path: time.sleep(1))
        command.trained(scene, steps=8)
    assert results(command.out) == expected


def test_the_faults_would_be_seen(tmp_path: Path) -> None:
    """The control: a store that keeps what it decoded once would finish on the old pictures."""
    dataset = ColmapCameraDataset(write_scene(tmp_path / "scene"))
    dataset.preload()
    assert isinstance(GaussianModel(0), GaussianModel)
    shutil.rmtree(tmp_path / "scene/images")
    assert dataset[0].ground_truth_image is not None
    assert dataset[0].ground_truth_image.shape == (3, SIZE[1], SIZE[0])
