"""Random points inside the visual hull: where no view sees its background, as many as were asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transforms_scenes import frame, write_rgba, write_scene

from gaussian_splatting.dataset.scenes import open_scene
from gaussian_splatting.dataset.start import start_gaussians
from gaussian_splatting.dataset.start_hull import FEWEST_VIEWS, MOST_DRAWS, outlooks, points_inside, require_seen
from gaussian_splatting.errors import SceneError
from gaussian_splatting.gaussian_model import GaussianModel

SIZE, ANGLE, DISTANCE, RADIUS = 64, 1.0, 3.0, 0.5
"""Pictures in pixels, their angle of view in radians, and a ball at the origin as the cameras see it."""
NAMES = [f"train/r_{index}.png" for index in range(4)]


def ball_scene(root: Path, *, alpha: str = "ball") -> Path:
    """Four level cameras around a ball that is opaque before a transparent background; or all one of both."""
    frames = [frame(name, index * np.pi / 2) for index, name in enumerate(NAMES)]
    write_scene(root, NAMES, frames=frames, shared={"camera_angle_x": ANGLE}, size=(SIZE, SIZE))
    pixels = (np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2) * 2 * np.tan(ANGLE / 2) / SIZE  # tangents of the angles
    limit = np.tan(np.arcsin(RADIUS / DISTANCE))
    inside = {"ball": np.hypot(*pixels) < limit, "none": np.zeros((SIZE, SIZE), bool)}[alpha]
    for name in NAMES:
        write_rgba(root / name, np.full((SIZE, SIZE, 3), 200, np.uint8), np.where(inside, 255, 0).astype(np.uint8))
    return root


def started(source: Path, **choices: object) -> np.ndarray:
    return start_gaussians(GaussianModel(0), source, **choices).get_xyz.detach().numpy()  # pyright: ignore[reportArgumentType]


def test_a_start_that_no_view_sees_is_refused(tmp_path: Path) -> None:
    views = open_scene(ball_scene(tmp_path))
    require_seen(np.array([[0.0, 0, 0], [0, 0, 900]]), views)
    with pytest.raises(SceneError, match="none of the 2 Gaussians at the start lies in the picture of any of 4 views"):
        require_seen(np.array([[0.0, 0, 500], [0, 0, 900]]), views)


def test_points_lie_inside_all_silhouettes_and_fill_the_ball(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = ball_scene(tmp_path)
    with caplog.at_level("INFO"):
        points = started(root, init="random:3000", seed=2)
    assert points.shape == (3000, 3)
    pixel = 2 * np.tan(ANGLE / 2) / SIZE * DISTANCE
    for axis in (0, 1):  # what a camera on that axis sees: the cone around the ball, and a pixel and a half
        other = 1 - axis
        for depth in (DISTANCE - points[:, axis], DISTANCE + points[:, axis]):
            slope = np.hypot(points[:, other], points[:, 2]) / depth
            assert slope.max() < np.tan(np.arcsin(RADIUS / DISTANCE)) + 3 * pixel / DISTANCE
    for low, high in ((-0.5, -0.3), (0.3, 0.5)):
        assert ((points > low) & (points < high)).any(axis=0).all(), "the ball is filled to its sides"
    assert "inside the silhouettes of 4 views" in caplog.text
    np.testing.assert_array_equal(points, started(root, init="random:3000", seed=2))
    assert not np.array_equal(points, started(root, init="random:3000", seed=3))


def test_what_a_view_sees_and_where_it_sees_nothing(tmp_path: Path) -> None:
    (view, *_) = outlooks(open_scene(ball_scene(tmp_path), load_depth=False))
    points = np.array([[0.0, 0.0, 0.0], [0.0, 0.9, 0.0], [0.0, 50.0, 0.0], [4.0, 0.0, 0.0]])
    seen, empty = view.look(points)
    np.testing.assert_array_equal(seen, [True, True, False, False])
    np.testing.assert_array_equal(empty, [False, True, False, False])


def test_only_the_given_views_tell(tmp_path: Path) -> None:
    root = ball_scene(tmp_path)
    assert len(outlooks(open_scene(root, "all"))) == 4
    assert len(outlooks(open_scene(root, "train"))) == 3


def test_pictures_without_silhouettes_ask_only_to_be_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opaque = write_scene(tmp_path / "opaque", NAMES, shared={"camera_angle_x": ANGLE}, size=(SIZE, SIZE))
    hidden = ball_scene(tmp_path / "hidden", alpha="none")
    masked = open_scene(ball_scene(tmp_path / "masked"), alpha="mask")
    with caplog.at_level("INFO"):
        expected = started(opaque, init="random:2000")
        np.testing.assert_array_equal(expected, started(hidden, init="random:2000"))
        np.testing.assert_array_equal(expected, started(tmp_path / "masked", init="random:2000", cameras=masked))
    assert "silhouettes" not in caplog.text
    assert "where 3 or more views see them" in caplog.text
    assert np.linalg.norm(expected, axis=1).max() > 1.3
    counts = sum(view.look(expected.astype(np.float64))[0].astype(int) for view in outlooks(open_scene(opaque)))
    assert np.min(counts) >= FEWEST_VIEWS
    plain = np.random.default_rng(0).uniform(-1.3, 1.3, (2000, 3))
    assert np.min(sum(view.look(plain)[0].astype(int) for view in outlooks(open_scene(opaque)))) < FEWEST_VIEWS


def test_a_scene_of_one_view_asks_for_that(tmp_path: Path) -> None:
    (view, *_) = outlooks(open_scene(write_scene(tmp_path, NAMES, shared={"camera_angle_x": ANGLE}, size=(SIZE, SIZE))))
    points, said = points_inside(lambda random, num: random.uniform(-9, 9, (num, 3)), 50, 0, [view])
    assert view.look(points)[0].all()
    assert "where 1 or more views see them" in said


def test_what_too_many_draws_do_not_find_is_made_up(tmp_path: Path) -> None:
    views = outlooks(open_scene(ball_scene(tmp_path), load_depth=False))
    draws = 0

    def mostly_outside(random: np.random.Generator, num: int) -> np.ndarray:
        nonlocal draws
        draws += 1
        points = np.tile([0.0, 0.9, 0.0], (num, 1))
        points[0] = 0.0
        return points

    points, said = points_inside(mostly_outside, 100, 0, views)
    assert draws == MOST_DRAWS
    assert points.shape == (100, 3)
    assert (points == 0).all(axis=1).sum() == MOST_DRAWS + 1
    assert "but for 50 that were not found there" in said


def test_pictures_at_a_smaller_size_say_the_same(tmp_path: Path) -> None:
    root = ball_scene(tmp_path)
    small = started(root, init="random:1000", cameras=open_scene(root, resolution=2))
    assert np.linalg.norm(small, axis=1).max() < 0.85
    assert torch.isfinite(torch.from_numpy(small)).all()
