"""The memory of a card: counted before a run, advised where it is too little, told when it ran out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.prepare import prepare_dataset
from gaussian_splatting.runs.card_memory import GIB, PIXEL_BYTES, ROOM, advice, estimate, rounded
from gaussian_splatting.runs.folder import RunFolder
from gaussian_splatting.runs.rescue import preparation
from gaussian_splatting.runs.training import TrainingRun
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.named import BaseDensificationTrainer, BaseFastTrainer, BaseMCMCTrainer
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


def test_what_is_kept_is_counted_exactly(demo_scene):
    trainer = BaseDensificationTrainer(tiny_model(), TinyDataset())
    found = estimate(trainer, TinyDataset())
    values = 4 * (3 + 3 + 24 + 1 + 3 + 4)  # of SH degree 2
    statistics = 4 * 3
    assert found.per_gaussian > 4 * values + statistics
    assert found.per_gaussian >= 2 * (3 * values + statistics)
    assert found.step == PIXEL_BYTES * 24 * 32
    assert found.pictures == 0
    views = prepare_dataset(demo_scene, resolution=8)
    camera = views.geometry(0)
    expected = len(views) * camera.image_height * camera.image_width
    assert estimate(trainer, views).pictures >= 3 * expected


def test_several_processes_need_room_for_what_they_exchange():
    trainer = BaseTrainer(tiny_model(), TinyDataset())
    alone = estimate(trainer, TinyDataset()).per_gaussian

    class Two(type(trainer.workers)):
        size = 2

    trainer.workers = Two()
    assert estimate(trainer, TinyDataset()).per_gaussian == alone + 2 * 4 * 38


def test_a_part_of_the_gaussians_is_told_as_such():
    trainer = BaseDensificationTrainer(tiny_model(), TinyDataset())
    trainer.workers = type("Shard", (type(trainer.workers),), {"sharded": True, "size": 2})()
    (line,) = advice(trainer, TinyDataset(), 30_000, 2 * GIB, "cuda:1")
    assert line == (
        "memory of cuda:1: 2.0 GiB free; 0.00 GiB for its part of the Gaussians (620 bytes each), and what the views "
        "of a step show besides"
    )


def test_room_and_total_agree():
    found = estimate(BaseTrainer(tiny_model(), TinyDataset()), TinyDataset())
    room = found.room(GIB)
    assert found.total(room) < GIB
    assert found.total(round(room / ROOM) + 2) > GIB


def test_a_limit_that_fits_needs_no_advice():
    trainer = BaseDensificationTrainer(tiny_model(), TinyDataset(), densify_target_upper_bound=90)
    (line,) = advice(trainer, TinyDataset(), 30_000, 2 * GIB, "cuda:0")
    assert line.startswith("memory of cuda:0: 2.0 GiB free; about 0.00 GiB for 60 Gaussians (")
    assert "room for about 1" in line


def test_a_limit_that_does_not_fit_is_told_with_one_that_does():
    trainer = BaseDensificationTrainer(tiny_model(), TinyDataset())
    first, second = advice(trainer, TinyDataset(), 30_000, GIB, "cuda:0")
    room = rounded(estimate(trainer, TinyDataset()).room(GIB))
    assert second == (
        f"the limit (densify_target_upper_bound 10000000) is above that: give --max_gaussians {room} to stay within "
        "this card"
    )
    assert first.endswith(f"room for about {room}")


def test_a_budget_that_fits_needs_no_advice_however_high_its_limit():
    trainer = BaseFastTrainer(tiny_model(), TinyDataset())
    assert trainer.options["budget"].upper_bound == 10_000_000
    planned = trainer.expected_count(30_000)
    (line,) = advice(trainer, TinyDataset(), 30_000, GIB, "cuda:0")
    found = estimate(trainer, TinyDataset())
    assert f" and pictures, {found.total(planned) / GIB:.2f} GiB for the {planned} planned, room for about " in line


def test_a_budget_that_does_not_fit_is_told_with_one_that_does():
    trainer = BaseFastTrainer(tiny_model(), TinyDataset(), budget_target=2_000_000)
    _, second = advice(trainer, TinyDataset(), 30_000, GIB, "cuda:0")
    assert second.startswith("the number planned (2000000) is above that: give --max_gaussians ")


def test_a_budget_that_is_its_limit_is_told_by_the_name_of_the_limit():
    trainer = BaseMCMCTrainer(tiny_model(), TinyDataset())
    _, second = advice(trainer, TinyDataset(), 30_000, GIB, "cuda:0")
    assert second.startswith("the limit (mcmc_cap_max 1000000) is above that: give --max_gaussians ")
    assert len(advice(trainer, TinyDataset(), 600, GIB, "cuda:0")) == 1  # a run that ends before it grows


def test_too_many_gaussians_at_the_start_are_a_warning():
    lines = advice(BaseTrainer(tiny_model(), TinyDataset()), TinyDataset(), 30_000, 300_000, "cuda:1")
    assert lines[1].startswith(
        "warning: 60 Gaussians at the start are more than there is room for; use smaller pictures"
    )


@pytest.mark.parametrize(("number", "expected"), [(0, 0), (7, 7), (99, 99), (1_234_567, 1_200_000), (45_999, 45_000)])
def test_numbers_are_cut_to_two_digits(number, expected):
    assert rounded(number) == expected


class Full(BaseTrainer):
    """Its card is full at step 3."""

    def refine(self) -> None:
        super().refine()
        if self.curr_step == 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")


def test_a_full_card_is_told_with_a_number_that_helps(tmp_path: Path):
    run = TrainingRun(
        Full(tiny_model(), TinyDataset()), TinyDataset(), RunFolder(tmp_path / "run"), 9, show_progress=False
    )
    with pytest.raises(TrainingError) as caught:
        run.run()
    message = str(caught.value)
    assert message.startswith(
        "step 3: out of memory with 60 Gaussians (CUDA out of memory. Tried to allocate 2.00 GiB.)"
    )
    assert (
        "Use smaller pictures (-r 2), or fewer Gaussians (--max_gaussians): --max_gaussians 48 leaves room" in message
    )
    assert message.endswith("set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True")
    assert "The last checkpoint is " in message


class FullAtOnce(BaseTrainer):
    """There is no room for its first step."""

    def preprocess(self, camera):
        super().preprocess(camera)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_a_card_that_is_full_before_the_first_step_is_told_what_helps_then(tmp_path: Path):
    trainer = FullAtOnce(tiny_model(), TinyDataset())
    run = TrainingRun(trainer, TinyDataset(), RunFolder(tmp_path / "run"), 9, show_progress=False)
    with pytest.raises(TrainingError) as caught:
        run.run()
    message = str(caught.value)
    assert message.startswith("out of memory before the first step, with 60 Gaussians (CUDA out of memory.")
    assert "Use smaller pictures (-r 2), start with fewer Gaussians (--init random:30), or " in message
    assert "--max_gaussians bounds what is added later and does not help here" in message


def test_memory_that_runs_out_in_the_preparation_is_told_what_helps_then():
    with (
        pytest.raises(TrainingError, match=r"before the first step \(too much\). Use .*\(--init random:100000\)"),
        preparation(),
    ):
        raise MemoryError("too much")
    with pytest.raises(ValueError, match="other"), preparation():
        raise ValueError("other")
