"""Claiming a run folder, and finding where its run left off."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaussian_splatting.errors import CheckpointError, SplatError
from gaussian_splatting.io import storage
from gaussian_splatting.io.checkpoint import Checkpoint, CheckpointFolder, read_checkpoint
from gaussian_splatting.io.reader import read_content
from gaussian_splatting.runs.description import compare, describe
from gaussian_splatting.runs.folder import RunFolder, move_aside
from gaussian_splatting.runs.lock import NOTE, RunLock
from gaussian_splatting.trainer.snapshot import live, restore

if TYPE_CHECKING:
    from gaussian_splatting.runs.training import TrainingRun
    from gaussian_splatting.trainer.base import BaseTrainer

AUTO, NEVER = "auto", "never"


class Claim:
    """A run folder, and the checkpoint its run goes on from, if any."""

    run: RunFolder
    found: Checkpoint | None

    @property
    def schedule_length(self) -> int | None:
        """The run length that the step numbers of the found run were scaled to; None for a new run."""
        return None if self.found is None else number_in(self.found, "schedule_length", 1)

    @property
    def step(self) -> int:
        """The step that the run goes on after; 0 for a new run."""
        return 0 if self.found is None else number_in(self.found, "step", 0)

    def say(self, text: str) -> None:
        """Tell the user."""
        raise NotImplementedError

    def begin(self) -> None:
        """Make place for the run."""
        raise NotImplementedError

    def require_held(self) -> None:
        """Raise SplatError when the folder is not this run's any more."""
        raise NotImplementedError


class ClaimedFolder(Claim):
    """A run folder that only this process writes to."""

    def __init__(
        self, destination: str | os.PathLike[str], resume: str, overwrite: bool, say: Callable[[str], None]
    ) -> None:
        self.run, self._say, self._overwrite = RunFolder(destination), say, overwrite
        self._made = not self.run.path.exists()
        self._lock = self._locked()
        try:
            self.found = self._find(resume)
        except BaseException:
            self.release()
            raise

    def say(self, text: str) -> None:
        """Tell the user."""
        self._say(text)

    def begin(self) -> None:
        """Make place for the run: move aside what `overwrite` allows, remove temporaries of killed processes."""
        self.require_held()
        if self._overwrite and held_by(self.run):
            aside = move_aside(self.run.path)
            self._lock.release()
            with contextlib.suppress(OSError):
                os.unlink(aside / NOTE)
            self.say(f"the run that was in {self.run.path} is now in {aside}")
            self._lock = self._locked()
        splats = (self.run.path / "point_cloud").glob("iteration_*")
        for folder in (self.run.path, self.run.checkpoints, self.run.progress, *splats):
            if folder.is_dir():
                storage.remove_leftovers(folder)

    def require_held(self) -> None:
        """Raise SplatError when the folder was moved or replaced since it was claimed."""
        self._lock.require_held()

    def release(self) -> None:
        """Let other processes have the folder. One that was made for a run that never began is removed."""
        self._lock.release()
        if self._made:
            with contextlib.suppress(OSError):  # it is not empty: the run began
                os.rmdir(self.run.path)

    def _locked(self) -> RunLock:
        lock = RunLock(storage.make_folder(self.run.path))
        try:
            storage.ensure_writable_folder(self.run.path)
        except BaseException:
            lock.release()
            raise
        if lock.stale is not None:
            self.say(f"{self.run.path}: {lock.stale} did not close this run: it was killed, or the folder was copied")
        return lock

    def _find(self, resume: str) -> Checkpoint | None:
        if resume not in (AUTO, NEVER):
            return self._named(Path(resume))
        held = held_by(self.run)
        if self._overwrite or not held:
            return None
        if resume == NEVER:
            raise SplatError(
                f"{self.run.path}: already holds a run ({held[0].name}); choose another -d, "
                "give --overwrite to move it aside, or leave out --resume never to go on with it"
            )
        found, skipped = CheckpointFolder(self.run.checkpoints).newest()
        for reason in skipped:
            self.say(f"skipped {reason}")
        if found is None and any(path not in (self.run.settings_file, self.run.cfg_args) for path in held):
            raise SplatError(
                f"{self.run.path}: already holds a run ({held[-1].name}) without checkpoints to go on from; "
                "choose another -d, or give --overwrite to move it aside"
            )
        return found

    def _named(self, path: Path) -> Checkpoint:
        if self._overwrite:
            raise SplatError("--overwrite starts anew and --resume PATH goes on; give only one of them")
        found = read_checkpoint(path)
        if held_by(self.run) and path.resolve().parent != self.run.checkpoints.resolve():
            raise SplatError(
                f"{self.run.path}: already holds a run, and {path} is not one of its checkpoints; choose another -d"
            )
        return found


@contextlib.contextmanager
def claimed(
    destination: str | os.PathLike[str],
    resume: str = AUTO,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> Iterator[ClaimedFolder]:
    """Within, the run folder is this process's own.

    `resume` is "auto" (go on with an unfinished run, if there is one), "never", or the path of a checkpoint. Raises
    SplatError when another process holds the folder or it must not be touched, CheckpointError when the run in it
    has checkpoints and none is whole.
    """
    folder = ClaimedFolder(destination, resume, overwrite, say)
    try:
        yield folder
    finally:
        folder.release()


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


def held_by(run: RunFolder) -> list[Path]:
    """What a folder holds of a run: settings first, results last. A checkpoint that never got its name is nothing."""
    parts = [path for path in (run.settings_file, run.cfg_args) if path.exists()]
    parts += [run.checkpoints] if CheckpointFolder(run.checkpoints).steps() else []
    return parts + [path for path in (run.metrics, run.path / "point_cloud") if path.exists()]


def number_in(checkpoint: Checkpoint, name: str, minimum: int) -> int:
    """A whole number of the description. Raises CheckpointError when it is absent or below `minimum`."""
    found = checkpoint.description.get(name)
    if type(found) is not int or found < minimum:
        raise CheckpointError(f"{checkpoint.path}: expected {name} of at least {minimum}, found {found!r}")
    return found


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
