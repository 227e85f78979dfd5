"""The render command: what it writes, what it measures, and what it never destroys."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from small_run import HEIGHT, WIDTH, make_run

from gaussian_splatting import render
from gaussian_splatting.io.ply import read_point_cloud
from gaussian_splatting.rendering.picture_files import decode_picture
from gaussian_splatting.runs.folder import RunFolder

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with a scene and a run; tests copy it."""
    folder = tmp_path_factory.mktemp("finished")
    make_run(folder, masked=(2,))
    return folder


@pytest.fixture
def run(finished, tmp_path) -> RunFolder:
    """A run of its own for every test; the scene is shared."""
    shutil.copytree(finished / "run", tmp_path / "run")
    return RunFolder(tmp_path / "run")


def command(run: RunFolder, *flags: str) -> int:
    return render.main(["-d", str(run.path), "--backend", "reference", "--device", "cpu", "--quiet", *flags])


def results(run: RunFolder) -> dict:
    return json.loads((run.rendered(30) / "results.json").read_text())


def test_a_splat_that_made_the_photos_is_measured_as_perfect(run, capsys):
    assert command(run) == 0
    found = results(run)
    assert found["psnr"] == 100.0  # bytes are equal
    assert found["ssim"] == pytest.approx(1.0, abs=1e-6)
    assert found["lpips"] is None and "LPIPS" in found["lpips_note"]
    assert (found["views"], found["masked_views"], found["split"]) == (9, 1, "all")
    assert (found["num_gaussians"], found["resolution"], found["iteration"]) == (80, [[WIDTH, HEIGHT]], 30)
    assert "PSNR 100.000 dB" in capsys.readouterr().out


def test_every_view_has_its_files(run):
    assert command(run) == 0
    target = run.rendered(30)
    names = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    wanted = {"cameras.json", "quality.csv", "results.json", "per_view.json", "gt/00002_mask.png"}
    for index in range(9):
        wanted |= {f"renders/{index:05d}{end}" for end in (".png", "_invdepth.tiff", "_depth.png")}
        wanted.add(f"gt/{index:05d}.png")
    assert names == wanted
    inverse = tifffile.imread(target / "renders" / "00000_invdepth.tiff")
    assert inverse.dtype == np.float32 and inverse.shape == (HEIGHT, WIDTH)
    # The middle of the picture lies about 4 from the camera, and Gaussians lie within 1.8 of the middle.
    assert 1 / 6.5 < inverse.max() < 1 / 2


def test_quality_csv_has_the_known_header_and_one_row_per_view(run):
    assert command(run) == 0
    rows = list(csv.reader((run.rendered(30) / "quality.csv").read_text().splitlines()))
    assert rows[0] == ["name", "psnr", "ssim", "lpips"]
    assert [row[0] for row in rows[1:]] == [f"{index:05d}" for index in range(9)]
    assert all(np.isnan(float(row[3])) and float(row[1]) == 100.0 for row in rows[1:])


def test_held_out_views_are_the_default_of_a_run_that_held_them_out(finished, tmp_path, run):
    run.write_settings(**(run.settings() | {"eval": True}))
    assert command(run) == 0
    assert (results(run)["split"], results(run)["views"]) == ("test", 2)
    per_view = json.loads((run.rendered(30) / "per_view.json").read_text())
    assert [entry["image"] for entry in per_view.values()] == ["view 0.png", "view 8.png"]


@pytest.mark.parametrize(("flags", "views"), [(["--split", "train"], 7), (["--split", "test"], 2), (["--eval"], 2)])
def test_the_split_can_be_chosen(run, flags, views):
    assert command(run, *flags) == 0
    assert results(run)["views"] == views


