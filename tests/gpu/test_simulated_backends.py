"""The tests of gsplat's backends on a simulated card, so that a card finds them working."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import test_gpu_backends as on_card
import torch
from simulated_card import CARD, SimulatedCard
from simulated_gsplat import install


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    install(monkeypatch)
    with SimulatedCard():
        yield CARD


@pytest.mark.parametrize(("name", "antialiased"), [("gsplat", True), ("gsplat_2dgs", False)])
def test_pictures_and_gradients(simulated, name, antialiased):
    on_card.test_pictures_and_gradients_are_those_of_the_reference(simulated, name, antialiased)


@pytest.mark.parametrize("option", ["packed", "sparse_grad"])
def test_options(simulated, option):
    on_card.test_an_option_of_gsplat_changes_no_picture_and_no_gradient(simulated, option, antialiased=True)


def test_shards(simulated):
    on_card.test_shards_make_the_picture_and_the_gradients_of_the_reference(simulated, antialiased=True)


def test_equal_calls(simulated):
    on_card.test_equal_calls_give_nearly_equal_gradients(simulated)
