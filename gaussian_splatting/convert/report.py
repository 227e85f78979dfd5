"""`convert.json`: what a conversion was asked for, what it found, and how sure it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gaussian_splatting import environment
from gaussian_splatting.convert.judge import Judgement
from gaussian_splatting.convert.options import ConvertOptions
from gaussian_splatting.convert.photos import Intake
from gaussian_splatting.convert.work import Work
from gaussian_splatting.io import storage


def write_report(
    path: Path, source: Path, options: ConvertOptions, work: Work, intake: Intake, judgement: Judgement,
    facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write the report; names are those of the scene."""
    names = {picture.file: picture.name for picture in intake.pictures}
    report = {
        "source": os.path.abspath(source),
        "options": asdict(options),
        "photos": len(intake.pictures),
        "left_out": intake.left_out,
        "registered": sorted(names[file] for file in facts["registered"]),
        "without_pose": dict(judgement.dropped),
        "points": facts["points"],
        "reprojection_error_pixels": facts["error"],
        "mean_track_length": facts["track"],
        "median_angle_degrees": facts["angle"],
        "photos_per_model": facts["models"],
        "cameras": facts["cameras"],
        "doubts": [*judgement.doubts],
        "accepted_faults": [*judgement.faults],
        "seconds": work.seconds(),
        "versions": environment.versions() | {"pycolmap": environment.version_of("pycolmap")},
    }
    storage.write_json(path, report)
