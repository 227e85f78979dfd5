"""Rows E12 and E16, and what --resume and --overwrite do: what goes on, what is announced, what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import STEPS, ToyDataset, ToyModel, results, toy_camera, toy_model, toy_run, toy_trainer

from gaussian_splatting import environment, train
from gaussian_splatting.errors import CheckpointError, SplatError
from gaussian_splatting.io.checkpoint import CheckpointFolder, read_checkpoint, write_checkpoint
from gaussian_splatting.runs import description as run_description
from gaussian_splatting.runs.folder import RunFolder
from gaussian_splatting.runs.resume import put_back
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.densify import Densify
from gaussian_splatting.trainer.named import BaseSHLiftOpacityResetDensificationTrainer, BaseSHLiftTrainer
from gaussian_splatting.trainer.opacity_reset import OpacityReset
from gaussian_splatting.trainer.sh_lift import SHLift

pytestmark = pytest.mark.usefixtures("one_thread")


class Stopped(Exception):
    """Ends a run from outside, as a kill would."""


def stopping(step: int, **settings: Any) -> Callable[[], BaseTrainer]:
    """Makes a trainer whose run ends while step `step` is being trained."""

    def make() -> BaseTrainer:
        trainer = toy_trainer(**settings)
        preprocess = trainer.preprocess

        def stop(camera: Any) -> Any:
            if trainer.curr_step == step:
                raise Stopped
            return preprocess(camera)

        trainer.preprocess = stop  # type: ignore[method-assign]
        return trainer

    return make


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, str]:
    toy_run(tmp_path / "undisturbed")
    return results(tmp_path / "undisturbed")


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A run that ended during step 4 of 6; the last checkpoint is of step 3, where it was rescued."""
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        toy_run(folder, make=stopping(4))
    assert CheckpointFolder(folder / "checkpoints").steps() == [2, 3]
    return folder


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
    assert any(re.search(announced + ".*the result may differ in its last bits", line) for line in lines), lines


def test_the_versions_of_this_installation_are_in_the_checkpoint(unfinished: Path):
    machine = read_checkpoint(unfinished / "checkpoints/step_000003.safetensors").description["machine"]
    assert machine["torch"] == environment.versions()["torch"]
    assert machine["threads"] == torch.get_num_threads()


# E12: refused with both values


class OtherPictures(ToyDataset):
    def __init__(self, change: Callable[[list[Any]], list[Any]]) -> None:
        super().__init__()
        self.cameras = change(self.cameras)


def brighter(cameras: list[Any]) -> list[Any]:
    return [cameras[0], cameras[1]._replace(ground_truth_image=cameras[1].ground_truth_image + 0.01), cameras[2]]


def moved(cameras: list[Any]) -> list[Any]:
    other = toy_camera(7)
    return [cameras[0], cameras[1]._replace(R=other.R, T=other.T), cameras[2]]


def white(cameras: list[Any]) -> list[Any]:
    return [camera._replace(bg_color=torch.ones(3)) for camera in cameras]


class BiggerModel(ToyModel):
    """Another kind of model."""


def model_of_kind(kind: type[ToyModel]) -> ToyModel:
    model, plain = kind(1), toy_model()
    model.set_rows({name: value.detach() for name, value in plain.rows().items()})
    return model


def antialiased() -> ToyModel:
    model = toy_model()
    model.antialiasing = True
    return model


