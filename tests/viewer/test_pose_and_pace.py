"""Poses between browsers and cameras, and the size of moving pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from small_run import ring_cameras

from gaussian_splatting.viewer.pace import SMALLEST, Pace
from gaussian_splatting.viewer.pose import Pose


@pytest.mark.parametrize("aspect", [0.5, 48 / 36, 3.0])
def test_a_jump_shows_the_whole_picture_of_the_camera(aspect):
    camera = ring_cameras(3)[1]
    pose = Pose.of_camera(camera, aspect)
    seen = pose.camera(round(360 * aspect), 360, (0.0, 0.0, 0.0), "cpu")
    assert seen.FoVx >= camera.FoVx - 2e-3 and seen.FoVy >= camera.FoVy - 1e-9
    assert min(seen.FoVx - camera.FoVx, seen.FoVy - camera.FoVy) < 2e-3
    torch.testing.assert_close(seen.world_view_transform, camera.world_view_transform, atol=1e-6, rtol=0)


def test_a_pose_survives_the_way_through_a_browser():
    pose = Pose.of_camera(ring_cameras(3)[2], 1.0)
    wxyz = Rotation.from_matrix(pose.rotation).as_quat()[[3, 0, 1, 2]]
    back = Pose.of_client(wxyz.astype(np.float32), pose.center.astype(np.float32), np.float32(pose.fov))
    assert back.is_near(pose)
    assert not back.is_near(pose.rolled(0.01))
    assert pose.lens.stretch == pytest.approx(1.0) and pose.simple().lens.stretch == 1.0
    assert not back.is_near(Pose(pose.center + 0.01, pose.rotation, pose.fov))


def test_tilting_the_head_to_the_right_turns_the_picture_to_the_left():
    pose = Pose(np.zeros(3), np.eye(3), 1.0)
    tilted = pose.rolled(np.pi / 2)
    np.testing.assert_allclose(tilted.forward, pose.forward, atol=1e-12)
    np.testing.assert_allclose(tilted.up, [1.0, 0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize(("fixed", "per_pixel"), [(0.0, 1e-7), (0.03, 1e-7), (0.0, 1e-9), (0.2, 1e-6)])
def test_the_pace_finds_the_largest_size_that_is_fast_enough(fixed, per_pixel):
    pace, pixels = Pace(target=0.05), 1920 * 1080

    def seconds() -> float:
        return fixed + per_pixel * pixels * pace.scale**2

    for _ in range(60):
        pace.took(seconds(), pace.scale)
    if pace.scale == SMALLEST:
        assert seconds() >= 0.05
    elif pace.scale == 1.0:
        assert seconds() <= 0.05
    else:
        assert seconds() == pytest.approx(0.05, rel=0.02)
    width, height = pace.size(1920, 1080)
    assert (width, height) == (round(1920 * pace.scale), round(1080 * pace.scale))


def test_a_scene_that_is_slow_at_any_size_is_drawn_in_part():
    pace = Pace(target=0.05)

    def seconds() -> float:
        return 0.3 * pace.part + 1e-8 * 2e6 * pace.scale**2

    for _ in range(40):
        pace.took(seconds(), pace.scale)
    assert pace.part < 0.3 and seconds() < 0.07
    for _ in range(40):
        pace.took(0.002, pace.scale)
    assert pace.part == 1.0


def test_more_clients_get_smaller_pictures():
    alone, among = Pace(0.05), Pace(0.05)
    for _ in range(30):
        alone.took(1e-7 * 2e6 * alone.scale**2, alone.scale)
        among.took(1e-7 * 2e6 * among.scale**2, among.scale, clients=4)
    assert among.scale == pytest.approx(alone.scale / 2, rel=0.05)
