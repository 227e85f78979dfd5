"""Camera paths as files: what goes in comes out, and what is wrong is named by its place."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from small_run import ring_cameras

from gaussian_splatting.camera import pinhole_camera
from gaussian_splatting.errors import FormatError, SceneError
from gaussian_splatting.rendering.camera_path_file import CameraPath, read_camera_path, write_camera_path
from gaussian_splatting.rendering.camera_paths import poses_of, resized, through


def zoomed(camera, focal: float):
    return pinhole_camera(36, 48, focal, focal, camera.R, camera.T)


def test_a_saved_path_comes_back(tmp_path):
    saved = CameraPath(tuple(ring_cameras(5)), seconds=2.5, fps=24, closed=True)
    write_camera_path(tmp_path / "path.json", saved)
    found = read_camera_path(tmp_path / "path.json")
    assert (found.seconds, found.fps, found.closed, found.num_frames()) == (2.5, 24, True, 60)
    for key, other in zip(saved.keys, found.keys, strict=True):
        torch.testing.assert_close(key.world_view_transform, other.world_view_transform, atol=1e-6, rtol=0)
        torch.testing.assert_close(key.K, other.K)
    assert len(found.cameras()) == 60


def test_the_flight_goes_through_its_keys_with_their_lenses():
    keys = [zoomed(camera, focal) for camera, focal in zip(ring_cameras(5, arc=2.0), (40, 50, 80, 60, 50), strict=True)]
    path = through(keys, 2001)
    centers, focals = poses_of(path).centers, np.array([float(camera.K[0, 0]) for camera in path])
    for key, center in zip(keys, poses_of(keys).centers, strict=True):
        nearest = int(np.argmin(np.linalg.norm(centers - center, axis=1)))
        assert np.linalg.norm(centers[nearest] - center) < 2e-3
        assert focals[nearest] == pytest.approx(float(key.K[0, 0]), rel=2e-3)


def test_a_closed_flight_returns_and_an_open_one_does_not():
    keys = ring_cameras(4)
    steps = [np.linalg.norm(np.diff(poses_of(through(keys, 200, closed=c)).centers[[0, -1]], axis=0)) for c in (1, 0)]
    assert steps[0] < 0.3 < steps[1]


def test_one_key_stands_still():
    path = CameraPath(tuple(ring_cameras(1))).cameras(3)
    assert len(path) == 3
    assert torch.equal(path[0].T, path[2].T)


def test_a_list_of_cameras_is_every_frame(tmp_path):
    write_camera_path(tmp_path / "path.json", CameraPath(tuple(ring_cameras(3))))
    entries = json.loads((tmp_path / "path.json").read_text())["keyframes"]
    (tmp_path / "cameras.json").write_text(json.dumps(entries))
    flight = read_camera_path(tmp_path / "cameras.json")
    assert len(flight.cameras()) == 3
    with pytest.raises(SceneError, match="lists every frame, 3 of them; leave --frames out"):
        flight.cameras(10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keyframes": []}, "must hold at least one camera"),
        ({"fps": 0}, "fps must be a whole number from 1 to 1000; found 0"),
        ({"seconds": -1}, "seconds must be above 0"),
        ({"seconds": 1e6}, "asks for 30000000 frames"),
        ({"closed": "no"}, "closed must be true or false"),
        ({"keyframes": [{"width": 3}]}, r"keyframes\[0\]"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, message):
    write_camera_path(tmp_path / "path.json", CameraPath(tuple(ring_cameras(2))))
    content = json.loads((tmp_path / "path.json").read_text()) | change
    (tmp_path / "path.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=message):
        read_camera_path(tmp_path / "path.json")


def test_another_json_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"frames": []}')
    with pytest.raises(FormatError, match="must be a camera path of the viewer"):
        read_camera_path(tmp_path / "a.json")
    with pytest.raises(SceneError, match="has no keys"):
        CameraPath(()).cameras()


def test_another_size_keeps_the_vertical_view():
    camera = pinhole_camera(36, 48, 50.0, 52.0, np.eye(3), np.ones(3), cx=20.0, cy=17.0)
    wide = resized(camera, 160, 72)
    assert wide.FoVy == pytest.approx(camera.FoVy)
    assert wide.K.flatten().tolist() == [100, 0, 72, 0, 104, 34, 0, 0, 1]
    assert torch.equal(wide.world_view_transform, camera.world_view_transform)
