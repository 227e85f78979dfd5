"""Random draws are functions of seed, step and purpose."""

from __future__ import annotations

import torch

from gaussian_splatting.trainer import randomness


def test_normal_draws_on_a_processor_are_those_of_the_generator():
    found = randomness.normal((5, 3), torch.device("cpu"), 3, 7, "noise")
    assert torch.equal(found, torch.randn((5, 3), generator=randomness.generator(3, 7, "noise")))


def test_normal_draws_depend_on_everything():
    def draw(*key: object) -> torch.Tensor:
        return randomness.normal((4,), torch.device("cpu"), *key)  # type: ignore[arg-type]

    draws = [draw(0, 1, "a"), draw(1, 1, "a"), draw(0, 2, "a"), draw(0, 1, "b")]
    assert torch.equal(draws[0], draw(0, 1, "a"))
    assert all(not torch.equal(draws[0], other) for other in draws[1:])
