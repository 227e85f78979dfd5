"""The train command in every mode, on a small scene: what it writes, and that it goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import make_scene, splat

from gaussian_splatting import prepare, render, train
from gaussian_splatting.rendering.picture_files import decode_picture
from gaussian_splatting.runs.folder import RunFolder

SHORT = ("--quiet", "--threads", "1", "--densify_target_lower_bound", "0")
PLAIN = ("--quiet", "--threads", "1")


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """A COLMAP folder of nine small views without depth maps."""
    return make_scene(tmp_path_factory.mktemp("modes") / "scene", splat())


@pytest.fixture(autouse=True)
def same_threads():
    """`--threads` is for the whole process; the other tests keep theirs."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(scene: Path, folder: Path, *flags: str, iterations: int = 12) -> RunFolder:
    status = train.main(["-s", str(scene), "-d", str(folder), "-i", str(iterations), *flags])
    assert status == 0
    return RunFolder(folder)


def number_of(checkpoint: Path) -> int:
    """The step of a checkpoint, from the digits of its name."""
    return int("".join(filter(str.isdigit, checkpoint.stem)))


def cameras_of(folder: RunFolder) -> list[dict]:
    return json.loads(folder.cameras.read_text())


@pytest.mark.parametrize("mode", sorted(prepare.shliftmodes))
def test_every_mode_trains(mode, scene, tmp_path):
    flags = SHORT if "densify" in mode else PLAIN
    folder = run(scene, tmp_path / "run", "--mode", mode, *flags)
    assert folder.point_cloud(12).is_file()
    exposed = ["exposure" in entry for entry in cameras_of(folder)]
    assert exposed == ["camera" in mode] * 9
    assert folder.settings()["trainer"] == prepare.shliftmodes[mode].__name__


@pytest.mark.parametrize("mode", ["base", "camera-densify", "mcmc"])
def test_training_goes_on_from_a_splat_file(mode, scene, tmp_path):
    first = run(scene, tmp_path / "first", "--mode", "nodepth-base", *PLAIN)
    flags = SHORT if "densify" in mode else PLAIN
    second = run(scene, tmp_path / "second", "--mode", mode, "-l", str(first.point_cloud(12)), *flags)
    assert second.settings()["trainer"] == prepare.basemodes[mode].__name__


def test_training_goes_on_from_trained_cameras(scene, tmp_path):
    first = run(scene, tmp_path / "first", "--mode", "camera", *PLAIN, iterations=40)
    second = run(scene, tmp_path / "second", "--mode", "base", "--load_camera", str(first.cameras), *PLAIN)
    again = cameras_of(second)
    for before, after in zip(cameras_of(first), again, strict=True):
        assert before["exposure"] == after["exposure"]
        assert before["position"] == pytest.approx(after["position"], abs=1e-9)


