"""The GPU benchmark runs its three sides on a processor too, so that a card finds it working."""

from __future__ import annotations

import json
import sys
from typing import Any

import bench_gpu
import bench_quality
import bench_roofline
import pytest
import torch
from simulated_card import SimulatedCard
from simulated_gsplat import install

from gaussian_splatting.losses import photometric_triton

SMALL = ["--part", "600", "--resolution", "8", "--example_steps", "4", "--our_steps", "6", "--presets", "default"]


def test_all_sides_are_measured_and_written(monkeypatch, tmp_path, capsys):
    flags = ["--device", "cpu", "--sizes", "500", "--width", "64", "--height", "48", "--repeats", "1", *SMALL]
    monkeypatch.setattr(sys, "argv", ["bench_gpu.py", *flags, "--json", str(tmp_path / "bench.json")])
    bench_gpu.main()
    found = json.loads((tmp_path / "bench.json").read_text())
    (row,) = found["rows"]
    assert row["bare_ms"] == pytest.approx(sum(row[f"{s}_ms"] for s in ("forward", "loss", "backward", "adam")))
    assert row["ours_over_bare"] == pytest.approx(row["ours_ms"] / row["bare_ms"])
    assert min(row["fused_loss_ms"], row["torch_loss_ms"]) > 0
    assert row["ours_over_floor"] == pytest.approx(row["ours_ms"] / row["floor_ms"])
    assert 30 < found["part"]["in_view"] <= 60
    assert found["part"]["dense_ms"] > 0
    text = capsys.readouterr().out
    assert "example_over_ours" in text and "ours_over_floor" in text
    assert found["quality"]["example"]["steps"] == 4
    ours = found["quality"]["default"]
    assert [step for step, *_ in ours["curve"]] == [1, 2, 3, 4, 5, 6]
    assert f"default: 6 steps, {ours['seconds']:.2f} s, {ours['psnr']:.2f} dB" in text


def test_all_sides_compute_the_same_first_loss():
    scene = bench_gpu.bench_scenes.synthetic(500, 64, 48)
    ours = float(bench_gpu.our_step(scene, "cpu")()[0])
    assert bench_gpu.example_step(scene, "cpu")() == pytest.approx(ours, rel=1e-5)


def test_the_part_in_view_is_measured_with_every_option_of_gsplat(monkeypatch):
    install(monkeypatch)
    monkeypatch.setattr(photometric_triton, "works_on", lambda device: False)
    losses: dict[str, float] = {}

    def once(steps: Any, device: str, repeats: int) -> Any:
        losses.update({name: float(step()[0]) for name, step in steps.items()})
        return losses, dict.fromkeys(losses, 3)

    monkeypatch.setattr(bench_gpu, "medians", once)
    with SimulatedCard():
        found = bench_gpu.measure_part(300, 32, 24, "cuda", 1)
    assert 15 < found["in_view"] <= 30
    assert list(losses) == ["dense_ms", "packed_ms", "sparse_grad_ms"]
    assert list(losses.values()) == pytest.approx([losses["dense_ms"]] * 3, rel=1e-5)
    assert found["sparse_grad_step_mib"] == 3


def test_the_floor_of_an_h200_is_about_what_was_counted_by_hand():
    def at(num: int) -> dict[str, float]:
        scene = bench_roofline.Counts(num, num, 2 * num, 30.0 * num, 1600, 1060)
        return bench_roofline.floor(scene, bench_roofline.H200, 2.0)

    assert at(1_000_000)["floor_ms"] == pytest.approx(0.75, rel=0.15)
    assert at(3_000_000)["floor_ms"] == pytest.approx(2.0, rel=0.15)
    assert at(1_000_000)["ours_over_floor"] == pytest.approx(2.0 / at(1_000_000)["floor_ms"])


def test_the_work_of_a_view_is_that_of_its_tiles_and_ellipses():
    scene = bench_gpu.bench_scenes.synthetic(500, 64, 48)
    found = bench_gpu.work_of(scene, "cpu")
    assert 0 < found.visible <= found.num_gaussians == 500
    assert found.visible <= found.entries <= found.visible * 12
    # One round Gaussian of a standard deviation of 3 pixels: alpha is at least 1/255 within a circle.
    meta = {
        "radii": torch.full((1, 1, 2), 9), "conics": torch.tensor([[[1 / 9, 0.0, 1 / 9]]]),
        "opacities": torch.tensor([[0.5]]), "tiles_per_gauss": torch.tensor([[4]]),
    }  # fmt: skip
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    covered = (0.5 * torch.exp(-((x - 31.3) ** 2 + (y - 30.6) ** 2) / 18) >= 1 / 255).sum()
    assert bench_roofline.counts(meta, 1, 64, 64).pairs == pytest.approx(float(covered), rel=0.02)


@pytest.mark.parametrize("known", [True, False])
def test_peaks_are_the_cards_own_where_torch_tells_them(monkeypatch, known):
    class Card:
        major, minor, multi_processor_count = 8, 9, 128
        memory_clock_rate, memory_bus_width, clock_rate = (10_501_000, 384, 2_520_000) if known else (0, 0, 0)

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Card())
    found = bench_roofline.peaks("cuda")
    if known:
        assert found.bytes == pytest.approx(1.008e12, rel=0.01)
        assert found.flops == pytest.approx(82.6e12, rel=0.01)
    else:
        assert found == bench_roofline.H200


def test_the_time_to_equal_quality_is_that_of_the_first_look_that_has_it():
    curve = [(1, 0.5, 20.0, 9), (2, 1.0, 24.0, 9), (3, 1.5, 23.0, 9)]
    assert bench_quality.time_to(curve, 22.0) == 1.0
    assert bench_quality.time_to(curve, 25.0) is None
