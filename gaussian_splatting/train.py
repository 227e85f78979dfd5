"""`python -m gaussian_splatting.train`: train a scene and leave a run folder with splat, cameras, logs and report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from gaussian_splatting import tensorboard_log
from gaussian_splatting.cli import commands
from gaussian_splatting.cli.server_flags import free_port, require_viser
from gaussian_splatting.cli.train_flags import build_parser
from gaussian_splatting.cli.train_refusals import require_room, require_sense
from gaussian_splatting.cli.train_settings import chosen_trainer, load_scene, run_length, write_settings
from gaussian_splatting.options import REFERENCE_LENGTH
from gaussian_splatting.runs.determinism import fix_mkl_branch
from gaussian_splatting.runs.progress import say

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.runs.claim import Claim
    from gaussian_splatting.runs.time_plan import TimePlan
    from gaussian_splatting.runs.training import TrainingRun
    from gaussian_splatting.trainer.base import BaseTrainer
    from gaussian_splatting.trainer.workers import Alone


def main(argv: list[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    fix_mkl_branch()
    return commands.run_command(train, build_parser(), argv)


def train(arguments: argparse.Namespace) -> None:
    """Everything the command does, as library calls."""
    from gaussian_splatting.runs.processes import joined

    device = lambda: commands.chosen_device(arguments)  # noqa: E731
    with joined(device, lambda error: commands.explained(error) is not None, arguments.shard) as workers:
        train_with(arguments, workers)


def train_with(arguments: argparse.Namespace, workers: Alone) -> None:
    """The same, as one of the processes of a run."""
    from gaussian_splatting import prepare
    from gaussian_splatting.convert.offer import scene_of
    from gaussian_splatting.runs.following import held_folder, run_class
    from gaussian_splatting.runs.processes import own_device
    from gaussian_splatting.runs.rescue import preparation
    from gaussian_splatting.trainer.workers import join, require_dense

    require_watchers(arguments, workers)
    if arguments.sparse_grad:
        require_dense(workers)
    cls, options = chosen_trainer(arguments)
    require_sense(arguments, cls, options)
    show, source = not arguments.quiet, arguments.source
    device = own_device(commands.chosen_device(arguments))
    with held_folder(workers, arguments.destination, arguments.resume, arguments.overwrite, say) as claim:
        arguments.source = workers.first(lambda: scene_of(source, convert=arguments.convert, show_progress=show))
        with preparation():
            cameras, held_out = load_scene(arguments, device, cls.trains_cameras)

        def make(length: int) -> BaseTrainer:
            gaussians = prepare.prepare_gaussians(
                arguments.sh_degree, arguments.source, device, cls.trains_cameras, load_ply=arguments.load_ply,
                backend=prepare.backend_of_trainer(cls, arguments.backend), seed=arguments.seed,
                init=arguments.init or "points", init_ply=arguments.init_ply, cameras=cameras,
            )  # fmt: skip
            gaussians.antialiasing = arguments.antialiased
            gaussians.packed, gaussians.radius_clip = arguments.packed, arguments.radius_clip
            gaussians.sparse_grad = arguments.sparse_grad
            gaussians.require_view_options()
            if claim.found is None:
                require_room(len(gaussians.get_xyz), arguments.max_gaussians, cls)
            return prepare.prepare_trainer(
                gaussians, cameras, arguments.mode, configs=options, trainer=cls, iterations=length, seed=arguments.seed
            )

        with preparation():
            plan, iterations, length = planned(arguments, claim, cameras, make, workers)
            trainer = make(length)
            join(trainer, workers)
        saves = [7_000, 30_000] if arguments.save_iterations is None else arguments.save_iterations
        run = run_class(workers)(
            trainer, cameras, claim.run, iterations, saves, held_out, show_progress=show, say=claim.say,
            checkpoint_interval=arguments.checkpoint_interval, checkpoint_seconds=arguments.checkpoint_seconds,
            plan=plan, explicit=options,
        )  # fmt: skip
        announce(trainer, cameras, iterations, length, claim.say)
        settings = lambda: write_settings(arguments, trainer, claim.run, run.iterations)  # noqa: E731
        execute(run, claim, length, settings, lambda: watched(run, arguments))


def require_watchers(arguments: argparse.Namespace, workers: Alone) -> None:
    """Raise SplatError before anything is read when the run cannot be watched as the flags say."""
    from gaussian_splatting.errors import SplatError

    if arguments.viewer:
        if workers.sharded:
            raise SplatError(
                "--viewer shows all Gaussians, and with --shard no process has them; leave out one of the two"
            )
        require_viser()
        free_port(arguments.host, arguments.port)
    if arguments.tensorboard:
        tensorboard_log.require_tensorboard()


def planned(
    arguments: argparse.Namespace,
    claim: Claim,
    cameras: CameraDataset,
    make: Callable[[int], BaseTrainer],
    workers: Alone,
) -> tuple[TimePlan | None, int, int]:
    """The plan of --minutes if there is one, the steps of the run, and the length that its schedules begin with."""
    from gaussian_splatting.runs.claim import number_in
    from gaussian_splatting.runs.time_plan import TimePlan, first_length

    if arguments.minutes is None:
        iterations = run_length(arguments, len(cameras), workers.size)
        return None, iterations, claim.schedule_length or iterations
    plan = TimePlan(60 * arguments.minutes)
    if claim.found is not None:
        return plan, number_in(claim.found, "iterations", 1), claim.schedule_length or 1
    length, plan.spent = workers.first(lambda: first_length(make, cameras, plan.seconds))
    claim.say(
        f"{60 * arguments.minutes:.0f} s of training: about {length} steps, corrected on the way; another run of the "
        "same time takes other steps and gives another result"
    )
    return plan, length, length


def announce(
    trainer: BaseTrainer, cameras: CameraDataset, iterations: int, schedule_length: int, say: Callable[[str], None]
) -> None:
    """Say what will be trained, by how many processes, and which length the schedules follow."""
    camera, views, num = cameras.geometry(0), trainer.workers.size, trainer.workers.count(trainer.model)
    say(
        f"{len(cameras)} views of {camera.image_width}x{camera.image_height}, {num} Gaussians, "
        f"extent {trainer.scene_extent:.3g}; {type(trainer).__name__}, {iterations} steps"
    )
    if schedule_length != REFERENCE_LENGTH:
        say(f"schedules are scaled from {REFERENCE_LENGTH} to {schedule_length} steps (explicit options are not)")
    if views > 1:
        say(f"{views} processes: {views} views in a step, rates times {views**0.5:.3g}, betas to the power {views}")
    if trainer.workers.sharded:
        say(f"the Gaussians are shared out over {views} processes, about {round(num / views)} to each")
    if trainer.model.get_xyz.is_cuda:
        from gaussian_splatting.runs import card_memory

        device = trainer.model.get_xyz.device
        for line in card_memory.advice(trainer, cameras, iterations, card_memory.free_bytes(device), str(device)):
            say(line)


@contextmanager
def watched(run: TrainingRun, arguments: argparse.Namespace) -> Iterator[None]:
    """Within, the run is shown in browsers when `--viewer` asks for it, and logged for TensorBoard."""
    with ExitStack() as watchers:
        if arguments.tensorboard:
            known = run.trainer.curr_step if (run.folder.path / tensorboard_log.FOLDER).is_dir() else 0
            watchers.enter_context(tensorboard_log.recording(run.folder, known))
        if arguments.viewer:
            from gaussian_splatting.viewer.watch import watching

            watchers.enter_context(watching(run, arguments.host, arguments.port))
        yield


def execute(
    run: TrainingRun,
    claim: Claim,
    schedule_length: int,
    write_settings: Callable[[], None],
    watch: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Begin or go on, train within `watch()`, save, report, and only then say that the run is complete.

    A process that follows another takes the same steps and does nothing else.
    """
    from gaussian_splatting.report import write_report
    from gaussian_splatting.runs.following import require_one_run
    from gaussian_splatting.runs.resume import begin

    follows = run.trainer.workers.rank > 0
    is_open = begin(run, claim, schedule_length, (lambda: None) if follows else write_settings)
    require_one_run(run)
    if run.trainer.workers.first(lambda: not is_open and run.folder.report.is_file()):
        return
    if follows:
        run.run()
        return
    with watch():
        run.run()
        if run.plan is not None:
            write_settings()  # the length that the time plan came to
        report = write_report(run.folder)
        run.say(f"completed {run.iterations} steps in {run.seconds:.1f} s: {run.folder.point_cloud(run.iterations)}")
        run.say(f"report: {report}")


def training(
    dataset: CameraDataset,
    gaussians: GaussianModel,
    trainer: BaseTrainer,
    destination: str | Path,
    iteration: int,
    save_iterations: list[int],
    empty_cache_every_step: bool = False,
) -> None:
    """Train in Python as the command does: `trainer` over `dataset`, results under `destination`.

    A run of the same settings that `destination` holds is gone on with.
    """
    from gaussian_splatting.runs.claim import claimed
    from gaussian_splatting.runs.resume import begin
    from gaussian_splatting.runs.training import TrainingRun

    assert trainer.model is gaussians, "the trainer must be made for these Gaussians"
    with claimed(destination, say=say) as claim:
        run = TrainingRun(
            trainer, dataset, claim.run, iteration, save_iterations, say=say,
            empty_cache_every_step=empty_cache_every_step,
        )  # fmt: skip
        begin(run, claim, claim.schedule_length or iteration)
        run.run()


if __name__ == "__main__":
    sys.exit(main())