def test_cameras_of_a_file_are_split_and_reduced_in_training_and_rendering(scene, tmp_path, capsys):
    first = run(scene, tmp_path / "first", "--mode", "base", *PLAIN)
    flags = ("--mode", "camera", "--load_camera", str(first.cameras), "--eval", "-r", "2", *PLAIN)
    second = run(scene, tmp_path / "second", *flags)
    full, reduced = cameras_of(first), cameras_of(second)
    assert [entry["img_name"] for entry in reduced] == [entry["img_name"] for entry in full[1:8]]
    assert {entry["width"] for entry in reduced} == {full[0]["width"] // 2}
    for split, views in (("test", 2), ("train", 7)):
        assert render.main(["-d", str(second.path), "--split", split, "--overwrite", "--quiet"]) == 0
        results = json.loads((second.rendered(12) / "results.json").read_text())
        assert (results["views"], results["resolution"][0][0]) == (views, full[0]["width"] // 2)


def test_a_run_is_rendered_with_its_exposures_and_without(scene, tmp_path):
    folder = run(scene, tmp_path / "run", "--with", "exposure", *PLAIN)
    halved = [entry | {"exposure": (0.5 * np.eye(3, 4)).tolist()} for entry in cameras_of(folder)]
    folder.cameras.write_text(json.dumps(halved))
    means = []
    for flags in ((), ("--no_exposure",)):
        assert render.main(["-d", str(folder.path), "--overwrite", "--quiet", "--lpips", "none", *flags]) == 0
        pictures = sorted((folder.rendered(12) / "renders").glob("*.png"))
        means.append(np.mean([decode_picture(path).mean() for path in pictures if "depth" not in path.stem]))
    assert means[0] == pytest.approx(means[1] / 2, rel=0.02)


def test_features_are_added_by_name(scene, tmp_path, capsys):
    folder = run(scene, tmp_path / "run", "--with", "exposure,depth", "--with_scale_reg", *PLAIN)
    assert folder.settings()["trainer"] == "ExposureScaleRegularisationDepthSHLiftTrainer"
    assert all("exposure" in entry for entry in cameras_of(folder))
    said = capsys.readouterr()
    assert (said.out + said.err).count("no view has a depth map") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--with", "depht"), "there is no feature 'depht'; nearest: depth"),
        (("--mode", "densify", "--with", "mcmc"), "each is a whole densification; keep one"),
        (("--mode", "normal-base", "--backend", "cpu"), "use --backend cpu-2dgs|--backend cpu-2dgs elsewhere"),
        (("--mode", "base", "-o", "camera_rotation_lr_init=1"), "has no option 'camera_rotation_lr_init'"),
        (("--mode", "base", "--max_gaussians", "9"), "never adds Gaussians"),
        (("--mode", "densify", "--max_gaussians", "2"), r"--max_gaussians 2: the run would begin with \d+ Gaussians"),
        (("--mode", "base", "--viewer", "--host", "192.0.2.1"), "this machine cannot listen there"),
        (("--mode", "base", "--backend", "gsplat"), "renders on a CUDA card|sees 0 CUDA"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(flags, message, scene, tmp_path, capsys):
    import re

    assert train.main(["-s", str(scene), "-d", str(tmp_path / "run"), *flags, *PLAIN, "-i", "5"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert re.search(message, error)


@pytest.mark.parametrize(
    "flags",
    [("-r", "3"), ("-i", "0"), ("-o", "lambda_dssim=7"), ("--load_ply", "none.ply"), ("--resume", "none.safetensors")],
)
def test_what_cannot_be_is_refused_before_photos_are_converted(flags, tmp_path, monkeypatch, capsys):
    from gaussian_splatting.convert import offer

    converted = []
    monkeypatch.setattr(offer, "scene_of", lambda source, **_: converted.append(source))
    monkeypatch.chdir(tmp_path)
    assert train.main(["-s", str(tmp_path), "-d", str(tmp_path / "run"), "--convert", *flags]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (converted, list(tmp_path.iterdir())) == ([], [])


def test_overwrite_never_moves_the_scene_away(scene, tmp_path, capsys):
    shutil.copytree(scene, tmp_path / "data" / "scene")
    inside = run(tmp_path / "data" / "scene", tmp_path / "data" / "scene", *PLAIN, iterations=1)
    for destination in (inside.path, tmp_path / "data"):
        assert train.main(["-s", str(inside.path), "-d", str(destination), "--overwrite", *PLAIN, "-i", "1"]) == 2
        assert "which --overwrite would move aside with the run; choose another -d" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.old-1"))


@pytest.mark.parametrize("mode", ["camera-densify", "mcmc", "normal-camera"])
def test_a_run_goes_on_with_the_same_bytes(mode, scene, tmp_path):
    flags = (*(SHORT if "densify" in mode else PLAIN), "--checkpoint_interval", "7", "--seed", "3")
    whole = run(scene, tmp_path / "whole", "--mode", mode, *flags, iterations=20)
    middle = min(whole.checkpoints.glob("*"), key=number_of)
    assert number_of(middle) < 20
    resumed = run(scene, tmp_path / "resumed", "--mode", mode, *flags, "--resume", str(middle), iterations=20)
    assert resumed.point_cloud(20).read_bytes() == whole.point_cloud(20).read_bytes()
    assert cameras_of(resumed) == cameras_of(whole)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--packed"], "the cpu backend has no packed; leave --packed out, or use --backend gsplat"),
        (["--sparse_grad"], "the cpu backend has no sparse_grad; leave --sparse_grad out, or use --backend gsplat"),
        (
            ["--radius_clip", "2"],
            "the cpu backend has no radius_clip; leave --radius_clip out, or use --backend gsplat",
        ),
    ],
)
def test_options_of_gsplat_are_refused_elsewhere_by_name(scene, tmp_path, capsys, flags, message):
    command = ["-s", str(scene), "-d", str(tmp_path / "run"), "-i", "2", "--device", "cpu", *PLAIN, *flags]
    assert train.main(command) == 2
    assert message in capsys.readouterr().err
