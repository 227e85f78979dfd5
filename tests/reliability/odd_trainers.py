"""Trainers for `--trainer` of which one among several processes misbehaves."""

from __future__ import annotations

import os
from typing import Any

from gaussian_splatting.errors import TrainingError
from gaussian_splatting.trainer.base import BaseTrainer


class SecondFails(BaseTrainer):
    """The second process cannot go on at step 9."""

    def preprocess(self, camera: Any) -> Any:
        if self.curr_step == 9 and os.environ.get("RANK") == "1":
            raise TrainingError("step 9: the second process has had enough")
        return super().preprocess(camera)


class SecondDies(BaseTrainer):
    """The second process is gone at step 9."""

    def preprocess(self, camera: Any) -> Any:
        if self.curr_step == 9 and os.environ.get("RANK") == "1":
            os._exit(1)
        return super().preprocess(camera)


class ShardFails(BaseTrainer):
    """The second process cannot go on at step 9, whoever holds the Gaussians."""

    shardable = True

    def preprocess(self, camera: Any) -> Any:
        if self.curr_step == 9 and self.workers.rank == 1:
            raise TrainingError("step 9: the second process has had enough")
        return super().preprocess(camera)
