"""The run of a process that follows another: it takes the same steps, and leaves the run folder to the first."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gaussian_splatting.errors import CheckpointError, TrainingError
from gaussian_splatting.io.checkpoint import Checkpoint, read_checkpoint
from gaussian_splatting.runs import resume
from gaussian_splatting.runs.claim import Claim, claimed
from gaussian_splatting.runs.folder import RunFolder
from gaussian_splatting.runs.time_plan import follow
from gaussian_splatting.runs.training import TrainingRun
from gaussian_splatting.trainer.checks import finite_parameters
from gaussian_splatting.trainer.snapshot import capture

if TYPE_CHECKING:
    import os

    from gaussian_splatting.trainer.workers import Alone


class FollowedFolder(Claim):
    """The run folder that the first process holds. Nothing is written here."""

    def __init__(self, destination: str | os.PathLike[str], found: Checkpoint | None) -> None:
        self.run, self.found = RunFolder(destination), found

    def say(self, text: str) -> None:
        """The first process speaks."""

    def begin(self) -> None:
        """The first process makes place."""

    def require_held(self) -> None:
        """The first process holds the folder."""


class FollowingRun(TrainingRun):
    """A run without files."""

    writes = False

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """Take over the values of a checkpoint."""
        resume.put_back(self.trainer, checkpoint)
        decisions = follow(self.trainer, checkpoint, self.explicit)
        if decisions:
            self.description = {**self.description, "plan": [list(pair) for pair in decisions]}
        self._recorded = self.trainer.curr_step
        self._make_up(self._recorded, picture=False, splat=False)

    def save_checkpoint(self, step: int) -> Path:
        """Where the first process writes it. The rows that this process alone has are sent to it."""
        if self.trainer.workers.sharded:
            finite_parameters(self.trainer.optimizer, step)
            capture(self.trainer)
        return self.checkpoints.file(step)

    def rescue_checkpoint(self) -> Path | None:
        """The first process saves what can be saved."""
        return None

    def _log(self, step: int, loss: torch.Tensor, out: dict[str, Any]) -> str:
        return ""

    @torch.no_grad()
    def save_picture(self, step: int) -> None:
        """The first process writes it. Where the Gaussians are shared out, all take part in rendering."""
        if self.trainer.workers.sharded:
            self.trainer.model(self._progress_views().geometry(0))

    @torch.no_grad()
    def save(self, step: int) -> None:
        """The first process writes. Where the Gaussians are shared out, it gets all rows and all render."""
        if not self.trainer.workers.sharded:
            return
        finite_parameters(self.trainer.optimizer, step)
        self.trainer.workers.whole_model(self.trainer.model)
        if self.held_out is not None:
            for index in range(len(self.held_out)):
                self.trainer.model(self.held_out.geometry(index))


@contextmanager
def held_folder(
    workers: Alone, destination: str, resume_from: str, overwrite: bool, say: Callable[[str], None]
) -> Iterator[Claim]:
    """Within, the run folder is the first process's own, and all processes know the checkpoint to go on from."""
    if workers.rank > 0:
        yield FollowedFolder(destination, shared_checkpoint(workers, None, destination))
        return
    with claimed(destination, resume_from, overwrite, say) as claim:
        shared_checkpoint(workers, claim.found, destination)
        yield claim


def run_class(workers: Alone) -> type[TrainingRun]:
    """The kind of run of this process: the first writes, the others follow."""
    return TrainingRun if workers.rank == 0 else FollowingRun


def shared_checkpoint(workers: Alone, found: Checkpoint | None, destination: str) -> Checkpoint | None:
    """The checkpoint that the first process has `found`, read by every process. Raises CheckpointError without it."""
    path = workers.first(lambda: None if found is None else str(found.path.absolute()))
    if workers.rank == 0 or path is None:
        return found
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: is not there; {destination} must be a folder that all machines of a run see")
    return read_checkpoint(path)


def require_one_run(run: TrainingRun) -> None:
    """Raise TrainingError where this process has other settings, or another scene, than the first."""
    for part in ("settings", "scene", "iterations", "schedule_length"):
        own = zlib.crc32(json.dumps(run.description.get(part), sort_keys=True).encode())
        if own != run.trainer.workers.first(lambda own=own: own):
            raise TrainingError(
                f"the {part} differ from those of process 0; give all the same command and the same files"
            )
