"""Every trainer on a simulated card: no tensor on the wrong device, and no step that waits for the card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from simulated_card import CARD, SimulatedCard, on_card
from simulated_gsplat import install

from gaussian_splatting.camera import Camera
from gaussian_splatting.dataset.dataset import CameraDataset
from gaussian_splatting.dataset.trainable import TrainableCameraDataset
from gaussian_splatting.losses import photometric_triton
from gaussian_splatting.options import flat_options
from gaussian_splatting.rasterizer import resolve_backend
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


CLASSES = {
    "best": named.NAMED["BestTrainer"],
    "surfels": named.NAMED["NormalSHLiftOpacityResetDensificationCameraTrainer"],
    "mcmc": named.NAMED["SHLiftMCMCTrainer"],
    "cameras": named.NAMED["DepthSHLiftOpacityResetDensificationCameraTrainer"],
    "others": compose(
        named.BaseTrainer, ["absolute_gradients", "sh_rest", "floater_removal", "opacity_decay", "scale_reg", "budget"]
    ),
}
"""Between them they have every feature."""
QUIET = (7, 11)
"""Steps in which nothing is refined, see QUICK; the first is rendered at half size by those that do so."""


def test_every_feature_is_among_them():
    features = {feature for cls in CLASSES.values() for feature in cls.__mro__}
    assert features >= set(FEATURES.values())


@pytest.mark.parametrize("name", CLASSES)
def test_a_trainer_trains_and_waits_for_gsplat_only(card, name):
    background = {"bg_color": "random"} if name == "others" else {}
    trainer = trainer_of(CLASSES[name], **background)
    assert resolve_backend(trainer.model.backend, CARD).startswith("gsplat")
    before = len(trainer.model)
    for loss, out in trainer.run(trainer.dataset, STEPS):
        assert on_card(loss)
        assert on_card(out["render"])
        if trainer.curr_step in QUIET:
            assert waits_of(card) == []
        card.waits.clear()
    assert len(trainer.model) != before
    for parameter in trainer.model.rows().values():
        assert on_card(parameter)
        assert torch.isfinite(parameter).all()
    for state in trainer.states().values():
        assert all(
            on_card(value) for value in vars(state).values() if isinstance(value, torch.Tensor) and value.numel()
        )


def test_the_filter_of_what_is_visible_is_there_when_it_is_asked_for(card):
    trainer = trainer_of(named.BaseTrainer)
    _, out = next(trainer.run(trainer.dataset, 1))
    assert "visibility_filter" in out
    assert "nonzero" not in {name for name, _, _ in card.waits}
    assert torch.equal(out["visibility_filter"], out["radii"].nonzero())
    assert out.get("visibility_filter") is out["visibility_filter"]
    with pytest.raises(KeyError, match="no_such"):
        out["no_such"]


def test_absolute_gradients_are_those_of_the_reference(card):
    weights = torch.randn((3, 24, 32), generator=torch.Generator().manual_seed(1))
    found = []
    for backend, device, views in (("auto", CARD, CardDataset()), ("reference", "cpu", TinyDataset())):
        model = tiny_model().to(device)
        model.backend, model.absolute_gradients = backend, True
        out = model(views[0])
        (out["render"] * weights.to(device)).sum().backward()
        found.append(out["get_viewspace_grad"](out).cpu())
        (model(views[0])["render"] * weights.to(device)).sum().backward()  # whoever lets go of the output gets none
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-6)


def test_activated_values_have_screen_gradients_too(card):
    views, model = CardDataset(), tiny_model().to(CARD)
    values = (model.get_xyz, model.get_opacity, model.get_scaling, model.get_rotation)
    found = []
    for out in (model(views[0]), model.render(views[0], *values, shs=model.get_features)):
        out["render"].square().sum().backward()
        found.append(out["get_viewspace_grad"](out))
    assert found[0].abs().max() > 0
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-7)


def test_densification_sees_the_same_when_gsplat_packs(card):
    trainers = []
    for packed in (False, True):
        trainer = trainer_of(compose(named.BaseDensificationTrainer, ["absolute_gradients"]))
        trainer.model.packed = packed
        for _ in trainer.run(trainer.dataset, STEPS):
            pass
        trainers.append(trainer)
    dense, packed = trainers
    assert len(packed.model) == len(dense.model) != 60
    for name, value in dense.model.rows().items():
        assert torch.allclose(packed.model.rows()[name], value, atol=1e-5), name
    assert torch.equal(packed.screen.views, dense.screen.views)
    assert torch.equal(packed.screen.radius, dense.screen.radius)


def test_sparse_gradients_are_the_dense_ones_of_the_rows_in_view(card):
    views = CardDataset()
    found = []
    for sparse in (False, True):
        model = tiny_model().to(CARD)
        model.backend, model.absolute_gradients, model.sparse_grad = "auto", True, sparse
        with torch.no_grad():
            model._xyz[::3, 2] -= 100  # behind the camera
        out = model(views[0])
        out["render"].square().sum().backward()
        found.append((out, model))
    (out, dense), (sparse_out, sparse) = found
    rows = out["radii"].nonzero()[:, 0]
    assert 0 < len(rows) < len(dense)
    for key in ("render", "alpha", "depth", "invdepth"):
        torch.testing.assert_close(sparse_out[key], out[key], rtol=1e-5, atol=1e-6)
    assert torch.equal(sparse_out["radii"], out["radii"])
    torch.testing.assert_close(sparse_out["get_viewspace_grad"](sparse_out), out["get_viewspace_grad"](out))
    for name, parameter in sparse.rows().items():
        gradient, expected = parameter.grad, dense.rows()[name].grad
        assert gradient is not None
        assert gradient.is_sparse
        assert gradient.is_coalesced()
        assert torch.equal(gradient.indices()[0], rows)
        torch.testing.assert_close(gradient.to_dense(), expected, rtol=1e-4, atol=1e-6)


def test_a_view_of_nothing_has_sparse_gradients_too(card):
    model = tiny_model().to(CARD)
    model.backend, model.sparse_grad = "auto", True
    with torch.no_grad():
        model._xyz[:, 2] -= 100
    out = model(CardDataset()[0])
    (out["render"].sum() + out["depth"].sum()).backward()
    assert not out["radii"].any()
    assert not model._xyz.grad.to_dense().any()


def test_only_what_is_in_view_moves(card):
    cls = compose(named.BaseDensificationTrainer, ["absolute_gradients", "sh_rest"])
    trainer = trainer_of(cls, densify_from_iter=100, prune_from_iter=100)
    trainer.model.sparse_grad = True
    with torch.no_grad():
        trainer.model._xyz[:5, 2] -= 100
    before = {name: value.detach()[:5].clone() for name, value in trainer.model.rows().items()}
    for _ in trainer.run(trainer.dataset, 5):
        pass
    assert len(trainer.model) == 60
    for name, value in trainer.model.rows().items():
        assert torch.equal(value[:5], before[name]), name
        assert not torch.equal(value[5:], trainer_of(cls).model.rows()[name][5:]) or name == "f_rest"


@pytest.mark.parametrize("name", ["best", "mcmc", "cameras", "others"])
def test_every_feature_trains_with_sparse_gradients(card, name):
    trainer = trainer_of(CLASSES[name])
    trainer.model.sparse_grad = True
    before = len(trainer.model)
    for loss, _ in trainer.run(trainer.dataset, STEPS):
        assert torch.isfinite(loss)
        if trainer.curr_step in QUIET:
            assert waits_of(card) == []
        card.waits.clear()
    assert len(trainer.model) != before
    assert all(torch.isfinite(value).all() for value in trainer.model.rows().values())
