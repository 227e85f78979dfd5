"""Going on with a run: the same settings, the values of its checkpoint, and logs that end where it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaussian_splatting.errors import CheckpointError
from gaussian_splatting.io import storage
from gaussian_splatting.io.checkpoint import Checkpoint
from gaussian_splatting.io.reader import read_content
from gaussian_splatting.runs.claim import Claim, number_in
from gaussian_splatting.runs.description import compare, describe
from gaussian_splatting.trainer.snapshot import live, restore

if TYPE_CHECKING:
    from gaussian_splatting.runs.training import TrainingRun
    from gaussian_splatting.trainer.base import BaseTrainer


def begin(
    run: TrainingRun, claim: Claim, schedule_length: int, write_settings: Callable[[], None] = lambda: None
) -> bool:
    """Start a new run in the claimed folder, or take over the one that is there and say so; False when it is complete.

    A run goes on to any length not behind it; its schedules keep the length that it was started with. Raises
    CheckpointError when the run that is there has other settings.
    """
    run.description = describe(run.trainer, run.cameras, run.iterations, schedule_length)
    run.require_held = claim.require_held
    found = claim.found
    if found is None:
        claim.begin()
        write_settings()
        return True
    for warning in compare(found.description, run.description, found.path):
        claim.say(f"{found.path}: {warning}")
    if claim.step > run.iterations:
        raise CheckpointError(
            f"{found.path}: the run is at step {claim.step} already, {run.iterations} steps are asked for; "
            "give a larger -i to go on, or --overwrite to start anew"
        )
    claim.begin()
    run.go_on_from(found)
    write_settings()
    if claim.step == run.iterations:
        claim.say(f"the run in {claim.run.path} is complete with {claim.step} steps; a larger -i makes it longer")
        return False
    claim.say(f"going on after step {claim.step} of {run.iterations}, from {found.path}")
    before = found.description.get("iterations")
    if run.iterations != before:
        claim.say(f"the run was for {before} steps; schedules keep the length they had, {schedule_length} steps")
    return True


def put_back(trainer: BaseTrainer, checkpoint: Checkpoint) -> None:
    """Give a trainer the values of a checkpoint. Nothing changes unless everything fits and is sound."""
    step, tensors = number_in(checkpoint, "step", 0), checkpoint.tensors
    kinds = {name: tensor.dtype for name, tensor in live(trainer).items()}
    for name, tensor in tensors.items():
        wanted = kinds.get(name, torch.float32)
        if tensor.dtype != wanted:
            raise CheckpointError(f"{checkpoint.path}: tensor {name} is {tensor.dtype}, expected {wanted}")
        if not _is_sound(name, tensor):
            raise CheckpointError(f"{checkpoint.path}: tensor {name} holds values that no training leaves behind")
    if "step" not in tensors or tensors["step"].shape != () or int(tensors["step"]) != step:
        raise CheckpointError(f"{checkpoint.path}: its tensors are not of step {step}, as its description says")
    try:
        restore(trainer, tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error


def _is_sound(name: str, tensor: Tensor) -> bool:
    if name.startswith("parameter."):
        return bool(torch.isfinite(tensor).all())
    if name.startswith("moment.") and name.endswith(".step"):
        return bool(((tensor >= 0) & (tensor <= 1e12)).all())
    return not tensor.is_floating_point() or not bool(torch.isnan(tensor).any())


def truncate_logs(logs: Iterable[Path], step: int) -> None:
    """Cut logs back to the lines of steps up to `step`; torn lines go too. A log is replaced whole or left alone."""
    for path in logs:
        if not path.is_file():
            continue
        content = bytes(read_content(path))
        lines = content.splitlines(keepends=True)
        kept = b"".join(line for line in lines if line.endswith(b"\n") and -1 < _step_of(line) <= step)
        if kept != content:
            storage.write_atomically(path, kept)


def _step_of(line: bytes) -> int:
    """The step of a line of a log; -1 for a torn line."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return -1
    step = entry.get("step") if isinstance(entry, dict) else None
    return step if isinstance(step, int) else -1
