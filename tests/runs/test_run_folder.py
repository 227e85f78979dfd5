"""The run folder: what is where, what is newest, and what is never destroyed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.runs.claim import claimed
from gaussian_splatting.runs.folder import RunFolder, move_aside, read_steps


def with_splats(path: Path, *iterations: int) -> RunFolder:
    folder = RunFolder(path)
    for iteration in iterations:
        folder.point_cloud(iteration).parent.mkdir(parents=True)
        folder.point_cloud(iteration).write_bytes(b"ply")
    return folder


def test_the_newest_iteration_is_by_number(tmp_path):
    folder = with_splats(tmp_path / "run", 900, 7_000, 30_000, 1_000)
    assert folder.iterations() == [900, 1_000, 7_000, 30_000]
    assert folder.newest_iteration() == 30_000
    assert folder.resolve(None) == folder.resolve(-1) == 30_000
    assert folder.resolve(900) == 900


def test_an_iteration_without_a_file_does_not_count(tmp_path):
    folder = with_splats(tmp_path / "run", 10)
    (tmp_path / "run" / "point_cloud" / "iteration_20").mkdir()
    (tmp_path / "run" / "point_cloud" / "iteration_x").mkdir()
    assert folder.iterations() == [10]


def test_a_missing_iteration_lists_those_that_exist(tmp_path):
    with pytest.raises(SplatError, match=r"no splat of iteration 5; found the iterations 10, 20"):
        with_splats(tmp_path / "run", 10, 20).resolve(5)


def test_a_missing_run_lists_its_neighbours(tmp_path):
    with_splats(tmp_path / "truck", 10)
    with pytest.raises(SplatError, match=r"no such folder; runs beside it: truck"):
        RunFolder(tmp_path / "trukc").newest_iteration()


def test_a_folder_without_splats_says_what_it_holds(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(SplatError, match=r"expected point_cloud/iteration_<N>.*found images"):
        RunFolder(tmp_path).newest_iteration()


def test_settings_come_back_with_versions_and_machine(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_settings(source="data/truck", sh_degree=2, iterations=30)
    settings = folder.settings()
    assert settings["iterations"] == 30
    assert "torch" in settings["versions"]
    assert settings["machine"]["threads"] >= 1
    assert folder.cfg_args.read_text() == "Namespace(sh_degree=2, source_path='data/truck')"


def test_settings_of_another_trainer_are_read_and_never_evaluated(tmp_path):
    folder = RunFolder(tmp_path)
    folder.cfg_args.write_text("Namespace(sh_degree=3, source_path='/data/truck', white_background=False)")
    settings = folder.settings()
    assert (settings["source"], settings["white_background"]) == ("/data/truck", False)
    folder.cfg_args.write_text("Namespace(source_path=__import__('os').getcwd())")
    with pytest.raises(FormatError, match="not a printed Namespace"):
        folder.settings()


@pytest.mark.parametrize("text", ["{", "[1]", '{"a":' * 100_000])
def test_damaged_settings_are_refused_by_name(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(FormatError, match=r"settings\.json"):
        RunFolder(tmp_path).settings()


def test_torn_log_lines_are_left_out_and_the_last_word_on_a_step_counts(tmp_path):
    lines = [{"step": 1, "loss": 3.0}, {"step": 3, "loss": 9.0}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": 1.0}]
    (tmp_path / "log").write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 4, "lo')
    assert [(entry["step"], entry["loss"]) for entry in read_steps(tmp_path / "log")] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert read_steps(tmp_path / "absent") == []


def test_rendered_folders_of_this_and_other_trainers_are_found(tmp_path):
    for name in ("ours_30", "ours_200", "test/ours_30", "test/ours_7", "ours_x"):
        (tmp_path / name / "renders").mkdir(parents=True)
    (tmp_path / "ours_9").mkdir()
    found = RunFolder(tmp_path).rendered_folders()
    assert list(found.items()) == [
        (7, tmp_path / "test/ours_7"),
        (30, tmp_path / "ours_30"),
        (200, tmp_path / "ours_200"),
    ]


def test_a_run_is_refused_rather_than_overwritten(tmp_path):
    folder = with_splats(tmp_path / "run", 10)
    with pytest.raises(SplatError, match=r"already holds a run.*--overwrite"), claimed(folder.path, "never"):
        pass
    assert folder.point_cloud(10).read_bytes() == b"ply"


def test_overwriting_moves_the_old_run_aside_whole(tmp_path):
    with_splats(tmp_path / "run", 10)
    (tmp_path / "run.old-1").mkdir()
    with claimed(tmp_path / "run", overwrite=True) as claim:
        claim.begin()
        assert claim.run.iterations() == []
    assert RunFolder(tmp_path / "run.old-2").iterations() == [10]


def test_an_existing_folder_without_a_run_is_used_as_it_is(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with claimed(tmp_path) as claim:
        claim.begin()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_progress_pictures_are_in_the_order_of_steps(tmp_path):
    folder = RunFolder(tmp_path)
    folder.progress.mkdir()
    for step in (1_000_000, 20, 100):
        folder.progress_picture(step).touch()
    (folder.progress / "step_last.jpg").touch()
    assert list(folder.progress_pictures()) == [20, 100, 1_000_000]


def test_moving_aside_names_what_could_not_be_moved(tmp_path):
    with pytest.raises(SplatError, match="cannot be moved"):
        move_aside(tmp_path / "absent")
