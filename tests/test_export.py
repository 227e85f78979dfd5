"""The export command: what it converts, what it says, and what it refuses before it reads anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from splat_samples import random_splats

from gaussian_splatting import export
from gaussian_splatting.io.formats import read_splats, write_splats
from gaussian_splatting.io.ply import read_gaussians, write_gaussians


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.ply"
    write_gaussians(path, random_splats(500, 1))
    return path


def run(*words: object) -> int:
    return export.main([str(word) for word in words])


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.splat", "a.spz", "a.sog", "a.glb", "sog/meta.json"])
def test_any_format_becomes_any_other(scene: Path, tmp_path: Path, name: str, capsys) -> None:
    assert run(scene, tmp_path / name) == 0
    assert len(read_splats(tmp_path / name)) == 500
    said = capsys.readouterr().out
    assert f"{scene}: PLY, 500 Gaussians, SH degree 1" in said
    assert f"written: {tmp_path / name}" in said
    assert ("SH degree 1 cut to 0: splat holds no more" in said) == (name == "a.splat")
    assert run(tmp_path / name, tmp_path / "back.ply") == 0
    assert len(read_gaussians(tmp_path / "back.ply")) == 500


def test_a_folder_that_is_not_there_is_not_taken_for_a_format(tmp_path: Path, capsys) -> None:
    assert run(tmp_path / "run", tmp_path / "a.ply") == 2
    assert "run: there is no such file or folder; give a splat file or a run folder" in capsys.readouterr().err


def test_a_run_gives_its_newest_iteration_or_the_one_asked_for(tmp_path: Path) -> None:
    for iteration, number in ((7, 10), (30, 20)):
        write_gaussians(tmp_path / f"run/point_cloud/iteration_{iteration}/point_cloud.ply", random_splats(number, 1))
    assert run(tmp_path / "run", tmp_path / "new.ply") == 0
    assert run(tmp_path / "run", tmp_path / "old.ply", "-i", 7) == 0
    assert [len(read_gaussians(tmp_path / name)) for name in ("new.ply", "old.ply")] == [20, 10]


def test_a_run_trained_with_antialiasing_says_so_in_the_header(tmp_path: Path) -> None:
    write_gaussians(tmp_path / "run/point_cloud/iteration_7/point_cloud.ply", random_splats(10, 1))
    (tmp_path / "run/settings.json").write_text(json.dumps({"antialiased": True}))
    assert run(tmp_path / "run", tmp_path / "a.spz") == 0
    assert read_splats(tmp_path / "a.spz").antialiased is True
    assert run(tmp_path / "a.spz", tmp_path / "b.sog", "--no_antialiased") == 0
    assert read_splats(tmp_path / "b.sog").antialiased is False
    assert run(tmp_path / "a.spz", tmp_path / "b.sog", tmp_path / "c.ply") == 2


def test_several_files_are_merged(scene: Path, tmp_path: Path, capsys) -> None:
    write_splats(tmp_path / "b.glb", random_splats(100, 3, seed=1))
    assert run(scene, tmp_path / "b.glb", tmp_path / "both.ply") == 0
    assert "merged: 600 Gaussians" in capsys.readouterr().out
    both = read_gaussians(tmp_path / "both.ply")
    assert (len(both), both.sh_degree) == (600, 3)


def test_edits_are_made_in_their_order_and_said(scene: Path, tmp_path: Path, capsys) -> None:
    edits = ["--crop=-1,-1,-1,1,1,1", "--clean", "--transform", "scale:2", "--center", "--sh_degree", "0"]
    assert run(scene, tmp_path / "a.ply", *edits) == 0
    found, before = read_gaussians(tmp_path / "a.ply"), read_gaussians(scene)
    inside = (np.abs(before.xyz) <= 1).all(axis=1)
    said = capsys.readouterr().out
    assert f"crop: {500 - inside.sum()} removed, {inside.sum()} left" in said
    assert "clean: " in said and "transparent" in said and "outliers removed" in said
    assert "center: moved by" in said
    assert found.sh_degree == 0
    assert 0 < len(found) <= inside.sum()
    assert np.abs(np.median(found.xyz, axis=0)).max() < 1e-5
    assert np.ptp(found.xyz) > 2


def test_a_page_is_one_file_without_any_address(scene: Path, tmp_path: Path) -> None:
    assert run(scene, tmp_path / "a.html") == 0
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "http" not in page and "src=" not in page and "%S" not in page
    assert page.count("<script") == page.count("</script>") == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{scene}", "{folder}/a.xyz"], "the name is of no splat format"),
        (["{scene}", "{folder}/a.xyz"], "or .html for a page with a viewer"),
        (["{scene}", "{folder}/a.ksplat"], "KSPLAT is only read; write one of"),
        (["{scene}", "{scene}"], "is there already; choose another name, or give --overwrite"),
        (["{scene}", "{scene}", "--overwrite"], "is one of the inputs; choose another name"),
        (["{folder}/none.ply", "{folder}/a.ply"], "cannot be read"),
        (["{folder}", "{folder}/a.ply"], "no splat"),
        (["{scene}", "{folder}/a.ply", "--crop=1,2"], "crop: expected 6 numbers"),
        (["{scene}", "{folder}/a.ply", "--transform", "2"], "transform: expected 16 numbers"),
    ],
)
def test_mistakes_are_refused_with_their_cure(scene: Path, words: list[str], message: str, capsys) -> None:
    if message == "no splat":
        message = "expected point_cloud/iteration_<N>/point_cloud.ply"
    before = scene.read_bytes()
    assert run(*(word.format(scene=scene, folder=scene.parent) for word in words)) == 2
    assert message in capsys.readouterr().err
    assert scene.read_bytes() == before
    assert sorted(path.name for path in scene.parent.iterdir()) == ["scene.ply"]


def test_what_is_there_is_replaced_when_asked(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "a.spz").write_bytes(b"old")
    assert run(scene, tmp_path / "a.spz", "--overwrite") == 0
    assert len(read_splats(tmp_path / "a.spz")) == 500


def test_strict_refuses_what_is_dropped_otherwise(tmp_path: Path, capsys) -> None:
    gaussians = random_splats(20, 1)
    gaussians.rotation[3] = 0
    write_gaussians(tmp_path / "a.ply", gaussians)
    assert run(tmp_path / "a.ply", tmp_path / "b.ply") == 0
    assert "1 of 20 Gaussians cannot be rendered" in capsys.readouterr().err
    assert run(tmp_path / "a.ply", tmp_path / "c.ply", "--strict") == 2
    assert not (tmp_path / "c.ply").exists()


def test_help_does_not_wait_for_torch() -> None:
    import subprocess
    import sys

    code = "import sys, gaussian_splatting.export as e; e.build_parser(); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
