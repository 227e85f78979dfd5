"""The one door through which N changes."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.gaussian_rows import ATTRIBUTES
from gaussian_splatting.trainer.named import BaseDensificationTrainer
from gaussian_splatting.trainer.tiny_scene import TinyDataset, tiny_model


def make_model(num: int = 5) -> GaussianModel:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand((num, 3), generator=generator)
    return GaussianModel(1).create_from_pcd(points, torch.rand((num, 3), generator=generator))


class Recorder:
    """Follows the rows with one number per Gaussian."""

    def __init__(self, num: int) -> None:
        self.values = torch.arange(num, dtype=torch.float32)
        self.overwritten: list[tuple[str, list[bool]]] = []

    def prepare_rows(self, parents, fresh):
        moved = self.values[parents]
        moved[fresh] = -1

        def commit(parameters):
            self.values = moved

        return commit

    def rows_overwritten(self, name, rows):
        self.overwritten.append((name, rows.tolist()))


class Failing(Recorder):
    def prepare_rows(self, parents, fresh):
        raise MemoryError("no room")


def test_rows_and_followers_move_together():
    model, recorder = make_model(), Recorder(5)
    model.follow(recorder)
    before = model.get_xyz.detach().clone()
    parents, fresh = torch.tensor([4, 1, 1]), torch.tensor([False, False, True])
    model.change_rows(parents, fresh, {"xyz": torch.tensor([[7.0, 8.0, 9.0]])})
    assert len(model) == 3
    assert torch.equal(model.get_xyz[:2], before[[4, 1]])
    assert model.get_xyz[2].tolist() == [7, 8, 9]
    assert recorder.values.tolist() == [4, 1, -1]
    assert all(getattr(model, name).shape[0] == 3 for name in ATTRIBUTES.values())


class Calls(TorchDispatchMode):
    """Counts the operations of torch by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.counts[str(function)] += 1
        return function(*arguments, **(named or {}))


def test_every_tensor_is_made_anew_once_and_the_host_waits_once():
    trainer = BaseDensificationTrainer(tiny_model(), TinyDataset())
    for _ in trainer.run(TinyDataset(), 2):
        pass
    old = {name: value.detach().clone() for name, value in trainer.model.rows().items()}
    moments = {name: dict(trainer.optimizer.state[trainer.optimizer.group(name)["params"][0]]) for name in ATTRIBUTES}
    parents = torch.cat((torch.arange(10, 60), torch.tensor([20, 20])))
    fresh = torch.arange(52) >= 50
    with Calls() as calls:
        trainer.model.change_rows(parents, fresh, {"xyz": torch.ones(2, 3)})
    tensors = 6 + 12 + len(trainer.screen.row_fields())
    assert calls.counts["aten.index_select.default"] == tensors
    assert calls.counts["aten.nonzero.default"] == 1
    assert not {name for name in calls.counts if "cat" in name or "clone" in name or "index.Tensor" in name}
    assert torch.equal(trainer.model._xyz, torch.cat((old["xyz"][10:], torch.ones(2, 3))))
    assert torch.equal(trainer.model._scaling, old["scaling"][parents])
    for name, (parameter, state) in {n: (p, moments[n]) for n, p in trainer.model.rows().items()}.items():
        for moment in ("exp_avg", "exp_avg_sq"):
            expected = torch.where(fresh.view(-1, *(1,) * (parameter.ndim - 1)), 0, state[moment][parents])
            assert torch.equal(trainer.optimizer.state[parameter][moment], expected), (name, moment)


def test_a_follower_that_fails_leaves_everything_as_it_was():
    model, recorder = make_model(), Recorder(5)
    model.follow(recorder)
    failing = Failing(5)
    model.follow(failing)
    before = {name: value.detach().clone() for name, value in model.rows().items()}
    with pytest.raises(MemoryError):
        model.update_points_remove(torch.tensor([True, False, False, False, False]))
    assert recorder.values.tolist() == [0, 1, 2, 3, 4]
    assert all(torch.equal(before[name], value) for name, value in model.rows().items())


def test_followers_are_forgotten_with_their_owner():
    model = make_model()
    model.follow(Recorder(5))
    assert model.followers() == []


def test_new_rows_are_refused_while_somebody_follows():
    model, recorder = make_model(), Recorder(5)
    model.follow(recorder)
    with pytest.raises(RuntimeError, match="a trainer follows these Gaussians"):
        model.create_from_pcd(torch.rand(3, 3), torch.rand(3, 3))


def test_points_added_must_follow_the_present_ones():
    model = make_model()
    grown = {name: torch.cat((value.detach(), value.detach()[:2] + 1)) for name, value in model.rows().items()}
    names = {"f_dc": "features_dc", "f_rest": "features_rest"}
    model.update_points_add(**{names.get(name, name): value for name, value in grown.items()})
    assert len(model) == 7
    with pytest.raises(ValueError, match="the first 7 rows of xyz must be the present Gaussians"):
        model.update_points_add(**{names.get(name, name): value + 1 for name, value in grown.items()})


def test_overwritten_values_are_reported_to_followers():
    model, recorder = make_model(), Recorder(5)
    model.follow(recorder)
    mask = torch.tensor([False, True, False, False, True])
    model.update_points_replace(opacity_mask=mask, opacity=torch.full((2, 1), -3.0))
    assert model._opacity[mask].tolist() == [[-3.0], [-3.0]]
    assert recorder.overwritten == [("opacity", mask.tolist())]
