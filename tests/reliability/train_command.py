"""The train command on small scenes, and what it said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gaussian_splatting import train
from gaussian_splatting.io.ply import read_gaussians

STEPS = 3


def run(scene: Path, out: Path, *flags: str, steps: int = STEPS) -> int:
    words = ["-s", str(scene), "-d", str(out), "-i", str(steps), "--sh_degree", "0", "--quiet", "--threads", "1"]
    return train.main([*words, *flags])


class Command:
    """Runs the train command, and knows what it said."""

    def __init__(self, capsys: Any, out: Path) -> None:
        self.capsys, self.out = capsys, out

    def trained(self, scene: Path, *flags: str, steps: int = STEPS) -> str:
        """Everything that a run said which completed with a finite result."""
        status = run(scene, self.out, *flags, steps=steps)
        said = self.capsys.readouterr()
        assert status == 0, said.err
        assert f"completed {steps} steps" in said.out
        assert "Traceback" not in said.err
        gaussians = read_gaussians(self.out / f"point_cloud/iteration_{steps}/point_cloud.ply")
        for name, values in vars(gaussians).items():
            assert np.isfinite(values).all(), name
        return said.out + said.err

    def refused(self, scene: Path, *flags: str, steps: int = STEPS) -> str:
        """The one error of a run that was refused; nothing is claimed."""
        assert run(scene, self.out, *flags, steps=steps) == 2
        said = self.capsys.readouterr()
        assert "completed" not in said.out
        assert "Traceback" not in said.err
        assert said.err.count("error: ") == 1, said.err
        return said.err[said.err.index("error: ") :]
