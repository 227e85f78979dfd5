"""NamedAdam: the fused pass over groups of their own rates is Adam, and its state moves between devices and files."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gaussian_splatting.trainer import optimizer as optimizer_module
from gaussian_splatting.trainer.named import BaseDensificationTrainer
from gaussian_splatting.trainer.optimizer import NamedAdam
from gaussian_splatting.trainer.sh_rest import ShRest
from gaussian_splatting.trainer.snapshot import capture, restore
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

RATES = {"xyz": 1e-4, "f_dc": 2.5e-3, "f_rest": 1.25e-4, "opacity": 0.025, "scaling": 1e-3, "rotation": 1e-3}
SIZES = {"xyz": (50, 3), "f_dc": (50, 1, 3), "f_rest": (50, 15, 3), "opacity": (50, 1), "scaling": (50, 3)}
SIZES["rotation"] = (50, 4)


def groups(dtype: torch.dtype) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    values = {name: torch.randn(size, generator=generator).to(dtype) for name, size in SIZES.items()}
    return [{"params": [torch.nn.Parameter(values[name])], "name": name, "lr": rate} for name, rate in RATES.items()]


def run(optimizer: torch.optim.Optimizer, update: Any, steps: int = 40) -> list[torch.Tensor]:
    """The parameters after some steps, of which every fourth only has a gradient for the harmonics."""
    generator = torch.Generator().manual_seed(2)
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            (parameter,) = group["params"]
            gradient = torch.randn(parameter.shape, generator=generator) * 10.0 ** (step % 5 - 6)
            parameter.grad = None if group["name"] == "f_rest" and step % 4 else gradient.to(parameter)
            group["lr"] = RATES[group["name"]] / step
        update()
    return [group["params"][0].detach() for group in optimizer.param_groups]


def fused(optimizer: NamedAdam) -> Any:
    """What a step does on a card."""
    return lambda: optimizer.fused_step([g for g in optimizer.param_groups if g["params"][0].grad is not None])


def test_the_fused_pass_is_adam_in_float64():
    ours, exact = NamedAdam(groups(torch.float32)), torch.optim.Adam(groups(torch.float64), eps=1e-15, foreach=False)
    for found, expected in zip(run(ours, fused(ours)), run(exact, exact.step), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


def test_the_fused_pass_moves_as_our_own_kernel_does():
    ours, card = NamedAdam(groups(torch.float32)), NamedAdam(groups(torch.float32))
    start = [group["params"][0].detach().clone() for group in ours.param_groups]
    for found, expected, before in zip(run(card, fused(card)), run(ours, ours.step), start, strict=True):
        torch.testing.assert_close(found - before, expected - before, rtol=1e-4, atol=1e-6)
    for mine, theirs in zip(ours.state.values(), card.state.values(), strict=True):
        assert float(mine["step"]) == float(theirs["step"])
        torch.testing.assert_close(mine["exp_avg_sq"], theirs["exp_avg_sq"], rtol=1e-5, atol=0)


def test_groups_of_one_rate_share_a_launch(monkeypatch):
    launches: list[int] = []
    honest = optimizer_module.adam

    def counted(parameters: list[torch.Tensor], *arguments: Any, **settings: Any) -> None:
        launches.append(len(parameters))
        honest(parameters, *arguments, **settings)

    monkeypatch.setattr(optimizer_module, "adam", counted)
    optimizer = NamedAdam(groups(torch.float32))
    for group in optimizer.param_groups:
        group["params"][0].grad = torch.ones_like(group["params"][0])
    fused(optimizer)()
    assert sorted(launches) == [1, 1, 1, 1, 2]


class OnCard(ShRest, BaseDensificationTrainer):
    """Updates as on a card."""

    def setup(self) -> None:
        super().setup()
        self.optimizer.step = fused(self.optimizer)  # type: ignore[method-assign]


OPTIONS: dict[str, Any] = {"densify_from_iter": 2, "densify_interval": 3, "sh_rest_interval": 2}


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_moments_follow_the_gaussians_and_come_back(stop):
    trainer, again = (OnCard(tiny_model(), TinyDataset(), **OPTIONS) for _ in range(2))
    for _ in trainer.run(TinyDataset(), 9):
        if trainer.curr_step == stop:
            restore(again, capture(trainer))
    for _ in again.run(TinyDataset(), 9):
        pass
    found, expected = capture(again), capture(trainer)
    assert len(trainer.model) > 60
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
