"""Every trainer on a simulated card: no tensor on the wrong device, and no step that waits for the card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from simulated_card import CARD, SimulatedCard, on_card
from simulated_gsplat import install
from test_workers import make

from gaussian_splatting.camera import Camera
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.dataset.trainable import TrainableCameraDataset
from gaussian_splatting.losses import photometric_triton
from gaussian_splatting.options import flat_options
from gaussian_splatting.trainer import named, rules
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.compose import FEATURES, compose
from gaussian_splatting.trainer.conformance import QUICK
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model

STEPS = 12
PACKAGE = Path(photometric_triton.__file__).parents[1]


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCard]:
    install(monkeypatch)
    monkeypatch.setattr(photometric_triton, "works_on", lambda device: False)
    with SimulatedCard() as simulated:
        yield simulated


class CardDataset(TinyDataset):
    """The tiny scene with its cameras and pictures on the card."""

    def __init__(self) -> None:
        super().__init__()
        self.cameras = [_moved(camera) for camera in self.cameras]


def _moved(camera: Camera) -> Camera:
    return camera._replace(
        **{name: value.to(CARD) for name, value in camera._asdict().items() if isinstance(value, torch.Tensor)}
    )


def dataset_of(cls: type[BaseTrainer]) -> CameraDataset:
    return TrainableCameraDataset(CardDataset()).to(CARD) if cls.trains_cameras else CardDataset()


def trainer_of(cls: type[BaseTrainer], **options: Any) -> BaseTrainer:
    known = flat_options(rules.option_groups(cls))
    options = {name: value for name, value in QUICK.items() if name in known} | options
    model = tiny_model(cls)
    model.backend = "auto-2dgs" if cls.trains_surfels else "auto"
    return cls(model.to(CARD), dataset_of(cls), **options)


def waits_of(card: SimulatedCard) -> list[str]:
    """Where our own code made the host wait; what gsplat does itself is its own."""
    return [
        f"{name} at {Path(file).relative_to(PACKAGE)}:{line}"
        for name, file, line in card.waits
        if Path(file).is_relative_to(PACKAGE)
    ]


@pytest.mark.parametrize("name", sorted({cls.__name__: cls for cls in named.NAMED.values()}))
def test_a_trainer_trains(card, name):
    trainer = trainer_of(named.NAMED[name])
    for loss, out in trainer.run(trainer.dataset, STEPS):
        assert on_card(loss)
        assert on_card(out["render"])
    for parameter in trainer.model.rows().values():
        assert on_card(parameter)
        assert torch.isfinite(parameter).all()
    for state in trainer.states().values():
        assert all(on_card(value) for value in vars(state).values() if isinstance(value, torch.Tensor) and value.numel())