REFUSED: dict[str, tuple[Callable[[], BaseTrainer], str]] = {
    "seed": (lambda: toy_trainer(seed=1), r"seed: 0 -> 1"),
    "option": (lambda: toy_trainer(opacity_lr=0.5), r"opacity_lr: 0.025 -> 0.5"),
    "two options": (
        lambda: toy_trainer(opacity_lr=0.5, densify_interval=3),
        r"opacity_lr: 0.025 -> 0.5\n(.|\n)*densify_interval: 2 -> 3",
    ),
    "fewer features": (
        lambda: toy_trainer(BaseSHLiftTrainer),
        r"features: only in the checkpoint .*densify.Densify, .*OpacityReset; only now none",
    ),
    "SH degree": (lambda: toy_trainer(model=toy_model(sh_degree=2)), r"sh_degree: 1 -> 2"),
    "antialiasing": (lambda: toy_trainer(model=antialiased()), r"antialiased: false -> true"),
    "model": (lambda: toy_trainer(model=model_of_kind(BiggerModel)), r'model: "ToyModel" -> "BiggerModel"'),
    "picture": (
        lambda: toy_trainer(cameras=OtherPictures(brighter)),
        r"view '.*': its pose, its picture or its maps have changed",
    ),
    "pose": (lambda: toy_trainer(cameras=OtherPictures(moved)), r"its pose, its picture or its maps have changed"),
    "background": (
        lambda: toy_trainer(cameras=OtherPictures(white)),
        r"background: \[0.0, 0.0, 0.0\] -> \[1.0, 1.0, 1.0\]",
    ),
    "missing view": (lambda: toy_trainer(cameras=OtherPictures(lambda c: c[:2])), r"number of views: 3 -> 2"),
    "order of views": (lambda: toy_trainer(cameras=OtherPictures(lambda c: c[::-1])), r"view "),
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_another_run_is_refused_with_both_values(unfinished: Path, make: Callable[[], BaseTrainer], reason: str):
    before = {path: path.read_bytes() for path in unfinished.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=reason) as caught:
        toy_run(unfinished, make=make)
    assert "belongs to a run with other settings (in the checkpoint -> now)" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert {path: path.read_bytes() for path in unfinished.rglob("*") if path.is_file()} == before


# E11 for what is in the tensors


FORGERIES: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], object], str]] = {
    "NaN step": (lambda t, d: t.update(step=torch.tensor(float("nan"))), r"tensor step is torch.float32, expected"),
    "step -1": (lambda t, d: d.update(step=-1), r"expected step of at least 0, found -1"),
    "tensor of step -1": (lambda t, d: t.update(step=torch.tensor(-1)), r"its tensors are not of step 3"),
    "step of text": (lambda t, d: d.update(step="4"), r"expected step of at least 0, found '4'"),
    "another step": (lambda t, d: d.update(step=5), r"its tensors are not of step 5"),
    "no step": (lambda t, d: t.pop("step"), r"its tensors are not of step 3"),
    "two steps": (lambda t, d: t.update(step=torch.tensor([3, 3])), r"its tensors are not of step 3"),
    "NaN parameter": (lambda t, d: t["parameter.xyz"].fill_(float("nan")), r"parameter.xyz holds values that no"),
    "NaN moment": (lambda t, d: t["moment.xyz.exp_avg"].fill_(float("nan")), r"xyz.exp_avg holds values that no"),
    "negative moment step": (lambda t, d: t["moment.xyz.step"].fill_(-1), r"moment.xyz.step holds values that no"),
    "NaN moment step": (lambda t, d: t["moment.xyz.step"].fill_(float("nan")), r"moment.xyz.step holds values that no"),
    "wrong rows": (lambda t, d: t.update({"parameter.opacity": torch.zeros(3, 1)}), r"opacity is \(3, 1\), expected"),
    "wrong dtype": (lambda t, d: t.update({"parameter.xyz": t["parameter.xyz"].double()}), r"xyz is torch.float64"),
    "missing tensor": (lambda t, d: t.pop("parameter.rotation"), r"missing \['parameter.rotation'\]"),
    "no Gaussians": (lambda t, d: t.pop("parameter.xyz"), r"has no Gaussians"),
    "unknown tensor": (lambda t, d: t.update(more=torch.zeros(1)), r"unknown \['more'\]"),
    "no settings": (lambda t, d: d.pop("settings"), r"its description has no settings"),
    "no machine": (lambda t, d: d.pop("machine"), r"its description has no machine"),
    "settings of text": (lambda t, d: d.update(settings="a"), r"its description has no settings"),
    "scene of numbers": (lambda t, d: d.update(scene={"views": [1]}), r"views in its description are not triples"),
    "schedule 0": (lambda t, d: d.update(schedule_length=0), r"expected schedule_length of at least 1, found 0"),
}  # fmt: skip


@pytest.mark.parametrize(("forge", "reason"), FORGERIES.values(), ids=FORGERIES.keys())
def test_a_checkpoint_that_fits_its_digest_but_no_run_is_refused(unfinished: Path, forge, reason: str):
    for path in (unfinished / "checkpoints").iterdir():
        found = read_checkpoint(path)
        if found.description["step"] == 3:
            forge(found.tensors, found.description)
            write_checkpoint(path, found.tensors, found.description)
    with pytest.raises(CheckpointError, match=reason) as caught:
        toy_run(unfinished)
    assert "step_000003.safetensors" in str(caught.value)


def test_a_refused_checkpoint_changes_nothing_in_the_trainer(unfinished: Path):
    found = read_checkpoint(unfinished / "checkpoints/step_000003.safetensors")
    del found.tensors["parameter.rotation"]
    trainer = toy_trainer()
    before = {name: value.detach().clone() for name, value in trainer.model.rows().items()}
    with pytest.raises(CheckpointError):
        put_back(trainer, found)
    assert trainer.curr_step == 0
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.rows().items())


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
