"""Rows F2, F4 and F5: training stops at the first number that is not finite, and at the last Gaussian, and says why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toy import STEPS, ToyDataset, results, toy_model, toy_run, toy_trainer

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.gaussian_rows import ATTRIBUTES
from gaussian_splatting.io.checkpoint import CheckpointFolder, read_checkpoint
from gaussian_splatting.trainer import checks
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.named import BaseDensificationTrainer, BaseSHLiftOpacityResetDensificationTrainer
from gaussian_splatting.trainer.snapshot import capture
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

VALUES = (float("nan"), float("inf"), -float("inf"))
AT = (1, 2, 4)
ROW = 3


class Poison(BaseTrainer):
    """Puts one bad number into a loss term or a gradient, at one step."""

    def losses(self, out: dict[str, Any], camera: Any) -> Iterator[tuple[str, Tensor]]:
        yield from super().losses(out, camera)
        yield "poison", self.dose()

    def dose(self) -> Tensor:
        kind, name, value, step = getattr(self, "plan", ("none", "", 0.0, 0))
        parameter = self.model.rows()["xyz" if kind != "gradient" else name]
        nothing = (parameter * 0).sum()
        if self.curr_step != step or kind == "none":
            return nothing
        return nothing + value if kind == "term" else nothing + WithGradient.apply(parameter, value)


class WithGradient(torch.autograd.Function):
    """Zero, whose gradient is `value` in one place."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, value: float) -> Tensor:
        ctx.shape, ctx.value = parameter.shape, value
        return parameter.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        found = torch.zeros(ctx.shape)
        found[(ROW, *[0] * (len(ctx.shape) - 1))] = ctx.value
        return found, None


class Poisoned(Poison, BaseSHLiftOpacityResetDensificationTrainer):
    """The full recipe with poison in it."""


def poisoned(kind: str, name: str, value: float, step: int) -> BaseTrainer:
    trainer = toy_trainer(Poisoned)
    trainer.plan = (kind, name, value, step)  # type: ignore[attr-defined]
    return trainer


@pytest.fixture(scope="module")
def states() -> list[dict[str, Tensor]]:
    """What a healthy run is after each of its steps."""
    trainer = toy_trainer(Poisoned)
    return [capture(trainer), *(capture(trainer) for _ in trainer.run(ToyDataset(), STEPS))]


def run_into(trainer: BaseTrainer) -> str:
    with pytest.raises(TrainingError) as caught:
        for _ in trainer.run(ToyDataset(), STEPS):
            pass
    return str(caught.value)


def assert_untouched(trainer: BaseTrainer, before: dict[str, Tensor]) -> None:
    """Parameters, moments and statistics are those of the step before."""
    after = capture(trainer)
    assert after.keys() == before.keys()
    assert [name for name in before if name != "step" and not torch.equal(after[name], before[name])] == []


@pytest.mark.parametrize("step", AT)
@pytest.mark.parametrize("value", VALUES)
def test_a_bad_loss_term_stops_the_run_before_the_update(states, value: float, step: int):
    trainer = poisoned("term", "", value, step)
    message = run_into(trainer)
    assert re.match(rf"step {step}, view 'toy_[012]': the loss term 'poison' is {value}\.", message)
    assert_untouched(trainer, states[step - 1])


@pytest.mark.parametrize("step", AT)
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_bad_gradient_stops_the_run_before_the_update(states, name: str, value: float, step: int):
    trainer = poisoned("gradient", name, value, step)
    message = run_into(trainer)
    where = (
        rf"step {step}, view 'toy_[012]': the gradient of '{name}' is {value} at index \[{ROW}(, 0)*\] \(1 such value"
    )
    assert re.match(where, message), message
    assert_untouched(trainer, states[step - 1])


@pytest.mark.parametrize("name", [name for name in ATTRIBUTES if name != "f_rest"])
def test_a_bad_parameter_is_named_as_the_cause(name: str):
    trainer = toy_trainer(Poisoned)
    for _ in trainer.run(ToyDataset(), 2):
        pass
    trainer.model.rows()[name].data.reshape(-1)[5] = float("nan")
    message = run_into(trainer)
    assert message.startswith("step 3, view ")
    assert f"Its cause: parameter '{name}' is nan at index [" in message


