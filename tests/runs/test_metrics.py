"""The lines of a step: at once on a processor, a note later on a card, and never behind a checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.runs.folder import RunFolder
from gaussian_splatting.runs.metrics import MetricsLog
from gaussian_splatting.runs.results import picture_psnr
from gaussian_splatting.runs.training import TrainingRun
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


def steps_in(folder: RunFolder) -> list[int]:
    return [entry["step"] for entry in folder.read_metrics()]


def noted(folder: Path, *, delayed: bool, steps: int = 3) -> tuple[MetricsLog, list[str], list[list[int]]]:
    """A log with a note for every step, what each note showed, and the lines after each."""
    trainer = BaseTrainer(tiny_model(), TinyDataset())
    log = MetricsLog(RunFolder(folder), trainer)
    log.delayed = delayed
    folder.mkdir(parents=True)
    shown, lines = [], []
    for loss, out in trainer.run(TinyDataset(), steps):
        shown.append(log.note(trainer.curr_step, 0.5 * trainer.curr_step, loss, out))
        lines.append(steps_in(log.folder))
    return log, shown, lines


def test_on_a_card_a_line_is_written_when_the_next_one_is_noted(tmp_path):
    log, shown, lines = noted(tmp_path / "delayed", delayed=True)
    assert lines == [[], [1], [1, 2]]
    log.settle()
    assert steps_in(log.folder) == [1, 2, 3]
    at_once, early, lines_at_once = noted(tmp_path / "at once", delayed=False)
    assert lines_at_once == [[1], [1, 2], [1, 2, 3]]
    assert shown == ["", *early[:2]]
    for name in ("metrics", "timing"):
        assert getattr(log.folder, name).read_bytes() == getattr(at_once.folder, name).read_bytes()


def test_the_figures_are_those_of_the_step(tmp_path):
    trainer = BaseTrainer(tiny_model(), TinyDataset())
    (tmp_path / "run").mkdir()
    log = MetricsLog(RunFolder(tmp_path / "run"), trainer)
    loss, out = next(iter(trainer.run(TinyDataset(), 1)))
    assert log.note(1, 2.0, loss, out).endswith("N 60")
    (entry,) = log.folder.read_metrics()
    assert entry["loss"] == float(loss)
    assert entry["losses"] == {name: float(value.detach()) for name, value in out["losses"].items()}
    assert entry["psnr"] == picture_psnr(out["render"], out["camera"])
    (timing,) = log.folder.read_timing()
    assert timing == {"step": 1, "seconds": 2.0, "iterations_per_second": 0.5}
    empty = out["camera"]._replace(ground_truth_image_mask=torch.zeros_like(out["camera"].ground_truth_image_mask))
    log.note(2, 3.0, loss, {**out, "camera": empty})
    assert log.folder.read_metrics()[-1]["psnr"] is None


def test_a_parameter_that_is_not_finite_is_found_when_its_line_is_due(tmp_path):
    trainer = BaseTrainer(tiny_model(), TinyDataset())
    log = MetricsLog(RunFolder(tmp_path), trainer)
    log.delayed = True
    loss, out = next(iter(trainer.run(TinyDataset(), 1)))
    trainer.model._opacity.data[4] = math.nan
    log.note(1, 1.0, loss, out)
    with pytest.raises(TrainingError, match=r"step 1: parameter 'opacity' is nan at index \[4, 0\]"):
        log.settle()
    assert not log.folder.metrics.is_file()


def test_a_checkpoint_comes_after_the_lines_before_it(tmp_path):
    trainer = BaseTrainer(tiny_model(), TinyDataset())
    run = TrainingRun(
        trainer, TinyDataset(), RunFolder(tmp_path / "run"), 20, show_progress=False, checkpoint_interval=10
    )
    run.metrics.delayed = True
    honest, found = run.checkpoints.save, {}

    def save(step, *arguments):
        found[step] = steps_in(run.folder)
        return honest(step, *arguments)

    run.checkpoints.save = save  # type: ignore[method-assign]
    run.run()
    assert found == {0: [], 10: [10], 20: [10, 20]}
    assert [json.loads(line)["step"] for line in run.folder.timing.read_text().splitlines()] == [10, 20]
