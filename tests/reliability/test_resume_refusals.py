"""Rows E11 and E12: checkpoints of another run, and forged ones, are refused with what differs, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import ToyDataset, ToyModel, toy_camera, toy_model, toy_run, toy_trainer

from gaussian_splatting.errors import CheckpointError
from gaussian_splatting.io.checkpoint import read_checkpoint, write_checkpoint
from gaussian_splatting.runs.resume import put_back
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.named import BaseSHLiftTrainer

pytestmark = pytest.mark.usefixtures("one_thread")


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