def test_flags_win_over_the_settings_of_the_run(run):
    run.write_settings(**(run.settings() | {"resolution": 2, "eval": True}))
    assert command(run, "--no-eval", "--image_scale", "0.5") == 0
    assert results(run)["resolution"] == [[WIDTH // 2, HEIGHT // 2]]
    assert results(run)["views"] == 9


@pytest.mark.parametrize(("flags", "level"), [([], 0), (["-w"], 255)])
def test_what_lies_behind_the_scene_is_black_or_white(run, flags, level):
    assert command(run, "--split", "test", *flags) == 0
    picture = decode_picture(run.rendered(30) / "renders" / "00000.png")
    assert abs(int(picture[0, 0].min()) - level) <= 3 and abs(int(picture[0, 0].max()) - level) <= 3
    assert results(run)["white_background"] is bool(flags)


def test_any_mode_of_training_is_accepted(run):
    assert command(run, "--mode", "densify") == 0


def test_views_rendered_before_are_not_overwritten(run, capsys):
    assert command(run) == 0
    before = {path: path.read_bytes() for path in run.rendered(30).rglob("*") if path.is_file()}
    assert command(run, "--white_background") == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_overwriting_replaces_them_by_a_whole_new_folder(run):
    assert command(run) == 0
    (run.rendered(30) / "renders" / "99999.png").write_bytes(b"stale")
    assert command(run, "--overwrite", "--split", "test") == 0
    assert results(run)["views"] == 2
    assert not (run.rendered(30) / "renders" / "99999.png").exists()
    assert {path.name for path in run.path.glob("ours*")} == {"ours_30"}


def test_a_failure_while_overwriting_keeps_the_old_views(run, capsys, monkeypatch):
    assert command(run) == 0
    before = (run.rendered(30) / "results.json").read_bytes()
    assert command(run, "--overwrite", "--source", str(run.path / "nowhere")) == 2
    assert (run.rendered(30) / "results.json").read_bytes() == before


def test_a_killed_render_leaves_no_result_and_the_next_one_succeeds(run):
    program = [sys.executable, "-m", "gaussian_splatting.render", "-d", str(run.path), "--backend", "reference"]
    process = subprocess.Popen(program, cwd=REPOSITORY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    partial = run.path / "ours_30.partial" / "renders"
    deadline = time.monotonic() + 120
    while not (partial.is_dir() and any(partial.iterdir())) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait(timeout=60)
    assert not run.rendered(30).exists(), "the process was killed too late for this test"
    assert command(run) == 0
    assert results(run)["views"] == 9
    assert not (run.path / "ours_30.partial").exists()


def test_a_missing_iteration_is_refused_with_those_that_exist(run, capsys):
    assert command(run, "-i", "7") == 2
    assert "found the iterations 30" in capsys.readouterr().err
    assert not run.rendered(7).exists()


def test_a_run_whose_scene_nobody_knows_asks_for_it(run, capsys):
    run.settings_file.unlink()
    run.cfg_args.unlink()
    assert command(run) == 2
    assert "give the scene folder with -s" in capsys.readouterr().err


def test_masks_can_be_left_out(run):
    assert command(run, "--no_image_mask") == 0
    found = results(run)
    assert found["masked_views"] == 0
    assert found["psnr"] < 100.0  # the half of one photo that the mask hides is white


def test_points_of_the_depth_lie_on_the_scene(run):
    assert command(run, "--save_depth_pcd", "--split", "test") == 0
    for name in ("00000", "00001"):
        xyz, rgb = read_point_cloud(run.rendered(30) / "renders" / f"{name}.ply")
        assert rgb is not None and len(xyz) > 50
        assert np.abs(xyz).max() < 2.5, "world coordinates, so all views agree where the scene is"


def test_cameras_without_photos_are_rendered_and_not_measured(run, finished, capsys):
    assert command(run) == 0
    cameras = json.loads((run.rendered(30) / "cameras.json").read_text())
    for entry in cameras:
        for key in list(entry):
            if key.startswith("ground_truth"):
                entry[key] = None
    (run.path / "path.json").write_text(json.dumps(cameras[:3]))
    assert command(run, "--load_camera", str(run.path / "path.json"), "--overwrite") == 0
    assert (results(run)["rendered_views"], results(run)["views"], results(run)["psnr"]) == (3, 0, None)
    assert len(list((run.rendered(30) / "renders").glob("*_invdepth.tiff"))) == 3
    assert not (run.rendered(30) / "gt").exists()


def test_depth_pictures_show_near_things_brighter(run):
    assert command(run, "--split", "test") == 0
    inverse = tifffile.imread(run.rendered(30) / "renders" / "00000_invdepth.tiff")
    shown = decode_picture(run.rendered(30) / "renders" / "00000_depth.png").astype(int).sum(axis=2)
    near, far = inverse > np.percentile(inverse, 95), inverse < np.percentile(inverse, 5)
    assert shown[near].mean() > shown[far].mean() + 100


def test_a_report_that_is_there_shows_the_new_views(run):
    run.report.write_text("old")
    assert command(run, "--split", "test") == 0
    assert "view 8.png" in run.report.read_text()


def test_help_comes_without_torch():
    program = "import sys, runpy; sys.argv = ['render', '--help']\n"
    program += "try: runpy.run_module('gaussian_splatting.render', run_name='__main__')\n"
    program += "except SystemExit: print([m for m in ('torch', 'numpy', 'numba', 'PIL') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_the_library_functions_are_importable_from_the_module():
    from gaussian_splatting.render import build_pcd, build_pcd_rescale, prepare_rendering, rendering

    assert all(map(callable, (build_pcd, build_pcd_rescale, prepare_rendering, rendering)))
    with pytest.raises(AttributeError, match="nonsense"):
        render.__getattr__("nonsense")


def test_nothing_outside_the_run_folder_is_written(run, finished):
    before = sorted((path, path.stat().st_mtime_ns) for path in finished.rglob("*"))
    working = sorted(os.listdir())
    assert command(run, "--split", "test") == 0
    assert sorted((path, path.stat().st_mtime_ns) for path in finished.rglob("*")) == before
    assert sorted(os.listdir()) == working
