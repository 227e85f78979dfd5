"""Videos: that they play, at what size, and what happens without the encoder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from small_run import make_run

from gaussian_splatting import video
from gaussian_splatting.errors import SplatError
from gaussian_splatting.video import write_video

needs_ffmpeg = pytest.mark.skipif(video.find_ffmpeg() is None, reason="MP4 videos need ffmpeg, from the extra 'video'")


def frames(count: int, height: int = 34, width: int = 50) -> list[np.ndarray]:
    return [np.full((height, width, 3), (index * 20, 255 - index * 20, 80), np.uint8) for index in range(count)]


def decoded(path: Path) -> tuple[float, str, list[np.ndarray]]:
    """Frames per second, codec, and frames [H, W, 3] of a video."""
    capture = cv2.VideoCapture(str(path))
    rate, code = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode()
    found = []
    while True:
        more, frame = capture.read()
        if not more:
            break
        found.append(frame[..., ::-1])
    capture.release()
    return rate, code, found


@needs_ffmpeg
@pytest.mark.parametrize(("size", "stored"), [((34, 50), (34, 50)), ((33, 49), (34, 50))])
def test_every_frame_is_in_the_video_at_an_even_size(tmp_path, size, stored):
    path = write_video(tmp_path / "a.mp4", frames(9, *size), fps=10)
    rate, code, found = decoded(path)
    assert (rate, code, len(found)) == (10.0, "h264", 9)
    assert {frame.shape for frame in found} == {(*stored, 3)}
    for index, frame in enumerate(found):
        assert np.abs(frame[16, 24].astype(int) - (index * 20, 255 - index * 20, 80)).max() < 12


@needs_ffmpeg
def test_tensors_are_frames_too(tmp_path):
    path = write_video(tmp_path / "a.mp4", (torch.full((3, 16, 16), 0.5) for _ in range(3)))
    assert len(decoded(path)[2]) == 3


def test_without_the_encoder_an_animated_webp_is_written_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "find_ffmpeg", lambda: None)
    with pytest.warns(UserWarning, match=r"pip install imageio-ffmpeg\); a\.webp is written instead"):
        path = write_video(tmp_path / "a.mp4", frames(4), fps=20)
    assert path == tmp_path / "a.webp"
    with Image.open(path) as image:
        assert (image.n_frames, image.size) == (4, (50, 34))
        image.seek(1)
        image.load()
        assert image.info["duration"] == 50


def test_a_video_without_frames_is_refused(tmp_path):
    with pytest.raises(SplatError, match="at least one frame"):
        write_video(tmp_path / "a.mp4", [])
    assert list(tmp_path.iterdir()) == []


@needs_ffmpeg
def test_what_ffmpeg_complains_about_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "find_ffmpeg", lambda: "/bin/false")
    with pytest.raises(SplatError, match=r"a\.mp4: not written: ffmpeg gave up"):
        write_video(tmp_path / "a.mp4", frames(3))
    assert list(tmp_path.iterdir()) == []


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp4", "a.webp"])
def test_an_error_in_the_middle_leaves_the_old_video(tmp_path, name):
    (tmp_path / name).write_bytes(b"old")

    def failing():
        yield from frames(2)
        raise RuntimeError("the renderer failed")

    with pytest.raises(RuntimeError, match="the renderer failed"):
        write_video(tmp_path / name, failing())
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@needs_ffmpeg
def test_the_command_writes_an_orbit_of_a_run(tmp_path, capsys):
    run = make_run(tmp_path)
    flags = ["-d", str(run.path), "--backend", "reference", "--device", "cpu", "--frames", "3", "--quiet"]
    assert video.main(flags) == 0
    assert len(decoded(run.path / "orbit_30.mp4")[2]) == 3
    assert video.main(flags) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert video.main([*flags, "--overwrite", "--path", "spiral"]) == 0
