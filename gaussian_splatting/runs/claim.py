"""Claiming a run folder: no other process writes there, and the checkpoint that its run goes on from is found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gaussian_splatting.errors import CheckpointError, SplatError
from gaussian_splatting.io import storage
from gaussian_splatting.io.checkpoint import Checkpoint, CheckpointFolder, read_checkpoint
from gaussian_splatting.runs.folder import RunFolder, move_aside
from gaussian_splatting.runs.lock import NOTE, RunLock

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
