"""A training run on disk: a loop around a trainer that logs, shows and saves, and cannot change the result."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch

from gaussian_splatting.io import storage
from gaussian_splatting.io.checkpoint import Checkpoint, CheckpointFolder
from gaussian_splatting.runs import resume
from gaussian_splatting.runs.determinism import cores_for_kernels, deterministic
from gaussian_splatting.runs.interruption import Interruption
from gaussian_splatting.runs.metrics import MetricsLog
from gaussian_splatting.runs.progress import progress_bar
from gaussian_splatting.runs.rescue import explained
from gaussian_splatting.runs.results import mean_psnr, verify_splat
from gaussian_splatting.runs.time_plan import follow
from gaussian_splatting.trainer.checks import finite_parameters, limit_on_gaussians
from gaussian_splatting.trainer.snapshot import capture
from gaussian_splatting.trainer.stretch import stretch

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.runs.folder import RunFolder
    from gaussian_splatting.runs.time_plan import TimePlan
    from gaussian_splatting.trainer.base import BaseTrainer

LOG_INTERVAL = 10
PROGRESS_PICTURES = 12
CHECKPOINT_SECONDS = 60.0
NEARLY_FULL = 0.9


class Watcher(Protocol):
    """Somebody who looks on between steps, and may have the run wait."""

    def after_step(self, trainer: BaseTrainer, loss: torch.Tensor, must_stop: Callable[[], bool]) -> float:
        """Look, and change nothing; the seconds that the run was made to wait, which end when `must_stop()`."""
        ...


@dataclass
class TrainingRun:
    """Drives `trainer` over `cameras` until step `iterations` and writes the run folder as it goes.

    A checkpoint is written at the start, every `checkpoint_interval` steps and `checkpoint_seconds` seconds (0: never
    for that reason), when a signal asks the run to stop, after an error, and at the end. `description` is kept in it.
    With a `plan` the length follows the time; options named in `explicit` then stay where they are.
    """

    writes: ClassVar[bool] = True
    """Whether this process is the one that speaks and writes."""
    trainer: BaseTrainer
    cameras: CameraDataset
    folder: RunFolder
    iterations: int
    save_iterations: Iterable[int] = ()
    held_out: CameraDataset | None = None
    show_progress: bool = True
    say: Callable[[str], None] = print
    description: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_interval: int = 0
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    empty_cache_every_step: bool = False
    require_held: Callable[[], None] = lambda: None
    watcher: Watcher | None = None
    plan: TimePlan | None = None
    explicit: Collection[str] = ()
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.checkpoints = CheckpointFolder(self.folder.checkpoints)
        self.metrics = MetricsLog(self.folder, self.trainer)
        self._set_length(self.iterations)
        self.seconds = 0.0 if self.plan is None else self.plan.spent
        self._logs = [self.folder.metrics, self.folder.timing, self.folder.evaluations]
        self._recorded = self.trainer.curr_step
        self._inside = False
        self._limit = limit_on_gaussians(self.trainer)

    def _set_length(self, iterations: int) -> None:
        self.iterations = iterations
        self._splat_steps = {step for step in self.save_iterations if 0 < step <= iterations} | {iterations}
        self._picture_steps = picture_steps(iterations)

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """Take over the values of a checkpoint, and bring the folder to what it was at that step."""
        resume.put_back(self.trainer, checkpoint)
        decisions = follow(self.trainer, checkpoint, self.explicit)
        if decisions:
            self.description = {**self.description, "plan": [list(pair) for pair in decisions]}
        step = self._recorded = self.trainer.curr_step
        resume.truncate_logs(self._logs, step)
        timing = self.folder.read_timing()
        self.seconds = max((float(entry.get("seconds", 0.0)) for entry in timing), default=0.0)
        picture = step in self._picture_steps and not self.folder.progress_picture(step).is_file()
        splat = step in self._splat_steps and not self._is_saved(step)
        if splat:
            resume.truncate_logs([self.folder.evaluations], step - 1)
        self._make_up(step, picture, splat)

    def _make_up(self, step: int, picture: bool, splat: bool) -> None:
        """Write what the first process found wanting of the step that the run goes on after."""
        picture, splat = self.trainer.workers.first(lambda: [picture, splat])
        if picture or splat:
            # What a step derives from its number alone, such as the SH degree, is no part of a checkpoint.
            self.trainer.preprocess(self.cameras[0])
        if picture:
            self.save_picture(step)
        if splat:
            self.save(step)

    def run(self) -> None:
        """Train to the end; then the splat is on disk and read back. Raises SplatError when training cannot go on."""
        model = self.trainer.model
        with Interruption() as wish, deterministic(model.get_xyz.device), cores_for_kernels(model):
            try:
                self._loop(wish)
            except Exception as error:
                raise explained(error, self) from error

    def _loop(self, wish: Interruption) -> None:
        self.cameras.preload()
        workers = self.trainer.workers
        workers.wish = lambda: wish.received
        first, before = self.trainer.curr_step, self.seconds
        if not workers.first(lambda: self.checkpoints.file(first).is_file()):
            self.save_checkpoint(first)
        started = saved = time.monotonic()
        workers.is_due = lambda: 0 < self.checkpoint_seconds <= time.monotonic() - saved
        with progress_bar(self.iterations, first, self.show_progress) as bar:
            for loss, out in self._steps():
                self._inside, step, now = True, self.trainer.curr_step, time.monotonic()
                self.seconds = before + now - started
                self._revise(bar)
                if step % LOG_INTERVAL == 0 or step == self.iterations:
                    bar.set_postfix_str(self._log(step, loss, out))
                self._recorded = step
                bar.update()
                self._write_due(step)
                received = workers.agreed(wish.received)
                if received is not None or step == self.iterations or self._is_checkpoint_due(step):
                    self.save_checkpoint(step)
                    saved = time.monotonic()
                if received is not None and step < self.iterations:
                    self.say(f"stopped at step {step}; run the same command again to go on")
                    wish.stop(received)
                if self.empty_cache_every_step and torch.cuda.is_available():
                    torch.cuda.empty_cache()
                if self.watcher is not None:
                    waited = self.watcher.after_step(self.trainer, loss, lambda: wish.received is not None)
                    started, saved = started + waited, saved + waited
                self._inside = False

    @property
    def finished_steps(self) -> int:
        """How many steps the Gaussians have behind them, in this process and in those that it goes on from."""
        return self._recorded

    def _steps(self) -> Iterator[tuple[torch.Tensor, dict[str, Any]]]:
        """Every step up to the end, which a time plan may move on the way."""
        while self.trainer.curr_step < self.iterations:
            yield from itertools.islice(self.trainer.run(self.cameras, self.iterations), 1)

    def _revise(self, bar: Any) -> None:
        if self.plan is None:
            return
        step, old = self.trainer.curr_step, self.iterations
        revised = self.plan.revised
        new = self.trainer.workers.first(lambda: revised(self.trainer, self.cameras, old, self.seconds))
        if new != old:
            stretch(self.trainer, step, old, new, self.explicit)
            decisions = [*self.description.get("plan", []), [step, new]]
            self.description = {**self.description, "iterations": new, "plan": decisions}
            self._set_length(new)
            bar.total = new

    def _log(self, step: int, loss: torch.Tensor, out: dict[str, Any]) -> str:
        self.require_held()
        return self.metrics.note(step, self.seconds, loss, out)

    def _write_due(self, step: int) -> None:
        num = self.trainer.workers.count(self.trainer.model)
        if self._limit is not None and num >= NEARLY_FULL * self._limit[1]:
            name, limit = self._limit
            self._limit = None
            self.say(
                f"step {step}: {num} Gaussians, {NEARLY_FULL:.0%} of the limit of {limit} is "
                f"reached; raise {name} if more are wanted"
            )
        if step in self._picture_steps:
            self.require_held()
            self.save_picture(step)
        if step in self._splat_steps:
            self.save(step)

    def _is_checkpoint_due(self, step: int) -> bool:
        by_step = self.checkpoint_interval > 0 and step % self.checkpoint_interval == 0
        return by_step or self.trainer.workers.agreed_due()

    def save_checkpoint(self, step: int) -> Path:
        """Write the checkpoint of the step that was finished last. Refuses values that are not finite."""
        self.require_held()
        self.metrics.settle()
        finite_parameters(self.trainer.optimizer, step)
        for log in self._logs:
            storage.sync_file(log)
        return self.checkpoints.save(step, capture(self.trainer), {**self.description, "step": step})

    def rescue_checkpoint(self) -> Path | None:
        """After an error: write the checkpoint of the last finished step if its values are still there.

        Shared out Gaussians are not: of the other processes nobody knows whether they are well.
        """
        trainer = self.trainer
        if trainer.workers.sharded or trainer.changing or (self._inside and self._recorded != trainer.curr_step):
            return None
        trainer.curr_step = self._recorded
        path = self.checkpoints.file(self._recorded)
        return path if path.is_file() else self.save_checkpoint(self._recorded)

    @torch.no_grad()
    def save_picture(self, step: int) -> None:
        """The fixed progress view as a JPEG."""
        from gaussian_splatting.rendering.views import encode_picture

        picture = self.trainer.model(self._progress_views()[0])["render"]
        storage.write_atomically(self.folder.progress_picture(step), encode_picture(picture, "jpeg"))

    def _progress_views(self) -> CameraDataset:
        return self.held_out if self.held_out is not None and len(self.held_out) else self.cameras

    def save(self, step: int) -> None:
        """Write the splat and the cameras of this step, and read the splat back."""
        self.require_held()
        self.metrics.settle()
        finite_parameters(self.trainer.optimizer, step)
        path, model = self.folder.point_cloud(step), self.trainer.workers.whole_model(self.trainer.model)
        model.save_ply(path)
        verify_splat(path, model)
        self.cameras.save_cameras(self.folder.cameras)
        if self.held_out is not None and len(self.held_out):
            self._evaluate(step)

    def _is_saved(self, step: int) -> bool:
        evaluated = any(entry["step"] == step for entry in self.folder.read_evaluations())
        needed = self.held_out is not None and len(self.held_out) > 0
        return self.folder.point_cloud(step).is_file() and (evaluated or not needed)

    def _evaluate(self, step: int) -> None:
        assert self.held_out is not None
        mean, views = mean_psnr(self.trainer.model, self.held_out)
        storage.append_line(self.folder.evaluations, json.dumps({"step": step, "psnr": mean, "views": views}))
        num = self.trainer.workers.count(self.trainer.model)
        self.say(f"step {step}: {mean:.2f} dB mean PSNR on {views} held-out views, {num} Gaussians")


def picture_steps(iterations: int) -> set[int]:
    """The steps whose progress picture is kept: evenly spread, the last among them."""
    count = min(PROGRESS_PICTURES, iterations)
    return {math.ceil(iterations * (index + 1) / count) for index in range(count)}
