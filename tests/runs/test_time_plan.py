"""--minutes: plans that fit a clock, decisions that are recorded, and a resumed run that goes on exactly."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_run import make_scene, splat

from gaussian_splatting import train
from gaussian_splatting.errors import CheckpointError
from gaussian_splatting.io.checkpoint import read_checkpoint
from gaussian_splatting.runs.folder import RunFolder
from gaussian_splatting.runs.resume import put_back
from gaussian_splatting.runs.time_plan import TimePlan, decisions_in, follow, longer_run
from gaussian_splatting.trainer import BaseFastTrainer, BaseTrainer
from gaussian_splatting.trainer.snapshot import capture
from gaussian_splatting.trainer.stretch import expected_cost
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

SCHEDULE = {"run_length": 1_000, "budget_from_iter": 100, "budget_until_iter": 600, "resolution_smallest_side": 6}


class Clock:
    """A run on a machine whose speed is known: no step is taken, and time passes as it would."""

    def __init__(self, length: int) -> None:
        self.trainer = BaseFastTrainer(tiny_model(), TinyDataset(), **SCHEDULE)
        self.length, self.elapsed = length, 0.0

    def run(self, plan: TimePlan, slowness) -> None:
        while self.trainer.curr_step < self.length:
            step = self.trainer.curr_step
            self.elapsed += slowness(step) * expected_cost(self.trainer, step, step + 1, 32 * 24)
            self.trainer.curr_step += 1
            new = plan.revised(self.trainer, TinyDataset(), self.length, self.elapsed)
            assert new >= self.trainer.curr_step
            self.length = new


@pytest.mark.parametrize("first", [300, 1_000, 4_000])
def test_the_time_is_met_whatever_the_first_guess(first):
    clock = Clock(first)
    clock.run(TimePlan(6.0), lambda step: 1.0)
    assert clock.elapsed == pytest.approx(6.0, rel=0.05)


@pytest.mark.parametrize("change", [0.5, 2.5])
def test_the_time_is_met_when_the_machine_changes_its_speed(change):
    clock = Clock(1_000)
    clock.run(TimePlan(6.0), lambda step: change if step > 400 else 1.0)
    assert clock.elapsed == pytest.approx(6.0, rel=0.05)


def test_a_good_plan_is_left_alone():
    clock = Clock(1_000)
    seconds = expected_cost(clock.trainer, 0, 1_000, 32 * 24)
    clock.run(TimePlan(seconds), lambda step: 1.0)
    assert clock.length == 1_000


@pytest.mark.parametrize("short", [1_500, 20_000])
def test_a_longer_run_with_more_gaussians_costs_what_is_affordable(short):
    def make(length: int) -> BaseTrainer:
        parts = {"budget_from_iter": 0.1, "budget_until_iter": 0.6, "run_length": 1.0}
        moments = {name: round(part * length) for name, part in parts.items()}
        return BaseFastTrainer(tiny_model(), TinyDataset(), resolution_smallest_side=6, **moments)

    affordable = expected_cost(make(1_000), 0, 1_000, 32 * 24) * short / 1_000
    length = longer_run(make, 32 * 24, short, affordable)
    assert length < short
    assert expected_cost(make(length), 0, length, 32 * 24) == pytest.approx(affordable, rel=0.05)


def test_a_known_number_of_gaussians_counts_instead_of_the_expected_one():
    trainer = BaseFastTrainer(tiny_model(), TinyDataset(), **SCHEDULE)
    few, many = (expected_cost(trainer, 900, 901, 32 * 24, num) for num in (60, 600_000))
    assert few < expected_cost(trainer, 900, 901, 32 * 24) < many


def test_a_short_run_makes_no_other_trainer():
    assert longer_run(lambda length: pytest.fail("a trainer was made"), 32 * 24, 900, 1.0) == 900


def test_when_the_time_is_over_the_run_ends():
    trainer = SimpleNamespace(curr_step=50, picture_share=lambda step: 1.0, expected_count=lambda step: 10)
    plan = TimePlan(1.0)
    plan.revised(trainer, TinyDataset(), 1_000, 0.9)  # pyright: ignore[reportArgumentType]
    trainer.curr_step = 500
    assert plan.revised(trainer, TinyDataset(), 1_000, 5.0) == 500  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """A COLMAP folder of nine small views."""
    return make_scene(tmp_path_factory.mktemp("minutes") / "scene", splat())


def call(scene: Path, folder: Path, *flags: str) -> int:
    plain = ["--preset", "fast", "--quiet", "--threads", "1", "--resolution_smallest_side", "8"]
    return train.main(["-s", str(scene), "-d", str(folder), *plain, *flags])


def test_the_decisions_are_in_the_checkpoint_and_a_resumed_trainer_goes_on_with_the_same_bits(scene, tmp_path):
    assert call(scene, tmp_path / "run", "--minutes", "0.03", "--checkpoint_interval", "20") == 0
    run = RunFolder(tmp_path / "run")
    last = max(run.iterations())
    assert run.settings()["iterations"] == last
    checkpoints = sorted(run.checkpoints.glob("*.safetensors"))
    description = read_checkpoint(checkpoints[-1]).description
    assert description["iterations"] == description["step"] == last
    decided = decisions_in(description, "")
    assert not decided or decided[-1][1] == last


def test_what_is_done_once_comes_before_the_time(scene, tmp_path, monkeypatch):
    """As the first step of an installation, which compiles kernels."""
    real, paused = BaseTrainer.step, 3.0
    pauses = [paused]

    def slow_at_first(trainer, camera):
        time.sleep(pauses.pop() if pauses else 0)
        return real(trainer, camera)

    monkeypatch.setattr(BaseTrainer, "step", slow_at_first)
    assert call(scene, tmp_path / "run", "--minutes", "0.02") == 0
    assert RunFolder(tmp_path / "run").read_timing()[-1]["seconds"] < paused
    assert not pauses


def test_a_finished_run_of_a_time_is_finished(scene, tmp_path, capsys):
    assert call(scene, tmp_path / "run", "--minutes", "0.02") == 0
    capsys.readouterr()
    assert call(scene, tmp_path / "run", "--minutes", "0.02") == 0
    assert "is complete with" in capsys.readouterr().out


def test_decisions_are_followed_by_another_trainer(tmp_path):
    from gaussian_splatting.io.checkpoint import write_checkpoint
    from gaussian_splatting.trainer.stretch import stretch

    def make() -> BaseFastTrainer:
        return BaseFastTrainer(tiny_model(), TinyDataset(), budget_interval=5, budget_from_iter=5,
                               budget_until_iter=60, resolution_smallest_side=6)  # fmt: skip

    first = make()
    for _ in first.run(TinyDataset(), 20):
        pass
    stretch(first, 20, 100, 40)
    description = {"step": 20, "schedule_length": 100, "plan": [[20, 40]]}
    write_checkpoint(tmp_path / "one", capture(first), description)
    second, checkpoint = make(), read_checkpoint(tmp_path / "one")
    put_back(second, checkpoint)
    assert follow(second, checkpoint) == [(20, 40)]
    for trainer in (first, second):
        for _ in trainer.run(TinyDataset(), 40):
            pass
    one, other = capture(first), capture(second)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("plan", [7, [[1, 2, 3]], [[-1, 5]], [["1", 5]], [[True, 5]]])
def test_decisions_that_are_none_are_refused(plan):
    with pytest.raises(CheckpointError, match=r"one\.ckpt: the decisions of its time plan are not pairs"):
        decisions_in(json.loads(json.dumps({"plan": plan})), "one.ckpt")


def test_decisions_that_no_run_can_have_made_are_refused():
    checkpoint = SimpleNamespace(description={"plan": [[50, 40]], "schedule_length": 100}, path="one.ckpt")
    trainer = BaseFastTrainer(tiny_model(), TinyDataset())
    with pytest.raises(CheckpointError, match="its time plan goes from 100 to 40 at step 50"):
        follow(trainer, checkpoint)  # pyright: ignore[reportArgumentType]


def test_a_time_is_positive_and_stands_alone(scene, tmp_path, capsys):
    for wrong in (["--minutes", "0"], ["--minutes", "inf"], ["--minutes", "1", "-i", "5"]):
        assert call(scene, tmp_path / "run", *wrong) == 2
    found = capsys.readouterr().err
    assert "is not a number of minutes above 0" in found
    assert "not allowed with argument" in found
