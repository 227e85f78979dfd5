"""What the files of a run say, as short texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from gaussian_splatting.errors import SplatError
from gaussian_splatting.rasterizer import resolve_backend
from gaussian_splatting.runs.folder import RunFolder, read_json

Entry = Mapping[str, Any]


def column(entries: Iterable[Entry], name: str) -> list[tuple[float, float]]:
    """(step, value) of the entries whose `name` is a finite number."""
    found = []
    for entry in entries:
        value = entry.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            found.append((float(entry["step"]), float(value)))
    return found


def elapsed(timing: Sequence[Entry]) -> float | None:
    """Seconds of training in total; a resumed run starts its clock anew, so the parts are added."""
    total, last = 0.0, 0.0
    seconds = [value for _, value in column(timing, "seconds")]
    for value in seconds:
        if value < last:
            total += last
        last = value
    return total + last if seconds else None


def rates(timing: Sequence[Entry]) -> list[tuple[float, float]]:
    """(step, steps per second since the entry before); what was logged as such where the clock does not tell."""
    clock = column(timing, "seconds")
    found = [
        (step, (step - before) / (seconds - earlier))
        for (before, earlier), (step, seconds) in pairwise([(0.0, 0.0), *clock])
        if seconds > earlier
    ]
    return found or column(timing, "iterations_per_second")


def backend(settings: Mapping[str, Any]) -> str:
    """The backend and the device of a run, with "auto" resolved."""
    name, device = str(settings["backend"]), str(settings.get("device") or "cpu")
    resolved = resolve_backend("auto", device) if name == "auto" else name
    return resolved if device in (resolved, "None") else f"{resolved} on {device}"


def duration(seconds: float) -> str:
    """A time span for people: 42.3 s, 12:07 min, 3:04:11 h."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    text = str(timedelta(seconds=round(seconds)))
    return f"{text} h" if seconds >= 3600 else f"{text[2:].lstrip('0')} min"


def file_size(path: Path) -> str | None:
    """The size of a file for people; None when there is no such file."""
    if not path.is_file():
        return None
    size = float(path.stat().st_size)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def results(folder: RunFolder) -> tuple[int, Path, dict[str, Any]] | None:
    """The newest rendered views: their iteration, folder and results (empty where they have none)."""
    rendered = folder.rendered_folders()
    if not rendered:
        return None
    iteration = max(rendered)
    try:
        found = read_json(rendered[iteration] / "results.json")
    except SplatError:
        found = {}
    return iteration, rendered[iteration], found if isinstance(found, dict) else {}


def settings(folder: RunFolder) -> dict[str, Any]:
    """The settings of the run; nothing where they cannot be read."""
    try:
        return folder.settings()
    except SplatError:
        return {}


def rows(values: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """(label, text) of the values that are there, in the order of `names` (key -> label)."""
    return [(label, shown(values[key])) for key, label in names.items() if values.get(key) is not None]


def shown(value: Any) -> str:
    """A value of the settings as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(item) for item in value)
    return str(value)
