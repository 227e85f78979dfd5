"""Exposure compensation: every view has an affine transform of its colours that is trained with the scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gaussian_splatting.geometry.schedules import exponential
from gaussian_splatting.options import Options, option
from gaussian_splatting.trainer.base import BaseTrainer
from gaussian_splatting.trainer.rates import HIGHEST, short_run_factor
from gaussian_splatting.trainer.state import State
from gaussian_splatting.trainer.view_parameters import held, view_parameter

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.dataset.dataset import CameraDataset

VIEWS_PER_FUNCTION = 8
"""So many views for each function of the direction, so that most of what their exposures can be stays free."""
SMALLEST_SPREAD = 0.05
"""Radians: directions that spread less over the views are taken for one."""


@dataclass(frozen=True, kw_only=True)
class ExposureOptions(Options):
    """How fast the exposure of every view is learnt."""

    lr_init: float = option(1e-3, "rate of the exposures at the start", name="camera_exposure_lr_init", maximum=HIGHEST)
    lr_final: float = option(1e-4, "rate of the exposures at the end", name="camera_exposure_lr_final", maximum=HIGHEST)
    lr_delay_mult: float = option(0.01, "kept for compatibility; has no effect", name="camera_exposure_lr_delay_mult")
    lr_max_steps: int = option(
        30_000, "step at which the rate of the exposures reaches its end",
        name="camera_exposure_lr_max_steps", minimum=1, moment=True,
    )  # fmt: skip
    length_power: float = option(
        0.4, "in short runs the rate is (30000 / length) to this power higher, at most 8 times; 0: as given",
        name="camera_exposure_length_power", maximum=2.0,
    )  # fmt: skip
    gauge_weight: float = option(
        10.0, "weight that keeps the exposures from what the colours of the scene can be, see Exposure",
        name="camera_exposure_gauge_weight",
    )  # fmt: skip
    prior_weight: float = option(
        0.1, "weight that keeps each exposure near the identity", name="camera_exposure_prior_weight"
    )


@dataclass
class ExposureGauge(State):
    """Functions over the views that exposures must not follow."""

    functions: Tensor = field(default_factory=lambda: torch.ones(1, 0))  # [K, C]


class Exposure(BaseTrainer):
    """Adds exposure compensation; the dataset must be a TrainableCameraDataset.

    A step changes the exposure of the view that it sees and no other. A brighter scene under darker exposures gives the
    same pictures; a term of the loss keeps the mean exposure at the identity, so that the scene without any exposure
    looks as it does in the pictures on average. Colours can also depend on the direction that they are seen from, and
    so the same holds for exposures that rise from one side of the scene to the other; see `gauge_functions`.
    """

    trains_cameras = True
    shardable = True
    exposure = ExposureOptions()
    exposure_gauge = ExposureGauge()

    def setup(self) -> None:
        """Optimise the exposures of the dataset."""
        super().setup()
        options = self.exposure
        names = "camera_exposure_lr_init, camera_exposure_lr_final"
        factor = short_run_factor(self.run_length.steps, options.length_power)
        rate = exponential(options.lr_init * factor, options.lr_final * factor, options.lr_max_steps, names=names)
        parameter = view_parameter(self.dataset, "exposures", "exposure compensation")
        self.add_parameter("exposures", parameter, rate, per_row=True)
        assert self.dataset is not None
        self.exposure_gauge.functions = gauge_functions(self.dataset, self.model.max_sh_degree > 0).to(parameter)

    def losses(self, out: dict[str, Any], camera: Camera) -> Iterator[tuple[str, Tensor]]:
        """The terms so far, and what the exposures have in common as this view can correct it."""
        yield from super().losses(out, camera)
        seen = camera.custom_data.get("index")
        if self.exposure.gauge_weight and seen is not None:
            exposures = held(self.optimizer.group("exposures")["params"][0], seen, camera.custom_data["exposures"])
            change = exposures - torch.eye(3, 4, device=exposures.device)
            drift = torch.einsum("kc,cij->kij", self.exposure_gauge.functions, change) / len(change)
            yield "exposure_gauge", 0.5 * self.exposure.gauge_weight * len(exposures) * (drift * drift).sum()
        if self.exposure.prior_weight and seen is not None:
            own = camera.custom_data["exposures"]
            change = own - torch.eye(3, 4, device=own.device)
            yield "exposure_prior", 0.5 * self.exposure.prior_weight * (change * change).sum()


@torch.no_grad()
def gauge_functions(dataset: CameraDataset, directional: bool) -> Tensor:
    """Functions [K, C] over C views, orthogonal and of mean square 1: the constant, and the direction of view.

    SH of degree one let every Gaussian be brighter from one side by a linear function of the direction. Exposures that
    follow such a function over the views make the same pictures, and held-out views, which have none, do not get it.
    Scenes of few views have the constant only, and so have models without SH (not `directional`).
    """
    cameras = [dataset.geometry(index) for index in range(len(dataset))]
    directions = torch.stack([camera.R[2] for camera in cameras]).double()  # [C, 3]
    constant = torch.ones_like(directions[:, :1])
    if not directional or len(cameras) < 3 * VIEWS_PER_FUNCTION:
        return constant.T.float()
    found, spread, _ = torch.linalg.svd(directions - directions.mean(dim=0), full_matrices=False)
    root = len(cameras) ** 0.5
    return torch.cat([constant, root * found[:, spread > SMALLEST_SPREAD * root]], dim=1).T.float().contiguous()
