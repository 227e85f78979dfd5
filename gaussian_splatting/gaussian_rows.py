"""The rows of a model: N Gaussians as six parameters, and the one door through which N changes.

A change of N moves the parameters together with everything that follows them row by row (moments, statistics).
It is prepared completely before anything is put in place, so that a failure on the way leaves all of them as they were.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

ATTRIBUTES = {
    "xyz": "_xyz",
    "f_dc": "_features_dc",
    "f_rest": "_features_rest",
    "opacity": "_opacity",
    "scaling": "_scaling",
    "rotation": "_rotation",
}
"""Optimiser group name -> attribute of the model, in the order of the optimiser's groups."""

Commit = Callable[[Mapping[str, nn.Parameter]], None]


def rows_moved(old: Tensor, parents: Tensor, fresh: Tensor) -> Tensor:
    """The rows of `old` at `parents` [M], zero where `fresh` [M] bool: one new tensor, and no wait for a card."""
    new = old.index_select(0, parents)
    return new.masked_fill_(fresh.view(-1, *(1,) * (new.ndim - 1)), 0)


class RowFollower(Protocol):
    """Something with values per Gaussian (an optimiser, statistics) that must follow when rows move."""

    def prepare_rows(self, parents: Tensor, fresh: Tensor) -> Commit:
        """Compute the new values without changing anything; the returned function puts them in place."""
        ...

    def rows_overwritten(self, name: str, rows: Tensor) -> None:
        """Values of parameter `name` were overwritten at `rows` [N] bool."""
        ...


class GaussianRows(nn.Module):
    """Six parameters with one row per Gaussian."""

    _xyz: nn.Parameter
    _features_dc: nn.Parameter
    _features_rest: nn.Parameter
    _opacity: nn.Parameter
    _scaling: nn.Parameter
    _rotation: nn.Parameter

    def __init__(self, sh_degree: int) -> None:
        super().__init__()
        if not 0 <= sh_degree <= 4:
            raise ValueError(f"sh_degree is {sh_degree}; it must be between 0 and 4")
        self.max_sh_degree = sh_degree
        self._row_followers: list[weakref.ref[RowFollower]] = []
        self.set_rows({name: torch.empty((0, *shape)) for name, shape in self.row_shapes().items()})

    def __len__(self) -> int:
        return self._xyz.shape[0]

    def row_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one row of every parameter."""
        rest = (self.max_sh_degree + 1) ** 2 - 1
        return {"xyz": (3,), "f_dc": (1, 3), "f_rest": (rest, 3), "opacity": (1,), "scaling": (3,), "rotation": (4,)}

    def rows(self) -> dict[str, nn.Parameter]:
        """The six parameters by optimiser group name."""
        return {name: getattr(self, attribute) for name, attribute in ATTRIBUTES.items()}

    def set_rows(self, values: Mapping[str, Tensor]) -> None:
        """Put in a whole new set of Gaussians. Refused while an optimiser or statistics follow the old ones."""
        if self.followers():
            raise RuntimeError(
                "a trainer follows these Gaussians; make the trainer after loading, or use change_rows()"
            )
        self.adopt_rows(values)

    def adopt_rows(self, values: Mapping[str, Tensor]) -> dict[str, nn.Parameter]:
        """Make parameters of `values` and give them back; whoever follows the rows must take them over at once."""
        shapes, num = self.row_shapes(), values["xyz"].shape[0]
        for name in ATTRIBUTES:
            assert values[name].shape == (num, *shapes[name]), f"{name} is {tuple(values[name].shape)}"
        parameters = {name: nn.Parameter(values[name].detach().contiguous()) for name in ATTRIBUTES}
        for name, attribute in ATTRIBUTES.items():
            setattr(self, attribute, parameters[name])
        return parameters

    def follow(self, follower: RowFollower) -> None:
        """Keep `follower` in step with every change of N for as long as it lives."""
        self._row_followers.append(weakref.ref(follower))

    def followers(self) -> list[RowFollower]:
        """Everything that follows the rows at present."""
        alive = [(reference, reference()) for reference in self._row_followers]
        self._row_followers = [reference for reference, follower in alive if follower is not None]
        return [follower for _, follower in alive if follower is not None]

    @torch.no_grad()
    def change_rows(self, parents: Tensor, fresh: Tensor, values: Mapping[str, Tensor] | None = None) -> None:
        """Make row j a copy of the old row `parents[j]` [M] int64: the only way in which N changes.

        Rows marked in `fresh` [M] bool are new Gaussians: followers start them at zero, and `values[name]`
        [fresh count, ...] replaces what they would have copied. Gradients are dropped.
        """
        values, parameters = values or {}, {}
        parents, fresh = parents.to(self._xyz.device), fresh.to(self._xyz.device)
        born = fresh.nonzero()[:, 0] if values else fresh
        for name, old in self.rows().items():
            new = old.detach().index_select(0, parents)
            if name in values:
                new.index_copy_(0, born, values[name].to(new.dtype))
            parameters[name] = nn.Parameter(new.requires_grad_(old.requires_grad))
        commits = [follower.prepare_rows(parents, fresh) for follower in self.followers()]
        for name, attribute in ATTRIBUTES.items():
            setattr(self, attribute, parameters[name])
        for commit in commits:
            commit(parameters)

    @torch.no_grad()
    def overwrite_rows(self, name: str, rows: Tensor, values: Tensor) -> None:
        """Set parameter `name` at `rows` [N] bool to `values`; its optimiser moments start again there."""
        getattr(self, ATTRIBUTES[name]).data[rows] = values
        for follower in self.followers():
            follower.rows_overwritten(name, rows)

    # The names that users of the packaged 3DGS know

    def update_points_add(
        self,
        xyz: Tensor,
        features_dc: Tensor,
        features_rest: Tensor,
        scaling: Tensor,
        rotation: Tensor,
        opacity: Tensor,
    ) -> None:
        """Append Gaussians. Every argument holds the old rows, unchanged, followed by the new ones (raw values)."""
        given = {"xyz": xyz, "f_dc": features_dc, "f_rest": features_rest}
        given |= {"opacity": opacity, "scaling": scaling, "rotation": rotation}
        num, total = len(self), xyz.shape[0]
        for name, old in self.rows().items():
            if given[name].shape[0] != total or not torch.equal(given[name][:num], old):
                raise ValueError(f"update_points_add: the first {num} rows of {name} must be the present Gaussians")
        parents = torch.cat((torch.arange(num), torch.zeros(total - num, dtype=torch.long))).to(xyz.device)
        fresh = torch.arange(total, device=xyz.device) >= num
        self.change_rows(parents, fresh, {name: value[num:] for name, value in given.items()})

    def update_points_remove(self, removed_mask: Tensor) -> None:
        """Drop the Gaussians marked in `removed_mask` [N] bool."""
        parents = (~removed_mask).nonzero()[:, 0]
        self.change_rows(parents, torch.zeros_like(parents, dtype=torch.bool))

    def update_points_replace(self, **masks_and_values: Tensor) -> None:
        """Overwrite raw values: `xyz_mask=[N] bool, xyz=[count, 3]`, and the same for the other five parameters."""
        names = {"features_dc": "f_dc", "features_rest": "f_rest"}
        for key, value in masks_and_values.items():
            if not key.endswith("_mask"):
                self.overwrite_rows(names.get(key, key), masks_and_values[f"{key}_mask"], value)
