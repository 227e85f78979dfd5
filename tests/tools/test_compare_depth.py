"""The comparison of depth modes: which views, which points, which errors, and a table that goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import compare_depth
import numpy as np
import pytest
from compare_depth import Job, chosen_views, depth_scale, seen_points, smooth_factor, spoil_depths, spoiled_path

from gaussian_splatting.dataset.decode import read_depth


def test_views_are_spread_evenly_and_none_is_held_out(demo_scene: Path) -> None:
    views, held_out = chosen_views(demo_scene, 5)
    assert [view.name for view in held_out] == [f"view_{number:03d}.jpg" for number in (0, 8, 16, 24)]
    numbers = [int(view.name[5:8]) for view in views]
    assert len(numbers) == 5 and not set(numbers) & {0, 8, 16, 24}
    assert all(4 <= gap <= 7 for gap in np.diff(numbers))


def test_a_number_of_views_that_is_not_there_is_refused(demo_scene: Path, capsys: pytest.CaptureFixture) -> None:
    assert compare_depth.main(["-s", str(demo_scene), "-d", "unused", "--views", "25"]) == 2
    assert "25 training views; give from 2 to 24 with --views" in capsys.readouterr().err


def test_the_factor_is_smooth_around_one_and_repeatable() -> None:
    factor = smooth_factor((270, 360), 3)
    assert np.array_equal(factor, smooth_factor((270, 360), 3))
    assert not np.array_equal(factor, smooth_factor((270, 360), 4))
    assert 0.2 < factor.min() < 0.9 < 1.1 < factor.max() < 5
    assert np.abs(np.diff(np.log(factor), axis=0)).max() < 0.03


def test_spoiled_maps_are_the_true_ones_times_the_factor(demo_scene: Path, tmp_path: Path) -> None:
    views = chosen_views(demo_scene, 2)[0]
    spoil_depths(views, tmp_path)
    for number, view in enumerate(views):
        assert view.depth_path is not None
        true = read_depth(view.depth_path)
        ratio = read_depth(spoiled_path(tmp_path, view)) / true
        np.testing.assert_allclose(ratio, smooth_factor(true.shape, number), atol=0.02)


def test_points_are_those_that_two_views_see(demo_scene: Path) -> None:
    views, scale = chosen_views(demo_scene, 5)[0], depth_scale(demo_scene)
    few, colors = seen_points(demo_scene, views, scale)
    more, _ = seen_points(demo_scene, chosen_views(demo_scene, 12)[0], scale)
    assert 500 < len(few) < len(more)
    assert colors.shape == few.shape and colors.min() >= 0 and colors.max() <= 1
    assert len(seen_points(demo_scene, views[:1], scale)[0]) == 0


def test_runs_that_the_table_holds_are_not_trained_again(
    demo_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    jobs = [Job(demo_scene, tmp_path, maps, mode, 7, 3, 5) for maps, mode in compare_depth.arms()]
    figures = {"psnr": 20.0, "depth_error": 0.1, "num_gaussians": 5}
    (tmp_path / "table.json").write_text(json.dumps({job.name: figures for job in jobs}))
    monkeypatch.setattr(compare_depth, "train", None)
    assert compare_depth.main(["-s", str(demo_scene), "-d", str(tmp_path), "-i", "3", "--seeds", "7"]) == 0
    assert capsys.readouterr().out.count("20.00 dB (20.00 to 20.00) | 10.00 % (10.00 to 10.00)") == len(jobs) == 5


def test_a_short_run_is_measured(demo_scene: Path, tmp_path: Path) -> None:
    spoil_depths(chosen_views(demo_scene, 5)[0], tmp_path)
    figures = compare_depth.train(Job(demo_scene, tmp_path, "spoiled", "local", 0, 2, 5))
    assert 5 < figures.psnr < 30
    assert 0 < figures.depth_error < 1
    assert figures.num_gaussians > 500
