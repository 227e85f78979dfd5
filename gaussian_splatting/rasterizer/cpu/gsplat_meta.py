"""The `meta` dictionary of gsplat's `rasterization`, from rendered views."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaussian_splatting.rasterizer.cpu import layout
from gaussian_splatting.rasterizer.cpu.frame import Frame
from gaussian_splatting.rasterizer.cpu.function import Rendering


def describe(views: list[Rendering], *, packed: bool, absgrad: bool) -> dict[str, Any]:
    """What gsplat reports of each Gaussian and view: [C, N, ...] with zeros where not visible, or packed [nnz, ...].

    `places` says which part of `means2d` belongs to each view.
    """
    slots = [visible_slots(view) for view in views]
    ids = [visible_ids(view, slot) for view, slot in zip(views, slots, strict=True)]
    fields = [projected_fields(view, slot) for view, slot in zip(views, slots, strict=True)]
    wants_gradient = any(view.wants_gradient for view in views)
    meta: dict[str, Any] = {"batch_ids": None, "camera_ids": None, "gaussian_ids": None}
    if packed:
        meta["camera_ids"] = torch.cat([torch.full_like(own, number) for number, own in enumerate(ids)])
        meta["gaussian_ids"], meta["batch_ids"] = torch.cat(ids), torch.zeros_like(meta["camera_ids"])
        meta["radii"] = torch.cat([view.radii[own] for view, own in zip(views, ids, strict=True)])
        means2d = torch.cat([view.means2d[own] for view, own in zip(views, ids, strict=True)])
        meta |= {name: torch.cat([field[name] for field in fields]) for name in fields[0]}
        ends = np.cumsum([0, *(own.numel() for own in ids)]).tolist()
        meta["places"] = [slice(start, end) for start, end in pairwise(ends)]
        for view, own in zip(views, ids, strict=True):
            view.visible = own
    else:
        meta["radii"] = torch.stack([view.radii for view in views])
        means2d = torch.stack([view.means2d for view in views])
        num = views[0].means2d.shape[0]
        for name in fields[0]:
            own = [_spread(field[name], index, num) for field, index in zip(fields, ids, strict=True)]
            meta[name] = torch.stack(own)
        meta["places"] = list(range(len(views)))
    meta["means2d"] = means2d.requires_grad_(wants_gradient)
    if absgrad and wants_gradient:
        means2d.absgrad = torch.zeros_like(means2d)  # pyright: ignore[reportAttributeAccessIssue]
        for view, place in zip(views, meta["places"], strict=True):
            view.absolute = means2d.absgrad[place]  # pyright: ignore[reportAttributeAccessIssue]
    return meta


def frame_of(view: Rendering) -> Frame:
    """The frame of a rendering that has one."""
    assert view.frame is not None
    return view.frame


def visible_slots(view: Rendering) -> np.ndarray:
    """Slots of the visible Gaussians, by increasing index."""
    counts = frame_of(view).projection.counts
    inside = np.arange(layout.PROJECT_CHUNK)[None] < counts[:, None]
    return np.flatnonzero(inside.ravel())


def visible_ids(view: Rendering, slots: np.ndarray) -> Tensor:
    """Indices [M] of the visible Gaussians."""
    return torch.from_numpy(frame_of(view).projection.ids[slots]).long()


def projected_fields(view: Rendering, slots: np.ndarray) -> dict[str, Tensor]:
    """Depths [M], inverse screen covariances [M, 3] and opacities [M] of the visible Gaussians."""
    records = torch.from_numpy(frame_of(view).projection.records).view(-1, layout.LANES)[torch.from_numpy(slots)]
    conics = records[:, layout.CONIC_XX : layout.CONIC_YY + 1] * torch.tensor([2.0, 1.0, 2.0]) * layout.LN_2
    return {
        "depths": records[:, layout.DEPTH].clone(),
        "conics": conics,
        "opacities": records[:, layout.LOG_OPACITY].exp2(),
    }


def _spread(values: Tensor, index: Tensor, num: int) -> Tensor:
    result = values.new_zeros(num, *values.shape[1:])
    result[index] = values
    return result
