"""Rendering for looking: a model with a crop box, another background and another look than it was trained for."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import torch

from gaussian_splatting.camera import Camera
from gaussian_splatting.gaussian_model import GaussianModel
from gaussian_splatting.gaussian_rows import ATTRIBUTES
from gaussian_splatting.rendering.looks import Look, Range, depth_range, picture_of
from gaussian_splatting.rendering.picture_files import Bytes

Corner = tuple[float, float, float]
KEPT = 6
FEW = 50_000
"""Fewer Gaussians than this are always all drawn."""


@dataclass(frozen=True)
class Box:
    """A box along the axes of the world: Gaussians whose centres lie outside are not shown."""

    low: Corner
    high: Corner


@dataclass(frozen=True)
class Settings:
    """How a client looks at the scene."""

    look: Look = "color"
    background: Corner = (0.0, 0.0, 0.0)
    size: float = 1.0
    """Factor on the scales of all Gaussians."""
    crop: Box | None = None
    antialiased: bool | None = None
    """None: as it was trained."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A rendered picture."""

    pixels: Bytes  # [H, W, 3]
    seconds: float
    num_gaussians: int
    depths: Range | None


class Stage:
    """Renders models, and remembers the parts of them that it rendered last. Any number of threads may use it."""

    def __init__(self) -> None:
        self._parts: list[tuple[GaussianModel, Box | float, GaussianModel]] = []
        self._lock = threading.Lock()

    @torch.no_grad()
    def render(
        self, model: GaussianModel, camera: Camera, settings: Settings, depths: Range | None = None, *, part: float = 1
    ) -> Picture:
        """One view. With the look "depth", `depths` is the range of the picture before, which the new one follows.

        `part` of the Gaussians are drawn, those that cover most.
        """
        started = time.perf_counter()
        shown = self.shown(model, settings, part)
        out = shown(camera)
        if settings.look == "depth":
            depths = _followed(depths, depth_range([out["invdepth"][0].float().cpu().numpy()]))
        pixels = picture_of(out, camera, settings.look, depths)
        return Picture(pixels, time.perf_counter() - started, len(shown), depths)

    def shown(self, model: GaussianModel, settings: Settings, part: float = 1) -> GaussianModel:
        """A model that shares the values of `model`, or those of them in the box, and renders as the settings say."""
        left = model if settings.crop is None else self._part(model, settings.crop)
        view = same_values(left if part >= 1 or len(left) < FEW else self._part(left, part))
        view.scale_modifier = settings.size
        if settings.antialiased is not None:
            view.antialiasing = settings.antialiased
        return view

    def _part(self, model: GaussianModel, which: Box | float) -> GaussianModel:
        """The Gaussians in a box, or the share of them that cover most."""
        with self._lock:
            for known, known_which, part in self._parts:
                if known is model and known_which == which:
                    return part
        kept = _inside(model, which) if isinstance(which, Box) else _covering(model, which)
        part = same_values(model, {name: getattr(model, ATTRIBUTES[name])[kept] for name in ATTRIBUTES})
        with self._lock:
            self._parts = [*self._parts[-(KEPT - 1) :], (model, which, part)]
        return part


def _inside(model: GaussianModel, box: Box) -> torch.Tensor:
    low, high = (torch.tensor(corner, device=model.get_xyz.device) for corner in (box.low, box.high))
    return ((model.get_xyz >= low) & (model.get_xyz <= high)).all(dim=1)


def _covering(model: GaussianModel, part: float) -> torch.Tensor:
    """The rows that cover most: opacity times the area that a Gaussian shows from its broad side."""
    scaling = model._scaling
    area = scaling.sum(dim=1) - scaling.amin(dim=1)  # logarithms
    weight = area + torch.nn.functional.logsigmoid(model._opacity[:, 0])
    rows = weight.topk(max(1, round(part * len(model))), sorted=False).indices
    return rows.sort().values


def same_values(model: GaussianModel, rows: dict[str, torch.Tensor] | None = None) -> GaussianModel:
    """Another model over the same values (no copy), or over other `rows` of them."""
    twin = type(model)(model.max_sh_degree, backend=model.backend)
    values = {name: getattr(model, ATTRIBUTES[name]) for name in ATTRIBUTES} if rows is None else rows
    twin.set_rows({name: tensor.detach() for name, tensor in values.items()})
    twin.active_sh_degree, twin.antialiasing = model.active_sh_degree, model.antialiasing
    twin.packed, twin.radius_clip = model.packed, model.radius_clip
    return twin


def _followed(before: Range | None, now: Range) -> Range:
    """The range of depths moves slowly, so that a film does not flicker."""
    if before is None:
        return now
    return before[0] + 0.2 * (now[0] - before[0]), before[1] + 0.2 * (now[1] - before[1])


def bounds(model: GaussianModel) -> Box:
    """The box that holds all Gaussians but the outermost 0.5 % along each axis."""
    xyz = model.get_xyz.detach().cpu().numpy()
    low, high = np.percentile(xyz, (0.5, 99.5), axis=0)
    return Box(_corner(low), _corner(high))


def _corner(values: np.ndarray) -> Corner:
    first, second, third = (round(float(value), 4) for value in values)
    return first, second, third
