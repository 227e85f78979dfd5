"""What a run writes down about a step: on a card it is fetched while the next steps run, so that nobody waits."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gaussian_splatting.io import storage
from gaussian_splatting.losses.metrics import psnr
from gaussian_splatting.rendering.quality import BEST_PSNR
from gaussian_splatting.trainer.checks import finite_parameters

if TYPE_CHECKING:
    from gaussian_splatting.runs.folder import RunFolder
    from gaussian_splatting.trainer.base import BaseTrainer


class MetricsLog:
    """Writes `metrics.jsonl` and `timing.jsonl` of a run folder. With `delayed`, lines are written a note later."""

    def __init__(self, folder: RunFolder, trainer: BaseTrainer) -> None:
        self.folder, self.trainer = folder, trainer
        self.delayed = trainer.model.get_xyz.is_cuda
        self._waiting: Reading | None = None
        self._shown = ""

    @torch.no_grad()
    def note(self, step: int, seconds: float, loss: Tensor, out: dict[str, Any]) -> str:
        """Write down a step, or what waits while this one takes its place; a short form of what was written last.

        Raises TrainingError when a parameter was not finite.
        """
        if not self.delayed:
            finite_parameters(self.trainer.optimizer, step)
        reading = Reading(self.trainer, step, seconds, loss, out, with_sums=self.delayed)
        self.settle()
        self._waiting = reading
        if not self.delayed:
            self.settle()
        return self._shown

    def settle(self) -> None:
        """Write what waits; before anything is saved, so that logs are never behind a checkpoint."""
        reading, self._waiting = self._waiting, None
        if reading is None:
            return
        entry, sums = reading.arrived()
        if not all(map(math.isfinite, sums)):
            finite_parameters(self.trainer.optimizer, reading.step)
        storage.append_line(self.folder.metrics, json.dumps(entry))
        rate = reading.step / max(reading.seconds, 1e-9)
        timing = {
            "step": reading.step, "seconds": round(reading.seconds, 3), "iterations_per_second": round(rate, 3),
        }  # fmt: skip
        storage.append_line(self.folder.timing, json.dumps(timing))
        shown = "-" if entry["psnr"] is None else f"{entry['psnr']:.2f}"
        self._shown = f"loss {entry['loss']:.4f}, PSNR {shown}, N {entry['num_gaussians']}"


class Reading:
    """The figures of one step, in one piece on their way to the processor."""

    def __init__(
        self, trainer: BaseTrainer, step: int, seconds: float, loss: Tensor, out: dict[str, Any], *, with_sums: bool
    ) -> None:
        self.step, self.seconds, self.num = step, seconds, trainer.workers.count(trainer.model)
        camera, terms = out["camera"], sorted(out["losses"].items())
        self._names, self._has_picture = [name for name, _ in terms], camera.ground_truth_image is not None
        figures = [loss, *(value for _, value in terms)]
        if self._has_picture:
            figures.append(psnr(out["render"], camera.ground_truth_image, camera.ground_truth_image_mask))
        if with_sums:
            figures += [group["params"][0].detach().sum() for group in trainer.optimizer.param_groups]
        values = torch.stack([figure.detach().double().reshape(()) for figure in figures])
        self._values = values.to("cpu", non_blocking=True)
        self._event = torch.cuda.Event() if values.is_cuda else None
        if self._event is not None:
            self._event.record()

    def arrived(self) -> tuple[dict[str, Any], list[float]]:
        """The line of `metrics.jsonl`, and the sums of the parameters, which tell whether all are finite."""
        if self._event is not None:
            self._event.synchronize()
        loss, *values = self._values.tolist()
        terms = dict(zip(self._names, values, strict=False))
        del values[: len(terms)]
        quality = values.pop(0) if self._has_picture else math.nan
        entry = {
            "step": self.step, "loss": loss, "losses": terms,
            # A mask that keeps nothing leaves no figure.
            "psnr": None if math.isnan(quality) else min(BEST_PSNR, quality), "num_gaussians": self.num,
        }  # fmt: skip
        return entry, values
