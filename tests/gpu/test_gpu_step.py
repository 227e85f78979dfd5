"""What surrounds the rasteriser in a step on a card: the loss, Adam, pictures, figures, memory, several cards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from gaussian_splatting.dataset.load import Pictures
from gaussian_splatting.dataset.pictures import PictureStore
from gaussian_splatting.dataset.transfer import Transfer, pinned
from gaussian_splatting.losses import photometric_triton
from gaussian_splatting.losses.metrics import l1_loss
from gaussian_splatting.losses.ssim import ssim
from gaussian_splatting.prepare import prepare_dataset, prepare_gaussians, prepare_trainer
from gaussian_splatting.runs.card_memory import estimate
from gaussian_splatting.runs.folder import RunFolder
from gaussian_splatting.runs.metrics import MetricsLog
from gaussian_splatting.trainer import named
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.optimizer import NamedAdam

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("height", "width"), [(24, 40), (11, 7), (800, 1280), (1063, 1601)])
@pytest.mark.parametrize("layout", ["planes", "pixels"])
def test_the_fused_loss_is_that_of_the_reference(card, height, width, layout):
    assert photometric_triton.works_on(torch.device("cuda", 0))
    generator = torch.Generator().manual_seed(0)
    render, target = torch.rand((2, height, width, 3), generator=generator).permute(0, 3, 1, 2).to(card).unbind()
    if layout == "planes":
        render, target = render.contiguous(), target.contiguous()
    leaf, exact = render.clone().requires_grad_(), render.double().requires_grad_()
    found = photometric_triton.photometric_on_card(leaf, target, 0.2)
    expected = 0.8 * l1_loss(exact, target.double()) + 0.2 * (1 - ssim(exact, target.double()))
    found[0].backward()
    expected.backward()
    assert float(found[0]) == pytest.approx(float(expected), abs=2e-6)
    assert float((leaf.grad.double() - exact.grad).norm() / exact.grad.norm()) < 1e-5
    again = render.clone().requires_grad_()
    photometric_triton.photometric_on_card(again, target, 0.2)[0].backward()
    assert torch.equal(again.grad, leaf.grad)


def test_a_step_of_adam_is_that_of_the_processor(card):
    generator = torch.Generator().manual_seed(1)
    start, moves = torch.randn((1000, 45), generator=generator), torch.randn((5, 1000, 45), generator=generator)
    found = []
    for device in ("cpu", card):
        parameter = torch.nn.Parameter(start.clone().to(device))
        optimizer = NamedAdam([{"params": [parameter], "name": "rows", "lr": 0.01}])
        for move in moves:
            parameter.grad = move.to(device)
            optimizer.step()
        found.append(parameter.detach().cpu())
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


def made(
    scene: Path, card: torch.device, cls: type[BaseTrainer] = named.BaseTrainer, resolution: int = 2
) -> BaseTrainer:
    views = prepare_dataset(scene, card, resolution=resolution)
    views.preload()
    model = prepare_gaussians(3, scene, card, backend="gsplat", cameras=views)
    return prepare_trainer(model, views, "base", trainer=cls, iterations=1000)


def test_nothing_waits_for_the_card_but_gsplat(card, demo_scene, tmp_path):
    trainer = made(demo_scene, card, named.BaseDensificationTrainer)
    log = MetricsLog(RunFolder(tmp_path), trainer)
    run = trainer.run(trainer.dataset, 40)
    for _ in range(30):
        loss, out = next(run)
    log.note(30, 1.0, loss, out)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(8):
                loss, out = next(run)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    places = [f"{Path(one.filename).parts[-2:]}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)]
    assert [place for place in places if "gsplat" not in place] == []


def test_lines_of_steps_come_later_and_are_the_same(card, demo_scene, tmp_path):
    trainer = made(demo_scene, card)
    (tmp_path / "late").mkdir()
    log, expected = MetricsLog(RunFolder(tmp_path / "late"), trainer), []
    assert log.delayed
    for loss, out in trainer.run(trainer.dataset, 5):
        log.note(trainer.curr_step, 1.0, loss, out)
        expected.append(float(loss))
    log.settle()
    assert [entry["loss"] for entry in log.folder.read_metrics()] == expected


def test_pictures_that_do_not_fit_arrive_in_time(card, demo_scene, monkeypatch):
    monkeypatch.setattr("gaussian_splatting.dataset.pictures._free_cuda_memory", lambda device: 1000)
    views = prepare_dataset(demo_scene, card, resolution=2)
    store = views.pictures
    assert isinstance(store, PictureStore)
    views.preload()
    kept = store._kept[0].colors
    assert kept is not None
    assert kept.is_pinned()
    expected = prepare_dataset(demo_scene, resolution=2)
    for index in range(len(views) - 2):
        store.prefetch([index, index + 1, index + 2])
        assert torch.equal(views[index].ground_truth_image.cpu(), expected[index].ground_truth_image)
    moving = Transfer(torch.device("cuda", 0))
    large = pinned(Pictures(colors=torch.randint(0, 255, (4000, 6000, 3), dtype=torch.uint8)))
    moving.start(0, lambda: large, {0})
    assert torch.equal(moving.take(0, lambda: large).colors.cpu(), large.colors)


def test_the_estimate_of_memory_holds(card, demo_scene):
    trainer = made(demo_scene, card, named.BaseDensificationTrainer)
    told = estimate(trainer, trainer.dataset).total(len(trainer.model))
    torch.cuda.reset_peak_memory_stats()
    for _ in trainer.run(trainer.dataset, 60):
        pass
    peak = torch.cuda.max_memory_allocated()
    print(f"memory: estimated {told / 2**20:.0f} MiB, allocated at the peak {peak / 2**20:.0f} MiB")
    assert 0.3 * told < peak < 1.5 * told + (64 << 20)


def train_on_two_cards(scene: Path, run: Path, *flags: str) -> str:
    """What a run of two cards says."""
    if torch.cuda.device_count() < 2:
        pytest.skip("PyTorch sees one card")
    root = Path(__file__).resolve().parents[2]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    ended = subprocess.run(
        [*torchrun, "-m", "gaussian_splatting.train", "-s", str(scene), "-d", str(run), "-r", "2",
         "--preset", "fast", "--eval", "--quiet", *flags],
        cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "2 processes: 2 views in a step" in ended.stdout
    print(ended.stdout)
    return ended.stdout


def last_psnr(run: Path) -> float:
    return json.loads((run / "evaluations.jsonl").read_text().splitlines()[-1])["psnr"]


def test_two_cards_train_one_model(card, demo_scene, tmp_path):
    train_on_two_cards(demo_scene, tmp_path / "run", "-i", "400")


def test_two_cards_share_out_one_model(card, demo_scene, tmp_path):
    train_on_two_cards(demo_scene, tmp_path / "whole", "-i", "400")
    said = train_on_two_cards(demo_scene, tmp_path / "shards", "-i", "400", "--shard")
    assert "the Gaussians are shared out over 2 processes" in said
    assert abs(last_psnr(tmp_path / "shards") - last_psnr(tmp_path / "whole")) < 0.15
    said = train_on_two_cards(demo_scene, tmp_path / "shards", "-i", "420")
    assert "going on after step 400 of 420" in said
