"""The Triton kernels of the photometric loss: run by Triton's interpreter here, compiled for cards without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from packaging.version import Version

from gaussian_splatting.environment import version_of
from gaussian_splatting.losses import photometric_triton

ROOT = Path(__file__).resolve().parents[2]
FOUND = version_of("triton")
needs_triton = pytest.mark.skipif(FOUND is None or Version(FOUND) < Version("3.2"), reason="needs Triton 3.2")

INTERPRETED = """
import json, torch
from gaussian_splatting.losses.metrics import l1_loss
from gaussian_splatting.losses import photometric_triton
from gaussian_splatting.losses.photometric_triton import photometric_on_card
from gaussian_splatting.losses.ssim import ssim

photometric_triton.BLOCK = 16  # rows of more than one part, without pictures that take the interpreter minutes
worst = {}
for channels, height, width, layout, weight in [(1, 12, 18, "planes", 0.2), (3, 1, 4, "pixels", 0.3)]:
    generator = torch.Generator().manual_seed(height)
    render, target = torch.rand((2, height, width, channels), generator=generator).unbind()
    target = 0.7 * render + 0.3 * target
    target[0, 0] = render[0, 0]  # no sign of a difference
    render, target = render.permute(2, 0, 1), target.permute(2, 0, 1)
    if layout == "planes":
        render, target = render.contiguous(), target.contiguous()
    leaf, exact = render.clone().requires_grad_(), render.double().requires_grad_()
    found = photometric_on_card(leaf, target, weight)
    l1, similarity = l1_loss(exact, target.double()), ssim(exact, target.double())
    expected = (1 - weight) * l1 + weight * (1 - similarity), l1, similarity
    (3 * found[0]).backward()
    (3 * expected[0]).backward()
    name = f"{width}x{height}"
    worst[name] = max(abs(float(a) - float(b)) for a, b in zip(found, expected))
    error = (leaf.grad.double() - exact.grad).norm() / exact.grad.norm()
    worst[name + " gradient"] = float(error)
with torch.no_grad():
    worst["without gradient"] = abs(float(photometric_on_card(render, target, weight)[0] - found[0]))
print(json.dumps(worst))
"""

COMPILED = """
import json
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from gaussian_splatting.losses import triton_kernels as kernels

sizes = {}
for name in ("along_rows", "along_columns", "slopes_along_rows", "gradient_along_columns"):
    kernel = getattr(kernels, name)
    pointers = {"render", "target", "weights", "maps", "slopes", "sums", "scales", "gradient"}
    fixed = {"WINDOW": 11, "BLOCK": 256, "WITH_SLOPES": True}
    kinds = dict.fromkeys(pointers, "*fp32") | dict.fromkeys(fixed, "constexpr")
    signature = {arg: kinds.get(arg, "i32") for arg in kernel.arg_names}
    constants = {arg: value for arg, value in fixed.items() if arg in kernel.arg_names}
    for capability in (75, 90) if name == "along_columns" else (90,):
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        built = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        sizes[f"{name} {capability}"] = len(built.asm["cubin"])
print(json.dumps(sizes))
"""


def printed(code: str, tmp_path: Path, **environment: str) -> dict[str, float]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    known = os.environ | {"PYTHONPATH": paths, "TRITON_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-c", code], env=known | environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout)


@needs_triton
def test_loss_and_gradient_are_those_of_the_reference_in_float64(tmp_path):
    worst = printed(INTERPRETED, tmp_path, TRITON_INTERPRET="1")
    assert len(worst) == 5
    assert {name: error for name, error in worst.items() if not error < 2e-6} == {}


@needs_triton
@pytest.mark.skipif(sys.platform != "linux", reason="Triton compiles for NVIDIA cards on Linux")
def test_the_kernels_compile_for_cards_of_2018_and_2022(tmp_path):
    sizes = printed(COMPILED, tmp_path)
    assert len(sizes) == 5
    assert all(size > 1000 for size in sizes.values())


def test_without_a_card_the_loss_stays_where_it_was():
    picture = torch.rand(3, 8, 9)
    assert not photometric_triton.suits(picture, picture)


def test_where_the_kernels_do_not_run_it_is_said_once(monkeypatch, caplog):
    def fail(*arguments: object) -> None:
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.\nmore")

    monkeypatch.setattr(photometric_triton, "photometric_on_card", fail)
    photometric_triton.works_on.cache_clear()
    with caplog.at_level("INFO", logger="gaussian_splatting"):
        assert not photometric_triton.works_on(torch.device("cpu"))
        assert not photometric_triton.works_on(torch.device("cpu"))
    photometric_triton.works_on.cache_clear()
    (record,) = caplog.records
    assert "does not run here (RuntimeError: Failed to find C compiler." in record.getMessage()
    assert "PyTorch computes it" in record.getMessage()


def test_kernels_that_give_something_else_are_not_used(monkeypatch, caplog):
    def wrong(render: torch.Tensor, target: torch.Tensor, weight: float) -> tuple[torch.Tensor, ...]:
        return (render.sum(), render.sum(), render.sum())

    monkeypatch.setattr(photometric_triton, "photometric_on_card", wrong)
    photometric_triton.works_on.cache_clear()
    with caplog.at_level("INFO", logger="gaussian_splatting"):
        assert not photometric_triton.works_on(torch.device("cpu"))
    photometric_triton.works_on.cache_clear()
    assert "its result is not that of PyTorch" in caplog.text
