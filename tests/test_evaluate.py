"""The evaluate command: the same numbers as render, from the pictures alone, side by side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_run import make_run

from gaussian_splatting import evaluate, render
from gaussian_splatting.errors import SplatError
from gaussian_splatting.losses import lpips as network
from gaussian_splatting.rendering.picture_files import encode_picture
from gaussian_splatting.runs.folder import RunFolder

FLAGS = ["--backend", "reference", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A scene and a run of it whose splat is a little darker than the photos."""
    folder = tmp_path_factory.mktemp("finished")
    run = make_run(folder, masked=(0,), eval=True)
    for path in (folder / "scene" / "images").glob("view ?.png"):
        from gaussian_splatting.rendering.picture_files import decode_picture

        path.write_bytes(encode_picture(np.minimum(decode_picture(path).astype(int) + 12, 255).astype(np.uint8)))
    assert render.main(["-d", str(run.path), *FLAGS]) == 0
    return folder


@pytest.fixture
def run(finished, tmp_path) -> RunFolder:
    shutil.copytree(finished / "run", tmp_path / "run")
    return RunFolder(tmp_path / "run")


def pictures_only(folder: Path, target: Path, offset: int) -> Path:
    """A rendered folder as another trainer leaves it: pictures and nothing else."""
    random = np.random.default_rng(0)
    for name in ("renders", "gt"):
        (target / name).mkdir(parents=True)
    for index in range(3):
        truth = random.integers(0, 200, (20, 30, 3), np.uint8)
        (target / "gt" / f"{index:05d}.png").write_bytes(encode_picture(truth))
        (target / "renders" / f"{index:05d}.png").write_bytes(encode_picture(truth + np.uint8(offset)))
    return folder


def test_pictures_give_the_numbers_that_render_gave(run, capsys):
    before = json.loads((run.rendered(30) / "results.json").read_text())
    tables = {name: (run.rendered(30) / name).read_bytes() for name in ("quality.csv", "per_view.json")}
    assert evaluate.main(["-d", str(run.path), *FLAGS]) == 0
    after = json.loads((run.rendered(30) / "results.json").read_text())
    assert 20 < after["psnr"] < 40 and after["masked_views"] == 1
    assert after == before
    assert {name: (run.rendered(30) / name).read_bytes() for name in tables} == tables


def test_views_are_rendered_first_when_there_are_none(run, capsys):
    shutil.rmtree(run.rendered(30))
    assert evaluate.main(["-d", str(run.path), *FLAGS]) == 0
    captured = capsys.readouterr()
    assert "no views of iteration 30 are rendered yet" in captured.err
    assert run.rendered(30).is_dir()
    assert "2 test" in captured.out


def test_flags_of_rendering_that_come_too_late_are_named(run, capsys):
    known = json.loads((run.rendered(30) / "results.json").read_text())["split"]
    assert evaluate.main(["-d", str(run.path), "--split", known, *FLAGS]) == 0
    assert "was rendered before" not in capsys.readouterr().err
    assert evaluate.main(["-d", str(run.path), "--split", "all", "-r", "2", *FLAGS]) == 0
    assert "is measured as it is, without --split, --resolution; to change that: render" in capsys.readouterr().err


def test_runs_are_compared_side_by_side_and_the_best_is_marked(tmp_path, capsys):
    close = pictures_only(tmp_path / "close", tmp_path / "close" / "ours_7", 3)
    far = pictures_only(tmp_path / "far", tmp_path / "far" / "test" / "ours_30", 30)
    assert evaluate.main(["-d", str(far), "-d", str(close), "--per_view", *FLAGS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["far", "close"]
    assert lines[1].split()[1:4] == ["30", "3", "18.588"]
    assert lines[2].split()[1:4] == ["7", "3", "38.588*"]
    assert any(line.split()[:1] == ["00002"] for line in lines)


def test_runs_of_unlike_views_are_said_to_be_so(run, tmp_path, capsys):
    other = pictures_only(tmp_path / "other", tmp_path / "other" / "ours_7", 3)
    assert evaluate.main(["-d", str(run.path), "-d", str(other), *FLAGS]) == 0
    assert "different numbers of views; their means are not comparable" in capsys.readouterr().out


def test_json_is_all_that_is_printed_to_stdout(run, capsys):
    shutil.rmtree(run.rendered(30))
    assert evaluate.main(["-d", str(run.path), "--json", *FLAGS]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["run"] == str(run.path) and found["views"] == 2


def test_a_folder_without_pairs_is_refused(tmp_path, capsys):
    (tmp_path / "ours_3" / "renders").mkdir(parents=True)
    (tmp_path / "ours_3" / "renders" / "00000.png").write_bytes(encode_picture(np.zeros((4, 4, 3), np.uint8)))
    assert evaluate.main(["-d", str(tmp_path), *FLAGS]) == 2
    assert "no render has a photo to compare with" in capsys.readouterr().err
    assert not (tmp_path / "ours_3" / "results.json").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert evaluate.main(["-d", str(tmp_path / "none"), *FLAGS]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_asking_for_lpips_without_weights_is_refused_with_the_way_to_get_them(run, capsys, monkeypatch):
    monkeypatch.delenv("LPIPS_WEIGHTS", raising=False)
    assert evaluate.main(["-d", str(run.path), "--lpips", "vgg", *FLAGS]) == 2
    assert "LPIPS needs lpips_vgg.safetensors" in capsys.readouterr().err


def test_lpips_is_measured_when_its_weights_are_here(run, capsys, monkeypatch, tmp_path):
    shapes = network._expected_shapes(network._architecture("alex"))
    generator = torch.Generator().manual_seed(0)
    weights = {
        network._file_name(name): torch.randn(shape, generator=generator).mul(0.05).abs_()
        if name.startswith("linear")
        else torch.randn(shape, generator=generator) * 0.05
        for name, shape in shapes.items()
    }
    save_file(weights, tmp_path / "lpips_alex.safetensors")
    monkeypatch.setenv("LPIPS_WEIGHTS", str(tmp_path))
    network.load_network.cache_clear()
    assert evaluate.main(["-d", str(run.path), *FLAGS]) == 0
    results = json.loads((run.rendered(30) / "results.json").read_text())
    assert results["lpips"] > 0 and results["lpips_network"] == "alex" and "lpips_note" not in results
    assert "LPIPS: alex, version 0.1" in capsys.readouterr().out
    assert "nan" not in (run.rendered(30) / "quality.csv").read_text()


def test_a_render_of_another_size_than_its_photo_is_refused_by_name(run):
    path = run.rendered(30) / "renders" / "00001.png"
    path.write_bytes(encode_picture(np.zeros((5, 5, 3), np.uint8)))
    with pytest.raises(SplatError, match="view 00001: the render is 5x5, the photo 48x36"):
        evaluate.measure_folder(run.rendered(30))


def test_a_low_lpips_is_the_best():
    assert evaluate.best([{"lpips": 0.2}, {"lpips": 0.1}, {"lpips": None}], "lpips") == 1
    assert evaluate.best([{"psnr": 20.0}, {"psnr": 21.0}], "psnr") == 1
    assert evaluate.best([{"psnr": 20.0}], "psnr") is None


def test_runs_of_one_name_are_told_apart_by_their_paths():
    assert evaluate.short_names(["a/run", "b/run"]) == ["a/run", "b/run"]
    assert evaluate.short_names(["a/one", "b/two/"]) == ["one", "two"]
