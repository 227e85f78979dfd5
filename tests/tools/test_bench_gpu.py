"""The GPU benchmark runs its three sides on a processor too, so that a card finds it working."""

from __future__ import annotations

import json
import sys

import bench_gpu
import pytest


def test_all_sides_are_measured_and_written(monkeypatch, tmp_path, capsys):
    flags = ["--device", "cpu", "--sizes", "500", "--width", "64", "--height", "48", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", ["bench_gpu.py", *flags, "--json", str(tmp_path / "bench.json")])
    bench_gpu.main()
    (row,) = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert row["bare_ms"] == pytest.approx(sum(row[f"{s}_ms"] for s in ("forward", "loss", "backward", "adam")))
    assert row["ours_over_bare"] == pytest.approx(row["ours_ms"] / row["bare_ms"])
    assert min(row["fused_loss_ms"], row["torch_loss_ms"]) > 0
    assert "example_over_ours" in capsys.readouterr().out


def test_all_sides_compute_the_same_first_loss():
    scene = bench_gpu.bench_scenes.synthetic(500, 64, 48)
    ours = float(bench_gpu.our_step(scene, "cpu")()[0])
    assert bench_gpu.example_step(scene, "cpu")() == pytest.approx(ours, rel=1e-5)
