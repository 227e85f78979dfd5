"""Training on a card: every named trainer, the same quality as on the CPU, bounded memory, and what happens without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gaussian_splatting import train
from gaussian_splatting.prepare import prepare_dataset, prepare_gaussians, prepare_trainer
from gaussian_splatting.trainer import named

pytestmark = pytest.mark.gpu

STEPS = 200


@pytest.mark.parametrize("name", sorted(named.NAMED))
def test_every_named_trainer_trains(card, demo_scene, name):
    cls = named.NAMED[name]
    backend = "gsplat-2dgs" if cls.trains_surfels else "gsplat"
    views = prepare_dataset(demo_scene, card, cls.trains_cameras, resolution=4)
    model = prepare_gaussians(3, demo_scene, card, cls.trains_cameras, backend=backend, cameras=views)
    trainer = prepare_trainer(model, views, "base", trainer=cls, iterations=STEPS)
    losses = [float(loss) for loss, _ in trainer.run(views, STEPS)]
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])
    assert {len(rows) for rows in model.rows().values()} == {len(model)}
    assert all(torch.isfinite(rows).all() for rows in model.rows().values())


def quality(scene: Path, folder: Path, device: str, *flags: str) -> tuple[float, int]:
    """Held-out PSNR in dB and the number of Gaussians after a run of 800 steps."""
    length = ["-i", "800", "-r", "2", "--eval", "--quiet", "--mode", "nodepth-densify"]
    assert train.main(["-s", str(scene), "-d", str(folder), "--device", device, *length, *flags]) == 0
    last = json.loads((folder / "evaluations.jsonl").read_text().splitlines()[-1])
    metrics = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    return last["psnr"], metrics["num_gaussians"]


def test_a_card_reaches_the_quality_of_the_cpu_and_of_itself(card, demo_scene, tmp_path):
    on_cpu, num_cpu = quality(demo_scene, tmp_path / "cpu", "cpu")
    first, num_first = quality(demo_scene, tmp_path / "first", "cuda")
    second, num_second = quality(demo_scene, tmp_path / "second", "cuda")
    print(f"PSNR: cpu {on_cpu:.3f}, card {first:.3f} and {second:.3f}; N: {num_cpu}, {num_first}, {num_second}")
    assert abs(first - on_cpu) < 0.15
    assert abs(first - second) < 0.15
    assert abs(num_first - num_second) < 0.02 * num_first


def test_memory_stays_where_it_was_after_the_first_steps(card, demo_scene):
    views = prepare_dataset(demo_scene, card, resolution=2)
    model = prepare_gaussians(3, demo_scene, card, backend="gsplat", cameras=views)
    trainer = prepare_trainer(model, views, "nodepth-base", trainer=named.BaseTrainer)
    list(trainer.run(views, 100))
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    list(trainer.run(views, 300))
    assert torch.cuda.memory_allocated() < before + (8 << 20)


def test_too_little_memory_is_told_and_loses_nothing(card, demo_scene, tmp_path, capsys):
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + (200 << 20)) / total)
    try:
        flags = ["-s", str(demo_scene), "-d", str(tmp_path / "run"), "--device", "cuda", "--init", "random:400000"]
        status = train.main([*flags, "-i", "200", "--quiet", "--mode", "nodepth-densify"])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    said = capsys.readouterr()
    assert status != 0
    assert "--max_gaussians" in said.err
    assert "completed" not in said.out
