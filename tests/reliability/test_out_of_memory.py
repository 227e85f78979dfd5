"""Row F6: memory runs out at the k-th allocation of a step or of a save, for every k."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from toy import STEPS, ToyDataset, results, toy_run, toy_trainer

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.io.checkpoint import CheckpointFolder
from gaussian_splatting.runs import training
from gaussian_splatting.runs.rescue import is_out_of_memory
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.named import BaseSHLiftMCMCTrainer, BaseSHLiftOpacityResetDensificationTrainer
from gaussian_splatting.trainer.snapshot import capture, restore

pytestmark = pytest.mark.usefixtures("one_thread")

CPU_TEXT = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to ..."


class Memory(TorchDispatchMode):
    """Counts the operations of torch; the one number `at` finds no memory. Operations in place are counted, too."""

    def __init__(self, at: int | None, error: Callable[[], Exception]) -> None:
        super().__init__()
        self.at, self.error, self.count = at, error, 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        number, self.count = self.count, self.count + 1
        if number == self.at:
            raise self.error()
        return function(*arguments, **(named or {}))


ERRORS: list[Callable[[], Exception]] = [
    lambda: RuntimeError(CPU_TEXT),
    MemoryError,
    lambda: torch.OutOfMemoryError("CUDA out of memory"),
]
RECIPES: list[type[BaseTrainer]] = [BaseSHLiftOpacityResetDensificationTrainer, BaseSHLiftMCMCTrainer]
QUICK_MCMC = {"mcmc_from_iter": 1, "mcmc_interval": 2, "mcmc_cap_max": 20}
STEP = 4  # densifies, and lifts the SH degree


def make(cls: type[BaseTrainer]) -> BaseTrainer:
    return toy_trainer(cls, **(QUICK_MCMC if cls is BaseSHLiftMCMCTrainer else {}))


def before_the_step(cls: type[BaseTrainer]) -> dict[str, Tensor]:
    trainer = make(cls)
    for _ in trainer.run(ToyDataset(), STEP - 1):
        pass
    return capture(trainer)


def step_from(cls: type[BaseTrainer], state: dict[str, Tensor], memory: Memory) -> tuple[BaseTrainer, Exception | None]:
    trainer = make(cls)
    restore(trainer, state)
    try:
        with memory:
            next(iter(trainer.run(ToyDataset(), STEP)))
    except (RuntimeError, MemoryError) as error:
        return trainer, error
    return trainer, None


def rows(trainer: BaseTrainer) -> set[int]:
    """The numbers of Gaussians that parameters, moments and statistics hold."""
    found = {parameter.shape[0] for parameter in trainer.model.rows().values()}
    for group in trainer.optimizer.param_groups:
        moments = trainer.optimizer.state.get(group["params"][0], {})
        found |= {value.shape[0] for value in moments.values() if value.ndim}
    for state in trainer.states().values():
        found |= {getattr(state, name).shape[0] for name in state.row_fields()}
    return found


@pytest.mark.parametrize("share", [pytest.param(3, id="every 3rd"), pytest.param(1, id="each", marks=pytest.mark.slow)])
@pytest.mark.parametrize("cls", RECIPES, ids=lambda cls: cls.__name__)
def test_wherever_a_step_runs_out_of_memory_everything_has_the_same_number_of_rows(cls: type[BaseTrainer], share: int):
    state = before_the_step(cls)
    whole = Memory(None, MemoryError)
    grown, _ = step_from(cls, state, whole)
    assert rows(grown) != {state["parameter.xyz"].shape[0]}, "the step must change N"
    untouched = changing = 0
    for at in range(0, whole.count, share):
        memory = Memory(at, ERRORS[at % len(ERRORS)])
        trainer, error = step_from(cls, state, memory)
        assert error is not None
        assert is_out_of_memory(error)
        assert len(rows(trainer)) == 1, f"operation {at} of {whole.count}"
        parameters = {id(parameter) for parameter in trainer.model.rows().values()}
        assert parameters <= {id(group["params"][0]) for group in trainer.optimizer.param_groups}
        changing += trainer.changing
        if not trainer.changing:
            untouched += 1
            after = capture(trainer)
            assert all(torch.equal(after[name], value) for name, value in state.items() if name != "step")
    assert untouched > 20
    assert changing > 20


def failing_at(step: int, at: int, error: Callable[[], Exception]) -> Callable[[], BaseTrainer]:
    """Makes a trainer that finds no memory for operation `at` of step `step`."""

    def make() -> BaseTrainer:
        trainer = toy_trainer()
        update, memory = trainer.update_learning_rates, Memory(at, error)

        def begin() -> None:
            update()
            if trainer.curr_step == step:
                memory.__enter__()

        trainer.update_learning_rates = begin  # type: ignore[method-assign]
        return trainer

    return make


def closed(call: Callable[[], None]) -> None:
    """Run, and leave whatever dispatch mode the run has entered."""
    from torch.utils._python_dispatch import _get_current_dispatch_mode, _pop_mode

    try:
        call()
    finally:
        while _get_current_dispatch_mode() is not None:
            _pop_mode()


@pytest.mark.parametrize("error", ERRORS, ids=["allocator", "python", "cuda"])
@pytest.mark.parametrize("at", [0, 10, 60, 150, 230])
def test_the_run_stops_with_advice_and_goes_on_later(tmp_path: Path, expected, error, at: int):
    said: list[str] = []
    with pytest.raises(TrainingError) as caught:
        closed(lambda: toy_run(tmp_path / "run", make=failing_at(STEP, at, error), say=said.append))
    message = str(caught.value)
    assert message.startswith("step 4: out of memory with ")
    assert "Use smaller pictures (-r 2), or fewer Gaussians (--max_gaussians)" in message
    assert "is saved in" in message or "The last checkpoint is" in message
    assert not any("completed" in line for line in said)
    newest, skipped = CheckpointFolder(tmp_path / "run/checkpoints").newest()
    assert newest is not None
    assert skipped == []
    toy_run(tmp_path / "run")
    assert results(tmp_path / "run") == expected


def test_before_the_update_the_step_before_is_saved(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"The last finished step is saved in .*step_000003.safetensors"):
        closed(lambda: toy_run(tmp_path / "run", make=failing_at(STEP, 10, MemoryError)))


@pytest.mark.parametrize("part", ["capture", "verify_splat"])
def test_a_save_without_memory_leaves_the_older_checkpoints(tmp_path: Path, expected, monkeypatch, part: str):
    honest, calls = getattr(training, part), [0]

    def failing(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] >= 2:
            raise MemoryError
        return honest(*arguments)

    monkeypatch.setattr(training, part, failing)
    said: list[str] = []
    with pytest.raises(TrainingError, match=r"step \d: out of memory with \d+ Gaussians \(MemoryError\)"):
        toy_run(tmp_path / "run", say=said.append)
    assert not any("completed" in line for line in said)
    assert CheckpointFolder(tmp_path / "run/checkpoints").newest()[0] is not None
    monkeypatch.setattr(training, part, honest)
    toy_run(tmp_path / "run")
    assert results(tmp_path / "run") == expected


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path: Path):
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError, match="a bug"):
        closed(lambda: toy_run(tmp_path / "run", STEPS, make=failing_at(2, 5, lambda: RuntimeError("a bug"))))
