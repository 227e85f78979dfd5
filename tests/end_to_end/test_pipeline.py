"""From a scene to a splat, renders, a report: the main job, on the shipped scene, in miniature."""

from __future__ import annotations

import json

import pytest

from gaussian_splatting import evaluate, render, train


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, demo_scene):
    """A short run with held-out views, rendered."""
    out = tmp_path_factory.mktemp("run") / "out"
    scene = ["-s", str(demo_scene), "-d", str(out), "--eval"]
    flags = ["--mode", "densify", "-i", "150", "-r", "2", "--quiet", "--save_iterations", "50"]
    assert train.main([*scene, *flags]) == 0
    assert render.main(scene) == 0
    return out


def test_everything_lies_where_the_readme_says(run_folder):
    for name in (
        "cfg_args", "cameras.json", "settings.json", "metrics.jsonl", "timing.jsonl", "report.html",
        "point_cloud/iteration_50/point_cloud.ply", "point_cloud/iteration_150/point_cloud.ply",
        "ours_150/renders/00000.png", "ours_150/gt/00000.png", "ours_150/quality.csv", "ours_150/results.json",
        "ours_150/per_view.json", "ours_150/cameras.json",
    ):  # fmt: skip
        assert (run_folder / name).is_file(), name
    assert list((run_folder / "progress").glob("step_*.jpg"))


def test_training_improves_held_out_views(run_folder):
    evaluations = [json.loads(line) for line in (run_folder / "evaluations.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in evaluations] == [50, 150]
    assert evaluations[1]["psnr"] > evaluations[0]["psnr"] + 1.0


def test_training_and_rendering_report_the_same_quality_of_masked_views(run_folder):
    trained = [json.loads(line) for line in (run_folder / "evaluations.jsonl").read_text().splitlines()][-1]
    rendered = json.loads((run_folder / "ours_150" / "results.json").read_text())
    assert rendered["masked_views"] == rendered["views"] == trained["views"]
    assert trained["psnr"] == pytest.approx(rendered["psnr"], abs=0.02)  # the renders are rounded to 8 bits


def test_the_exported_splat_gives_the_same_quality_in_the_reference_backend(run_folder, demo_scene, tmp_path):
    from gaussian_splatting.prepare import prepare_dataset, prepare_gaussians
    from gaussian_splatting.runs.results import picture_psnr

    views = prepare_dataset(demo_scene, split="test", resolution=2)
    splat = run_folder / "point_cloud" / "iteration_150" / "point_cloud.ply"
    quality = {}
    for backend in ("cpu", "reference"):
        gaussians = prepare_gaussians(3, demo_scene, load_ply=splat, backend=backend)
        values = [picture_psnr(gaussians(view)["render"].detach(), view) for view in views]
        quality[backend] = sum(values) / len(values)
    assert quality["reference"] == pytest.approx(quality["cpu"], abs=0.05)


def test_evaluate_prints_the_table(run_folder, capsys):
    assert evaluate.main(["-d", str(run_folder)]) == 0
    assert "PSNR" in capsys.readouterr().out
