"""The folder of a run: where everything lies, what it holds, and how a new one starts."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
from pathlib import Path
from typing import Any

from gaussian_splatting.errors import FormatError, SplatError
from gaussian_splatting.io import storage
from gaussian_splatting.io.paths import entries_of
from gaussian_splatting.io.reader import read_content

_ITERATION = re.compile(r"iteration_(\d{1,12})")
_RENDERED = re.compile(r"ours_(\d{1,12})")


class RunFolder:
    """Paths and contents of a run folder. Nothing is made or read until asked for."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.cfg_args = self.path / "cfg_args"
        self.cameras = self.path / "cameras.json"
        self.settings_file = self.path / "settings.json"
        self.metrics = self.path / "metrics.jsonl"
        self.timing = self.path / "timing.jsonl"
        self.evaluations = self.path / "evaluations.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.progress = self.path / "progress"
        self.report = self.path / "report.html"

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        return f"RunFolder({os.fspath(self.path)!r})"

    # Splats

    def point_cloud(self, iteration: int) -> Path:
        """Where the splat of an iteration lies."""
        return self.path / "point_cloud" / f"iteration_{iteration}" / "point_cloud.ply"

    def progress_picture(self, step: int) -> Path:
        """Where the progress picture of a step lies."""
        return self.progress / f"step_{step:06d}.jpg"

    def progress_pictures(self) -> dict[int, Path]:
        """Step -> picture, in the order of the steps."""
        found = {int(path.stem[5:]): path for path in self.progress.glob("step_*.jpg") if path.stem[5:].isdecimal()}
        return dict(sorted(found.items()))

    def iterations(self) -> list[int]:
        """The iterations that hold a splat, ascending."""
        return sorted(
            int(match.group(1))
            for entry in entries_of(self.path / "point_cloud")
            if (match := _ITERATION.fullmatch(entry.name)) and (entry / "point_cloud.ply").is_file()
        )

    def newest_iteration(self) -> int:
        """The highest iteration that holds a splat. Raises SplatError when there is none, and says what there is."""
        found = self.iterations()
        if not found:
            raise SplatError(f"{self.path}: {self._why_no_splat()}")
        return found[-1]

    def resolve(self, iteration: int | None) -> int:
        """`iteration` if it holds a splat, the newest for None or -1. Raises SplatError listing those that exist."""
        if iteration is None or iteration == -1:
            return self.newest_iteration()
        found = self.iterations()
        if iteration not in found:
            what = f"the iterations {', '.join(map(str, found))}" if found else self._why_no_splat()
            raise SplatError(f"{self.path}: no splat of iteration {iteration}; found {what}")
        return iteration

    def _why_no_splat(self) -> str:
        if not self.path.is_dir():
            near = sorted(entry.name for entry in entries_of(self.path.parent) if (entry / "point_cloud").is_dir())
            return "there is no such folder" + (f"; runs beside it: {', '.join(near[:8])}" if near else "")
        names = sorted(entry.name for entry in entries_of(self.path))
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "nothing"
        return f"expected point_cloud/iteration_<N>/point_cloud.ply, found {shown}; -d takes the folder train wrote"

    # Settings and logs

    def settings(self) -> dict[str, Any]:
        """The settings of the run: `settings.json`, else the `cfg_args` of another trainer, else nothing."""
        if self.settings_file.is_file():
            value = read_json(self.settings_file)
            if not isinstance(value, dict):
                raise FormatError(f"{self.settings_file}: expected a JSON object, found {type(value).__name__}")
            return value
        return read_cfg_args(self.cfg_args) if self.cfg_args.is_file() else {}

    def write_settings(self, **settings: Any) -> None:
        """Write `settings.json` (with the versions and the machine) and `cfg_args`."""
        from gaussian_splatting.environment import machine, versions

        storage.write_json(self.settings_file, settings | {"versions": versions(), "machine": machine()})
        shown = argparse.Namespace(sh_degree=settings["sh_degree"], source_path=settings["source"])
        storage.write_text(self.cfg_args, str(shown))

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`, one per step and in their order; torn lines are left out."""
        return read_steps(self.metrics)

    def read_timing(self) -> list[dict[str, Any]]:
        """The lines of `timing.jsonl`, as `read_metrics`."""
        return read_steps(self.timing)

    def read_evaluations(self) -> list[dict[str, Any]]:
        """The lines of `evaluations.jsonl`, as `read_metrics`."""
        return read_steps(self.evaluations)

    # Rendered views

    def rendered(self, iteration: int) -> Path:
        """The folder of the views rendered at an iteration."""
        return self.path / f"ours_{iteration}"

    def rendered_folders(self) -> dict[int, Path]:
        """Iteration -> folder of rendered views, ascending; `test/ours_N` of other trainers counts too."""
        found: dict[int, Path] = {}
        for parent in (self.path / "train", self.path / "test", self.path):
            for entry in entries_of(parent):
                match = _RENDERED.fullmatch(entry.name)
                if match and (entry / "renders").is_dir():
                    found[int(match.group(1))] = entry
        return dict(sorted(found.items()))


def move_aside(path: Path) -> Path:
    """Rename a file or folder to `<name>.old-<k>` with the lowest free k, and give the new path."""
    path, number = Path(os.path.abspath(path)), 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    try:
        os.rename(path, aside)
    except OSError as error:
        raise SplatError(f"{path}: cannot be moved to {aside.name}: {error.strerror}; move it by hand") from error
    return aside


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises FormatError with the place of the fault."""
    from gaussian_splatting.dataset import strict_json

    return strict_json.read_json(path).value


def read_steps(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL log that have a `step`: the last line of each step, ascending. Torn lines are left out."""
    if not path.is_file():
        return []
    found: dict[int, dict[str, Any]] = {}
    for line in bytes(read_content(path)).splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            found[entry["step"]] = entry
    return [found[step] for step in sorted(found)]


def read_cfg_args(path: Path) -> dict[str, Any]:
    """The values of a `cfg_args` file, a printed Namespace: parsed, never evaluated."""
    text = bytes(read_content(path)).decode("utf-8", errors="replace").strip()
    try:
        call = ast.parse(text, mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Namespace"):
            raise ValueError("expected Namespace(...)")
        values = {item.arg: ast.literal_eval(item.value) for item in call.keywords if item.arg is not None}
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise FormatError(f"{path}: is not a printed Namespace ({error}); give the flags instead") from error
    if "source_path" in values:
        values["source"] = values["source_path"]
    return values
