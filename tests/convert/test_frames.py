"""Frames of films: how many, the sharpest of each stretch, and films that cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from photo_sets import textured
from PIL import Image

from gaussian_splatting.convert import frames
from gaussian_splatting.convert.frames import Film, chosen_frames, frame_count, open_film, sharpness, take_frames
from gaussian_splatting.convert.options import ConvertOptions
from gaussian_splatting.convert.sources import find_sources
from gaussian_splatting.errors import SceneError
from gaussian_splatting.video import find_ffmpeg, write_video

needs_ffmpeg = pytest.mark.skipif(find_ffmpeg() is None, reason="films need ffmpeg, from the extra 'video'")
WIDE = textured(400, 96)


def shot(number: int, blur: int = 0) -> np.ndarray:
    """A frame [96, 128, 3] of a camera that pans over a wall."""
    picture = np.ascontiguousarray(WIDE[:, number * 4 : number * 4 + 128])
    return cv2.blur(picture, (blur, blur)) if blur else picture


@pytest.fixture
def film(tmp_path) -> Path:
    """Twenty-four frames of which every fourth is sharp."""
    return write_video(tmp_path / "walk.mp4", (shot(n, 0 if n % 4 == 1 else 7) for n in range(24)), 12)


@pytest.mark.parametrize(
    ("num_frames", "rate", "wanted"),
    [(300, 30, 40), (3000, 30, 200), (30_000, 30, 300), (25, 30, 25), (900, 0, 60), (1, 30, 1)],
)
def test_the_count_follows_from_the_length(num_frames, rate, wanted):
    assert frame_count(num_frames, rate) == wanted


def test_blur_is_less_sharp_and_brightness_is_not_sharpness():
    assert sharpness(shot(3)) > 3 * sharpness(shot(3, 5))
    dark = (shot(3) * 0.5).astype(np.uint8)
    assert sharpness(dark) == pytest.approx(sharpness(shot(3)), rel=0.1)


@needs_ffmpeg
def test_the_sharpest_frame_of_each_stretch_is_taken(film, tmp_path):
    ticks: list[tuple[int, int]] = []
    options = ConvertOptions(frames=6)
    intake = take_frames(find_sources(film), tmp_path / "out", options, lambda done, total: ticks.append((done, total)))
    assert [picture.name for picture in intake.pictures] == [f"frame_{n:05d}.jpg" for n in range(1, 7)]
    for number, picture in enumerate(intake.pictures):
        pixels = np.asarray(Image.open(tmp_path / "out" / picture.file), float)
        errors = [np.abs(pixels - shot(n, 0 if n % 4 == 1 else 7)).mean() for n in range(24)]
        assert int(np.argmin(errors)) == 4 * number + 1
    assert ticks[-1] == (24, 24)
    assert len({picture.camera for picture in intake.pictures}) == 1


@needs_ffmpeg
def test_several_films_get_folders_and_cameras_of_their_own(film, tmp_path):
    (tmp_path / "films").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "films" / name).write_bytes(film.read_bytes())
    intake = take_frames(find_sources(tmp_path / "films"), tmp_path / "out", ConvertOptions(frames=3), lambda *_: None)
    assert [picture.name for picture in intake.pictures][::3] == ["a/frame_00001.jpg", "b/frame_00001.jpg"]
    assert len({picture.camera for picture in intake.pictures}) == 2


@needs_ffmpeg
def test_imageio_ffmpeg_reads_what_opencv_cannot(film, monkeypatch):
    wanted = list(open_film(film).read())

    class Blind:
        def __init__(self, path: str) -> None:
            pass

        def isOpened(self) -> bool:
            return False

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Blind)
    found = open_film(film)
    assert found.num_frames == 24
    for frame, other in zip(found.read(), wanted, strict=True):
        assert np.abs(frame.astype(int) - other).mean() < 2


@needs_ffmpeg
def test_a_film_that_nobody_reads_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"no film" * 100)
    (tmp_path / "b.mp4").write_bytes(b"")
    with pytest.raises(SceneError, match=r"a\.mp4: not a video that can be decoded; convert it to MP4"):
        open_film(tmp_path / "a.mp4")
    with pytest.raises(SceneError, match=r"b\.mp4: the video is empty"):
        open_film(tmp_path / "b.mp4")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(SceneError, match=r'pip install "gaussian-splatting-anywhere\[video\]"'):
        open_film(tmp_path / "a.mp4")


def test_a_wrong_count_in_the_header_loses_nothing():
    film = Film(Path("x.mp4"), 4, 30.0, lambda: iter([shot(n) for n in range(12)]))
    assert len(list(chosen_frames(film, ConvertOptions(frames=4), lambda done: None))) == 12
    with pytest.raises(SceneError, match="no frame of the video can be decoded"):
        list(chosen_frames(Film(Path("x.mp4"), 4, 30.0, lambda: iter([])), ConvertOptions(), lambda done: None))


def test_a_film_of_two_frames_is_no_scene(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(b"x")
    monkeypatch.setattr(frames, "open_film", lambda path: Film(path, 2, 30.0, lambda: iter([shot(0), shot(9)])))
    with pytest.raises(SceneError, match=r"a\.mp4: only 2 frames; a scene needs a film of some seconds"):
        take_frames(find_sources(tmp_path), tmp_path / "out", ConvertOptions(), lambda *_: None)
