"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from gaussian_splatting.runs.folder import RunFolder

__all__ = ["write_report"]


def write_report(run_folder: RunFolder | str | os.PathLike[str]) -> Path:
    """Write `report.html` from whatever a run folder holds, and give its path. Missing parts are left out."""
    from gaussian_splatting.report.page import write_report as write

    return write(run_folder)
