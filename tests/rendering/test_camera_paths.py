"""Camera paths: where they lead, that they are smooth, and when they are refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_run import UP, ring_cameras

from gaussian_splatting.camera import Camera, pinhole_camera
from gaussian_splatting.errors import SceneError
from gaussian_splatting.rendering.camera_paths import PATHS, interpolate, orbit, poses_of, spiral
from gaussian_splatting.rendering.scene_frame import Poses, look_at_point, looking, up_direction


def placed(center: np.ndarray, rotation: np.ndarray) -> Camera:
    """A camera at `center` with camera-to-world `rotation`."""
    return pinhole_camera(36, 48, 50.0, 50.0, rotation.T, -rotation.T @ center, cx=20.0, cy=17.0)


def in_a_row(count: int = 7) -> list[Camera]:
    """Cameras side by side that look straight ahead, along +y."""
    rotation = looking(np.zeros(3), np.array([0.0, 1.0, 0.0]), UP)
    return [placed(np.array([0.3 * index, 0.0, 0.0]), rotation) for index in range(count)]


def moved(cameras: list[Camera], rotation: np.ndarray, shift: np.ndarray, scale: float) -> list[Camera]:
    """The cameras after a similarity of the world."""
    poses = poses_of(cameras)
    return [
        placed(scale * rotation @ center + shift, rotation @ facing)
        for center, facing in zip(poses.centers, poses.rotations, strict=True)
    ]


def test_an_orbit_is_a_ring_around_what_the_cameras_look_at():
    path = orbit(ring_cameras(8, height=1.5, radius=4.0), 60)
    poses = poses_of(path)
    assert np.allclose(np.hypot(poses.centers[:, 0], poses.centers[:, 1]), 4.0, atol=1e-4)
    assert np.allclose(poses.centers[:, 2], 1.5, atol=1e-4)
    toward = -poses.centers / np.linalg.norm(poses.centers, axis=1, keepdims=True)
    assert np.allclose(poses.forwards, toward, atol=1e-4)
    assert (poses.ups @ UP > 0.5).all()


def test_the_last_frame_of_an_orbit_leads_over_to_the_first():
    centers = poses_of(orbit(ring_cameras(8), 60)).centers
    steps = np.linalg.norm(np.diff(np.vstack([centers, centers[:1]]), axis=0), axis=1)
    assert steps.max() < 1.001 * steps.min()


def test_an_orbit_is_as_far_out_and_as_high_as_the_cameras_near_it():
    near, far = ring_cameras(24, radius=3.0, height=0.0)[:12], ring_cameras(24, radius=6.0, height=2.0)[12:]
    centers = poses_of(orbit([*near, *far], 8)).centers
    front, back = centers[np.argmax(centers[:, 1])], centers[np.argmin(centers[:, 1])]
    assert np.hypot(*front[:2]) == pytest.approx(3.0, abs=0.2) and np.hypot(*back[:2]) == pytest.approx(6.0, abs=0.2)
    assert back[2] - front[2] == pytest.approx(2.0, abs=0.2)


def test_cameras_on_an_arc_are_not_left():
    cameras = ring_cameras(8, arc=math.radians(120))
    angles = np.degrees(np.arctan2(*poses_of(orbit(cameras, 90)).centers.T[1::-1]))
    assert 0 < angles.min() < 10 and 95 < angles.max() < 105  # the cameras are at 0 to 105 degrees
    full = np.degrees(np.arctan2(*poses_of(orbit(cameras, 90, turn="full")).centers.T[1::-1]))
    assert full.max() - full.min() > 350


def test_a_few_cameras_that_look_elsewhere_do_not_move_the_middle():
    cameras = ring_cameras(12)
    stray = placed(np.array([5.0, 5.0, 0.0]), looking(np.array([5.0, 5.0, 0.0]), np.array([9.0, -9.0, 4.0]), UP))
    found = look_at_point(poses_of([*cameras, stray]))
    assert found is not None and np.linalg.norm(found) < 0.05


@pytest.mark.parametrize("name", list(PATHS))
def test_paths_follow_a_similarity_of_the_world(name):
    generator = np.random.default_rng(0)
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    shift, cameras = np.array([10.0, -3.0, 7.0]), ring_cameras(9, arc=2.0)
    first = poses_of(PATHS[name](cameras, 20))
    second = poses_of(PATHS[name](moved(cameras, turn, shift, 2.5), 20))
    assert np.allclose(2.5 * first.centers @ turn.T + shift, second.centers, atol=2e-3)
    assert np.allclose(turn @ first.rotations, second.rotations, atol=2e-3)


@pytest.mark.parametrize("name", list(PATHS))
@pytest.mark.parametrize("frames", [1, 2, 50])
def test_frames_are_usable_cameras_without_pictures(name, frames):
    cameras = [camera._replace(bg_color=torch.ones(3)) for camera in ring_cameras(6)]
    path = PATHS[name](cameras, frames)
    assert len(path) == frames
    for camera in path:
        assert (camera.image_width, camera.image_height, camera.ground_truth_image) == (48, 36, None)
        assert torch.allclose(camera.R @ camera.R.T, torch.eye(3), atol=1e-5)
        assert float(torch.det(camera.R)) == pytest.approx(1.0, abs=1e-4)
        assert torch.equal(camera.bg_color, torch.ones(3))


def test_the_principal_point_is_kept():
    assert torch.equal(orbit([placed_on_ring(angle) for angle in range(6)], 3)[1].K, placed_on_ring(0).K)


def placed_on_ring(index: int) -> Camera:
    center = 3 * np.array([math.cos(index), math.sin(index), 0.2])
    return placed(center, looking(center, np.zeros(3), UP))


def test_interpolation_passes_through_its_first_and_last_camera_smoothly():
    cameras = ring_cameras(9, arc=3.0)
    poses, wanted = poses_of(interpolate(cameras, 200)), poses_of(cameras)
    assert np.allclose(poses.centers[0], wanted.centers[0], atol=1e-5)
    assert np.allclose(poses.rotations[-1], wanted.rotations[-1], atol=1e-5)
    speeds = np.linalg.norm(np.diff(poses.centers, axis=0), axis=1)
    assert np.abs(np.diff(speeds)).max() < 0.05 * speeds.mean()


def test_interpolation_goes_through_every_key():
    cameras = ring_cameras(5, arc=3.0)
    centers = poses_of(interpolate(cameras, 4001)).centers
    for wanted in poses_of(cameras).centers:
        assert np.linalg.norm(centers - wanted, axis=1).min() < 2e-3


def test_interpolation_can_return_to_its_start():
    centers = poses_of(interpolate(ring_cameras(8), 100, closed=True)).centers
    steps = np.linalg.norm(np.diff(np.vstack([centers, centers[:1]]), axis=0), axis=1)
    assert steps[-1] < 1.5 * np.median(steps)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_or_coincident_cameras_can_be_interpolated(count):
    cameras = ring_cameras(4)[:1] * count
    assert np.isfinite(poses_of(interpolate(cameras, 10)).centers).all()


def test_a_spiral_stays_near_cameras_in_a_row_and_looks_ahead():
    poses = poses_of(spiral(in_a_row(), 50))
    assert poses.centers[:, 0].min() > 0 and poses.centers[:, 0].max() < 1.8
    assert (poses.forwards[:, 1] > 0.9).all()


def test_cameras_without_a_common_point_have_no_orbit_but_the_other_paths():
    with pytest.raises(SceneError, match="nothing to go round; use the path 'interpolate' or 'spiral'"):
        orbit(in_a_row())
    outward = [placed(c, looking(c, 3 * c, UP)) for c in poses_of(ring_cameras(8)).centers]
    with pytest.raises(SceneError, match="do not look at a common point"):
        orbit(outward)
    assert len(interpolate(outward, 5)) == 5


def test_no_cameras_are_refused():
    with pytest.raises(SceneError, match="needs cameras"):
        orbit([])


# Up


def test_up_is_found_although_all_cameras_look_down():
    cameras = ring_cameras(8, arc=1.0, height=4.0)  # an arc only, so that the tilt does not average out
    up = up_direction(poses_of(cameras))
    assert float(up @ UP) > 0.999
    mean = poses_of(cameras).ups.mean(axis=0)
    assert float(mean @ UP) / np.linalg.norm(mean) < 0.9, "the mean of the pictures' ups would have been wrong"


def test_up_of_cameras_side_by_side_is_the_mean_of_their_ups():
    assert np.allclose(up_direction(poses_of(in_a_row())), UP, atol=1e-6)


def test_up_of_cameras_that_cancel_out_is_some_direction():
    poses = poses_of(in_a_row(2))
    flipped = replace(poses, rotations=poses.rotations * np.array([1, -1]).reshape(2, 1, 1))
    assert np.linalg.norm(up_direction(flipped)) == pytest.approx(1.0)


def test_a_view_straight_down_has_a_rotation():
    rotation = looking(np.array([0.0, 0.0, 5.0]), np.zeros(3), UP)
    assert np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert isinstance(Poses(np.zeros((1, 3)), rotation[None]).forwards, np.ndarray)
