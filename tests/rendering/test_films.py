"""Films of runs and of splat files: `render --path`, `--video` and `--pictures`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_run import HEIGHT, WIDTH, make_run, ring_cameras, splat

from gaussian_splatting import render, video
from gaussian_splatting.cli.film_command import LOOK_NAMES, PATH_NAMES
from gaussian_splatting.errors import SceneError, SplatError
from gaussian_splatting.rendering import films
from gaussian_splatting.rendering.camera_path_file import CameraPath, write_camera_path
from gaussian_splatting.rendering.films import film_names, plan_film, write_films
from gaussian_splatting.rendering.looks import LOOKS
from gaussian_splatting.rendering.picture_files import decode_picture
from gaussian_splatting.runs.folder import RunFolder

needs_ffmpeg = pytest.mark.skipif(video.find_ffmpeg() is None, reason="MP4 videos need ffmpeg, from the extra 'video'")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    make_run(folder, eval=True)
    return folder


@pytest.fixture
def run(finished, tmp_path) -> RunFolder:
    shutil.copytree(finished / "run", tmp_path / "run")
    return RunFolder(tmp_path / "run")


def command(run: RunFolder | Path, *flags: str) -> int:
    return render.main(["-d", str(run), "--backend", "reference", "--device", "cpu", "--quiet", *flags])


def num_frames(path: Path) -> tuple[int, float, tuple[int, int]]:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    return count, capture.get(cv2.CAP_PROP_FPS), size


def test_the_names_of_the_flags_are_those_of_the_library():
    from gaussian_splatting.rendering.camera_paths import PATHS

    assert set(PATH_NAMES) == set(PATHS)
    assert LOOK_NAMES == LOOKS


@needs_ffmpeg
@pytest.mark.parametrize("path", PATH_NAMES)
def test_a_film_along_every_path(run, path, capsys):
    assert command(run.path, "--path", path, "--frames", "3", "--fps", "12") == 0
    assert num_frames(run.path / f"{path}_30.mp4") == (3, 12, (WIDTH, HEIGHT))
    assert "3 frames in" in capsys.readouterr().out


@needs_ffmpeg
def test_every_look_has_its_film_of_the_wanted_size(run):
    output = run.path / "a.mp4"
    flags = ["--path", "orbit", "--video", str(output), "--looks", "color,depth,normal", "-r", "64x30", "--frames", "2"]
    assert command(run.path, *flags) == 0
    for name in ("a.mp4", "a_depth.mp4", "a_normal.mp4"):
        assert num_frames(run.path / name) == (2, 30, (64, 30))


@needs_ffmpeg
@pytest.mark.parametrize(("split", "count"), [("test", 2), ("train", 7), ("all", 9)])
def test_a_film_of_the_views_of_a_split(run, split, count):
    assert command(run.path, "--split", split, "--video", str(run.path / "v.mp4")) == 0
    assert num_frames(run.path / "v.mp4")[0] == count


def test_a_path_of_the_viewer_as_pictures(run, tmp_path):
    keys = tuple(ring_cameras(4, height=0.5))
    write_camera_path(tmp_path / "flight.json", CameraPath(keys, seconds=0.5, fps=10))
    folder = tmp_path / "frames"
    assert command(run.path, "--path", str(tmp_path / "flight.json"), "--pictures", str(folder)) == 0
    assert sorted(path.name for path in folder.glob("*.png")) == [f"{index:05d}.png" for index in range(5)]
    model = splat()
    expected = films.picture_of(model(keys[0]), keys[0], "color")
    assert np.abs(decode_picture(folder / "00000.png").astype(int) - expected).max() <= 1
    assert command(run.path, "--path", str(folder / "cameras.json"), "--pictures", str(tmp_path / "again")) == 0
    for index in range(5):
        first, again = (decode_picture(place / f"{index:05d}.png") for place in (folder, tmp_path / "again"))
        assert np.abs(first.astype(int) - again).max() <= 1
    assert len(json.loads((folder / "cameras.json").read_text())) == 5


def test_a_splat_file_needs_no_scene(tmp_path):
    splat().save_ply(tmp_path / "a.ply")
    flags = ["--path", "orbit", "--frames", "2", "-r", "32x24", "--pictures", str(tmp_path / "frames")]
    assert command(tmp_path / "a.ply", *flags) == 0
    first, second = (decode_picture(tmp_path / "frames" / f"{index:05d}.png") for index in range(2))
    assert first.shape == (24, 32, 3)
    assert first[12, 16].max() > 0  # the splat is in the middle of the picture
    assert not np.array_equal(first, second)


def test_a_splat_file_has_no_views_and_no_iterations(tmp_path, capsys):
    splat().save_ply(tmp_path / "a.ply")
    assert command(tmp_path / "a.ply") == 2
    assert "a.ply: a file, and only the folder of a run has views to compare" in capsys.readouterr().err
    assert command(tmp_path / "a.ply", "--path", "orbit", "-i", "5") == 2
    assert "a splat file has no iterations; leave -i out" in capsys.readouterr().err


def test_nothing_is_replaced_unasked(run, capsys):
    (run.path / "orbit_30.mp4").write_bytes(b"old")
    assert command(run.path, "--path", "orbit") == 2
    assert "orbit_30.mp4: is there already; give --overwrite" in capsys.readouterr().err
    (run.path / "frames").mkdir()
    assert command(run.path, "--path", "orbit", "--pictures", str(run.path / "frames")) == 2
    assert "frames: is there already" in capsys.readouterr().err
    assert (run.path / "orbit_30.mp4").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--path", "square"], "--path 'square': use one of orbit, spiral, interpolate, or a .json file"),
        (["--path", "none.json"], "none.json: cannot be read"),
        (["--frames", "3"], "--frames, --fps and --looks are for films"),
        (["--looks", "depth,heat", "--path", "orbit"], "heat: use some of color, depth, alpha, normal"),
        (["-r", "64x48"], "WIDTHxHEIGHT is for films"),
        (["-r", "64x0", "--path", "orbit"], "each side must be from 1 to"),
        (["-r", "axb", "--path", "orbit"], "invalid resolution_or_size value"),
        (["--path", "orbit", "--video", "a.mp4", "--pictures", "b"], "exclude each other"),
        (["--path", "orbit", "--video", "a.gif"], "a.gif: the name is of no film; use one that ends with .mp4"),
        (["--video", "a.mp4", "--frames", "3"], "--frames is for --path"),
    ],
)
def test_what_makes_no_sense_is_refused(run, flags, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert command(run.path, *flags) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_frames_of_different_sizes_are_no_film():
    first, second = ring_cameras(2)
    cameras = [first, films.resized(second, 20, 20)]
    with pytest.raises(SceneError, match="give one for all: --resolution"):
        plan_film(None, cameras)
    assert len(plan_film(None, cameras, size=(8, 8)).cameras) == 2


@needs_ffmpeg
def test_an_error_leaves_no_film(tmp_path):
    calls = []

    def failing(camera):
        calls.append(camera)
        if len(calls) == 3:
            raise SplatError("the renderer failed")
        return splat()(camera)

    outputs = film_names(tmp_path / "a.mp4", ["color", "alpha"])
    with pytest.raises(SplatError, match="the renderer failed"):
        write_films(failing, plan_film(None, ring_cameras(5)), outputs)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@needs_ffmpeg
def test_an_encoder_that_fails_ends_the_film(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "find_ffmpeg", lambda: "/bin/false")
    with pytest.raises(SplatError, match="ffmpeg gave up"):
        write_films(splat(), plan_film(None, ring_cameras(9)), film_names(tmp_path / "a.mp4", ["color", "alpha"]))