def test_a_bad_moment_of_a_gradient_too_large_to_square_is_no_alarm():
    """1e30 is finite; its square is not, and Adam divides by it: the parameter stands still, which is finite too."""
    trainer = poisoned("gradient", "xyz", 1e30, 2)
    for _ in trainer.run(ToyDataset(), STEPS):
        pass
    checks.finite_parameters(trainer.optimizer, STEPS)


def test_without_the_check_the_poison_spreads(monkeypatch):
    """The control."""
    monkeypatch.setattr(checks, "finite_step", lambda *_: None)
    trainer = poisoned("gradient", "xyz", float("nan"), 2)
    for _ in trainer.run(ToyDataset(), 3):
        pass
    assert not torch.isfinite(trainer.model.get_xyz).all()


@pytest.mark.parametrize("step", AT)
@pytest.mark.parametrize(("kind", "name"), [("term", ""), ("gradient", "opacity"), ("gradient", "f_rest")])
def test_the_step_before_is_on_disk_and_the_run_is_not_completed(
    tmp_path: Path, states, kind: str, name: str, step: int
):
    said: list[str] = []
    with pytest.raises(TrainingError) as caught:
        toy_run(tmp_path / "run", make=lambda: poisoned(kind, name, float("nan"), step), say=said.append)
    path = CheckpointFolder(tmp_path / "run/checkpoints").file(step - 1)
    assert f"The last finished step is saved in {path}." in str(caught.value)
    stored = read_checkpoint(path)
    assert stored.description["step"] == step - 1
    assert all(torch.equal(stored.tensors[name], value) for name, value in states[step - 1].items())
    assert not any("completed" in line for line in said)
    assert not (tmp_path / f"run/point_cloud/iteration_{STEPS}").exists()


def test_a_run_healed_by_its_user_goes_on_from_there(tmp_path: Path):
    with pytest.raises(TrainingError):
        toy_run(tmp_path / "run", make=lambda: poisoned("term", "", float("nan"), 4))
    toy_run(tmp_path / "run", make=lambda: toy_trainer(Poisoned))
    toy_run(tmp_path / "healthy", make=lambda: toy_trainer(Poisoned))
    assert results(tmp_path / "run") == results(tmp_path / "healthy")


class Spoiler(BaseTrainer):
    """Spoils a parameter where no gradient would show it."""

    def after_step(self) -> None:
        super().after_step()
        if self.curr_step == 3:
            self.model._rotation.data[0] = float("inf")


