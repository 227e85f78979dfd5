"""Rows E12 and E16, and what --resume and --overwrite do: what goes on, and what is announced."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import STEPS, Stopped, results, stopping, toy_run, toy_trainer

from gaussian_splatting import environment, train
from gaussian_splatting.errors import CheckpointError, SplatError
from gaussian_splatting.io.checkpoint import read_checkpoint
from gaussian_splatting.runs import description as run_description
from gaussian_splatting.runs.folder import RunFolder
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.densify import Densify
from gaussian_splatting.trainer.named import BaseSHLiftOpacityResetDensificationTrainer
from gaussian_splatting.trainer.opacity_reset import OpacityReset
from gaussian_splatting.trainer.sh_lift import SHLift

pytestmark = pytest.mark.usefixtures("one_thread")


def said_by(folder: Path, steps: int = STEPS, **settings: Any) -> list[str]:
    lines: list[str] = []
    toy_run(folder, steps, say=lines.append, **settings)
    return lines


def test_the_same_command_goes_on_and_says_so(unfinished: Path, expected: dict[str, str]):
    lines = said_by(unfinished)
    assert f"going on after step 3 of 6, from {unfinished}/checkpoints/step_000003.safetensors" in lines
    assert results(unfinished) == expected


def test_every_step_may_be_the_last_before_a_kill(tmp_path: Path, expected: dict[str, str]):
    folder = tmp_path / "run"
    for step in range(1, STEPS + 1):
        with pytest.raises(Stopped):
            toy_run(folder, make=stopping(step))
    toy_run(folder)
    assert results(folder) == expected


def test_a_finished_run_says_that_it_is_complete_and_stays_as_it_is(tmp_path: Path, expected: dict[str, str]):
    folder = tmp_path / "undisturbed"
    assert said_by(folder) == [f"the run in {folder} is complete with 6 steps; a larger -i makes it longer"]
    assert results(folder) == expected


@pytest.mark.parametrize("lost", ["report.html", "point_cloud/iteration_6/point_cloud.ply", "progress/step_000006.jpg"])
def test_what_a_finished_run_has_lost_is_written_again(tmp_path: Path, expected: dict[str, str], lost: str):
    folder = tmp_path / "undisturbed"
    (folder / lost).unlink()
    said_by(folder)
    assert (folder / lost).is_file()
    assert results(folder) == expected


def test_logs_are_cut_back_to_the_checkpoint_and_torn_lines_go(unfinished: Path, expected: dict[str, str]):
    with (unfinished / "metrics.jsonl").open("ab") as stream:
        stream.write(b'{"step": 5, "loss": 7}\n{"step": 3, "lo')
    toy_run(unfinished)
    assert results(unfinished) == expected


def test_elapsed_seconds_go_on(tmp_path: Path):
    folder = RunFolder(tmp_path / "run")
    toy_run(folder.path, 10)
    first = folder.read_timing()[-1]["seconds"]
    toy_run(folder.path, 20)
    timing = folder.read_timing()
    assert [entry["step"] for entry in timing] == [10, 20]
    assert timing[1]["seconds"] > first


# --resume, --overwrite


def test_resume_never_refuses_a_run(unfinished: Path):
    with pytest.raises(SplatError, match=r"already holds a run .*--overwrite .*leave out --resume never"):
        toy_run(unfinished, resume="never")


def test_a_run_can_go_on_from_a_named_checkpoint_of_its_own(unfinished: Path, expected: dict[str, str]):
    lines = said_by(unfinished, resume=str(unfinished / "checkpoints/step_000002.safetensors"))
    assert any("going on after step 2 of 6" in line for line in lines)
    assert results(unfinished) == expected


def test_a_run_can_go_on_elsewhere(unfinished: Path, expected: dict[str, str], tmp_path: Path):
    toy_run(tmp_path / "other", resume=str(unfinished / "checkpoints/step_000003.safetensors"))
    found = results(tmp_path / "other")
    assert found["point_cloud/iteration_6/point_cloud.ply"] == expected["point_cloud/iteration_6/point_cloud.ply"]


def test_a_checkpoint_from_elsewhere_is_refused_where_a_run_is(unfinished: Path, tmp_path: Path):
    shutil.copytree(unfinished, tmp_path / "copy")
    path = tmp_path / "copy/checkpoints/step_000003.safetensors"
    with pytest.raises(SplatError, match="already holds a run, and .* is not one of its checkpoints"):
        toy_run(unfinished, resume=str(path))


def test_a_missing_checkpoint_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        toy_run(tmp_path / "run", resume=str(tmp_path / "absent.safetensors"))


def test_overwrite_moves_the_run_aside_whole(unfinished: Path, expected: dict[str, str]):
    before = {path.name: path.read_bytes() for path in unfinished.rglob("*") if path.is_file()}
    lines = said_by(unfinished, overwrite=True)
    aside = unfinished.with_name("run.old-1")
    assert f"the run that was in {unfinished} is now in {aside}" in lines
    after = {path.name: path.read_bytes() for path in aside.rglob("*") if path.is_file()}
    assert after == before
    assert results(unfinished) == expected


def test_overwrite_and_a_checkpoint_to_resume_contradict_each_other(unfinished: Path):
    with pytest.raises(SplatError, match="give only one of them"):
        toy_run(unfinished, overwrite=True, resume=str(unfinished / "checkpoints/step_000003.safetensors"))


def test_results_without_checkpoints_are_never_touched(tmp_path: Path):
    folder = tmp_path / "run"
    toy_run(folder)
    shutil.rmtree(folder / "checkpoints")
    before = results(folder)
    with pytest.raises(SplatError, match=r"already holds a run \(point_cloud\) without checkpoints to go on from"):
        toy_run(folder)
    assert results(folder) == before


def test_a_folder_with_settings_only_begins_anew(tmp_path: Path, expected: dict[str, str]):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "settings.json").write_text("{}")
    toy_run(folder)
    assert results(folder) == expected


def test_a_damaged_newest_checkpoint_is_skipped_and_named(unfinished: Path, expected: dict[str, str]):
    newest = unfinished / "checkpoints/step_000003.safetensors"
    newest.write_bytes(newest.read_bytes()[:-5])
    lines = said_by(unfinished)
    assert any(line.startswith(f"skipped {newest}: ") for line in lines)
    assert any("going on after step 2 of 6" in line for line in lines)
    assert results(unfinished) == expected


def test_when_every_checkpoint_is_damaged_nothing_starts_over(unfinished: Path):
    for path in (unfinished / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    before = {path: path.read_bytes() for path in unfinished.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=r"no checkpoint is whole, so the run cannot go on"):
        toy_run(unfinished)
    assert {path: path.read_bytes() for path in unfinished.rglob("*") if path.is_file()} == before


# E16


def test_a_longer_run_goes_on_and_its_schedules_stay(tmp_path: Path):
    folder = tmp_path / "run"
    toy_run(folder, 6)
    lines = said_by(folder, 9)
    assert "the run was for 6 steps; schedules keep the length they had, 6 steps" in lines
    toy_run(tmp_path / "at once", 9, schedule_length=6)
    names = [f"point_cloud/iteration_{step}/point_cloud.ply" for step in (4, 9)]
    longer, at_once = results(folder), results(tmp_path / "at once")
    assert [longer[name] for name in names] == [at_once[name] for name in names]


def test_an_unfinished_run_may_become_longer_or_shorter(unfinished: Path, tmp_path: Path):
    shutil.copytree(unfinished, tmp_path / "copy")
    assert any("going on after step 3 of 8" in line for line in said_by(unfinished, 8))
    assert any("going on after step 3 of 5" in line for line in said_by(tmp_path / "copy", 5))


def test_a_run_cannot_end_before_the_step_it_is_at(unfinished: Path):
    with pytest.raises(CheckpointError, match="the run is at step 3 already, 2 steps are asked for"):
        toy_run(unfinished, 2)


# E12: exact


class Permuted(Densify, OpacityReset, SHLift):
    """The same features in another order, under another name."""


def test_the_order_of_features_is_free(unfinished: Path, expected: dict[str, str]):
    toy_run(unfinished, make=lambda: toy_trainer(Permuted))
    found = results(unfinished, everything=False)
    assert found == {name: value for name, value in expected.items() if name in found}


def test_the_name_of_the_folder_is_free(unfinished: Path, expected: dict[str, str], tmp_path: Path):
    unfinished.rename(tmp_path / "ä new name")
    toy_run(tmp_path / "ä new name")
    assert results(tmp_path / "ä new name") == expected


# E12: allowed, announced


@pytest.mark.parametrize(
    ("change", "announced"),
    [
        ({"threads": 999}, r"threads 1 -> 999"),
        ({"instruction set": "AVX9"}, r'instruction set ".*" -> "AVX9"'),
        ({"torch": "0.1"}, r'torch ".*" -> "0.1"'),
        ({"numba": "0.1"}, r'numba ".*" -> "0.1"'),
        ({"gaussian_splatting": "0.0.1"}, r'gaussian_splatting ".*" -> "0.0.1"'),
        ({"device": "cuda"}, r'device "cpu" -> "cuda"'),
        ({"backend": "gsplat"}, r'backend "cpu" -> "gsplat"'),
        ({"processes": 2}, r"processes 1 -> 2 since .*: a step has as many views .*, so the result will differ$"),
    ],
)
def test_another_machine_is_announced(unfinished: Path, monkeypatch, change: dict[str, Any], announced: str):
    honest = run_description.describe

    def describe(*arguments: Any) -> dict[str, Any]:
        found = honest(*arguments)
        found["machine"] |= change
        return found

    monkeypatch.setattr("gaussian_splatting.runs.resume.describe", describe)
    lines = said_by(unfinished)
    effect = "" if "processes" in change else ".*the result may differ in its last bits"
    assert any(re.search(announced + effect, line) for line in lines), lines


def test_the_versions_of_this_installation_are_in_the_checkpoint(unfinished: Path):
    machine = read_checkpoint(unfinished / "checkpoints/step_000003.safetensors").description["machine"]
    assert machine["torch"] == environment.versions()["torch"]
    assert machine["threads"] == torch.get_num_threads()


def test_the_description_holds_no_times_hosts_or_paths(unfinished: Path):
    text = json.dumps(read_checkpoint(unfinished / "checkpoints/step_000003.safetensors").description)
    assert str(unfinished) not in text
    assert not re.search(r"20[0-9]{2}-[0-9]{2}|[0-9]{10}\.", text)


def test_a_trainer_of_a_known_name_is_described_by_its_features():
    described = run_description.features(BaseSHLiftOpacityResetDensificationTrainer)
    assert [name.rsplit(".", 1)[1] for name in described] == ["BaseTrainer", "Densify", "OpacityReset", "SHLift"]


# In Python


def test_the_library_call_trains_and_goes_on(tmp_path: Path, capsys):
    def call(steps: int) -> None:
        trainer = toy_trainer()
        assert trainer.dataset is not None
        train.training(trainer.dataset, trainer.model, trainer, tmp_path / "run", steps, [2])

    call(4)
    call(6)
    assert RunFolder(tmp_path / "run").iterations() == [2, 4, 6]
    said = capsys.readouterr().out
    assert "going on after step 4 of 6" in said
    toy_run(tmp_path / "other", schedule_length=4)
    name = "point_cloud/iteration_6/point_cloud.ply"
    assert results(tmp_path / "run")[name] == results(tmp_path / "other")[name]


def test_a_run_that_never_began_leaves_no_folder(tmp_path: Path):
    def fail() -> BaseTrainer:
        raise SplatError("the scene is not there")

    with pytest.raises(SplatError):
        toy_run(tmp_path / "run", make=fail)
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(SplatError):
        toy_run(tmp_path / "mine", make=fail)
    assert list((tmp_path / "mine").iterdir()) == []


def test_an_option_that_this_version_does_not_have_names_the_way_on() -> None:
    scene, machine = {"digest": "d", "count": 1, "views": []}, {}
    now = {"settings": {"features": ["a"], "seed": 0}, "scene": scene, "machine": machine}
    older = {**now, "settings": {**now["settings"], "camera_gauge_weight": 3.0}}
    with pytest.raises(CheckpointError, match="no option camera_gauge_weight: go on with the version that began"):
        run_description.compare(older, now, Path("step_000001.safetensors"))