def test_poison_never_reaches_a_checkpoint_or_a_splat(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(checks, "finite_step", lambda *_: None)
    with pytest.raises(TrainingError, match=r"step 4: parameter '\w+' is (inf|nan) at .*; it is not saved"):
        toy_run(tmp_path / "run", make=lambda: toy_trainer(Spoiler))
    for path in (tmp_path / "run/checkpoints").iterdir():
        tensors = read_checkpoint(path).tensors
        assert all(torch.isfinite(value).all() for name, value in tensors.items() if name.startswith("parameter."))
    assert not (tmp_path / "run/point_cloud").exists()


class Idle(BaseTrainer):
    """Spoils what no picture shows yet."""

    def after_step(self) -> None:
        super().after_step()
        if self.curr_step == 3:
            self.model._features_rest.data[2, 1, 0] = float("nan")


def test_a_bad_parameter_without_effect_is_found_before_it_is_logged_or_saved(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"step 4: parameter 'f_rest' is nan at index \[2, 1, 0\] \(1 such value"):
        toy_run(tmp_path / "run", make=lambda: toy_trainer(Idle, model=toy_model(sh_degree=1)))


# F4


def pruning(**options: Any) -> BaseTrainer:
    return toy_trainer(BaseDensificationTrainer, prune_from_iter=1, prune_interval=1, **options)


def test_when_all_are_pruned_the_message_says_how_many_when_and_why(tmp_path: Path):
    said: list[str] = []
    with pytest.raises(TrainingError) as caught:
        toy_run(tmp_path / "run", make=lambda: pruning(prune_opacity_threshold=1.0), say=said.append)
    message = str(caught.value)
    assert message.startswith("all 12 Gaussians were to be pruned at step 1: 12 of opacity < 1, 0 of scale > "), message
    assert "Lower prune_opacity_threshold" in message
    assert f"The last checkpoint is {tmp_path}/run/checkpoints/step_000000.safetensors" in message
    assert not any("completed" in line for line in said)
    assert CheckpointFolder(tmp_path / "run/checkpoints").newest()[0] is not None


def test_those_too_large_are_counted_too():
    trainer = pruning(prune_percent_too_big=1e-6)
    assert re.search(r"0 of opacity < 0.005, 12 of scale > ", run_into(trainer))


@pytest.mark.parametrize("num", [1, 2, 3])
def test_very_few_gaussians_train(num: int):
    trainer = toy_trainer(model=toy_model(num))
    for loss, _ in trainer.run(ToyDataset(), 20):
        assert torch.isfinite(loss)


def test_all_but_one_pruned_goes_on():
    model = toy_model()
    model._opacity.data[1:] = -9.0
    trainer = pruning(model=model, densify_from_iter=1000)
    for loss, _ in trainer.run(ToyDataset(), 20):
        assert torch.isfinite(loss)
    assert len(trainer.model) == 1


def test_refining_in_the_last_step_leaves_a_good_result(tmp_path: Path):
    toy_run(tmp_path / "run", make=lambda: toy_trainer(densify_interval=STEPS, prune_interval=STEPS))
    assert (tmp_path / f"run/point_cloud/iteration_{STEPS}/point_cloud.ply").is_file()


PICTURES: dict[str, Callable[[Tensor], Tensor]] = {
    "black": torch.zeros_like,
    "white": torch.ones_like,
    "constant": lambda picture: torch.full_like(picture, 0.3),
}


@pytest.mark.parametrize("picture", PICTURES)
def test_plain_pictures_train(picture: str):
    """On the real rasteriser: SSIM of constant pictures divides by almost nothing."""
    cameras = TinyDataset()
    change = PICTURES[picture]
    cameras.cameras = [c._replace(ground_truth_image=change(c.ground_truth_image)) for c in cameras.cameras]
    trainer = BaseSHLiftOpacityResetDensificationTrainer(tiny_model(), cameras, densify_interval=5, densify_from_iter=1)
    for loss, _ in trainer.run(cameras, 20):
        assert torch.isfinite(loss)
    checks.finite_parameters(trainer.optimizer, 20)


def test_a_view_that_sees_nothing_trains():
    cameras = TinyDataset()
    behind = cameras.cameras[1]
    cameras.cameras[1] = behind._replace(
        T=behind.T - torch.tensor([0.0, 0.0, 50.0]),
        world_view_transform=behind.world_view_transform - torch.tensor([[0.0] * 4] * 3 + [[0.0, 0.0, 50.0, 0.0]]),
    )
    trainer = BaseSHLiftOpacityResetDensificationTrainer(tiny_model(), cameras)
    seen = [int((out["radii"] > 0).sum()) for _, out in trainer.run(cameras, 9)]
    assert 0 in seen
    checks.finite_parameters(trainer.optimizer, 9)


# F5


@pytest.mark.parametrize("limit", [12, 13, 17, 30, 31])
def test_the_limit_on_gaussians_is_never_exceeded_and_is_reached(limit: int):
    trainer = toy_trainer(
        densify_target_upper_bound=limit, densify_interval=1, densify_grad_threshold=0.0, prune_from_iter=1000
    )
    counts = [len(trainer.model) for _ in trainer.run(ToyDataset(), 20)]
    assert max(counts) == limit


def test_near_the_limit_it_is_said_once(tmp_path: Path):
    said: list[str] = []
    make: Callable[[], BaseTrainer] = lambda: toy_trainer(densify_target_upper_bound=20, densify_grad_threshold=0.0)  # noqa: E731
    toy_run(tmp_path / "run", 10, make=make, say=said.append)
    lines = [line for line in said if "of the limit of 20" in line]
    assert len(lines) == 1
    assert re.match(
        r"step \d+: (18|19|20) Gaussians, 90% of the limit of 20 is reached; raise densify_target_upper_bound", lines[0]
    )
