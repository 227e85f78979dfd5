"""What depth maps are worth when views are few: `tools/compare_depth.py -d out` trains the demo scene from five views.

Held-out PSNR and depth error, median and range over the seeds, of the 3DGS recipe without depth maps, and with them
in the rescale modes `global` and `local`. The maps are the true ones, and the true ones times a factor that varies over
the picture (smooth, between about a half and two, another one in each view), as monocular networks err.

Training views are spread evenly over the order of the names, the held-out views are those of `--eval` (every 8th). The
start are the sparse points that at least two of the training views see. The depth error is the mean of |z - z*| / z*
over all pixels of the held-out views. `table.json` keeps every run; runs that it holds are not trained again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaussian_splatting.cli import commands
from gaussian_splatting.dataset.colmap.dataset import read_colmap_views
from gaussian_splatting.dataset.colmap.model import find_model, read_points
from gaussian_splatting.dataset.decode import read_depth
from gaussian_splatting.dataset.split import split_indices
from gaussian_splatting.dataset.view import View
from gaussian_splatting.errors import SceneError
from gaussian_splatting.io.storage import write_atomically, write_json

DEMO = Path(__file__).resolve().parents[1] / "assets" / "demo"
MODES = {"without": "nodepth-densify", "global": "densify", "local": "densify"}
GRID = (4, 5)
"""Knots of the factor that spoils a depth map, down and across."""
SPREAD = 0.4
"""Standard deviation of the logarithm of the factor at the knots."""
AGREEMENT = 0.02
"""A view sees a point that lies this close to its depth map, as a fraction of the depth."""


@dataclass(frozen=True)
class Job:
    """One training run."""

    source: Path
    destination: Path
    maps: str  # "true" or "spoiled"
    rescale: str  # a key of MODES
    seed: int
    steps: int
    num_views: int

    @property
    def name(self) -> str:
        """What the run is called in the table."""
        return f"{self.maps}/{self.rescale}/{self.seed}/{self.steps}/{self.num_views}"


@dataclass(frozen=True)
class Figures:
    """What a run is measured by on the held-out views."""

    psnr: float  # dB
    depth_error: float  # mean of |z - z*| / z*
    num_gaussians: int


def build_parser() -> argparse.ArgumentParser:
    """The parser."""
    parser = argparse.ArgumentParser(
        prog="python tools/compare_depth.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-s", "--source", type=Path, default=DEMO, help="the demo scene (default assets/demo)")
    parser.add_argument("-d", "--destination", type=Path, required=True, help="folder for spoiled maps and table.json")
    parser.add_argument("-i", "--iterations", type=int, default=2000, help="steps of each run (default 2000)")
    parser.add_argument("--views", type=int, default=5, help="number of training views (default 5)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (default 0 1 2)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default 1)")
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(run, build_parser(), argv)


def run(arguments: argparse.Namespace) -> None:
    """Everything the command does."""
    jobs = [
        Job(arguments.source, arguments.destination, maps, rescale, seed, arguments.iterations, arguments.views)
        for seed in arguments.seeds
        for maps, rescale in arms()
    ]
    spoil_depths(chosen_views(arguments.source, arguments.views)[0], arguments.destination)
    table = arguments.destination / "table.json"
    found: dict[str, dict[str, float]] = json.loads(table.read_text()) if table.is_file() else {}
    missing = [job for job in jobs if job.name not in found]
    with ProcessPoolExecutor(max(1, arguments.jobs), get_context("spawn")) as pool:
        for job, figures in zip(missing, pool.map(train, missing), strict=True):
            found[job.name] = asdict(figures)
            write_json(table, found)
            commands.say(f"{job.name}: {figures.psnr:.2f} dB, depth error {100 * figures.depth_error:.2f} %")
    commands.say(as_table(jobs, found))


def arms() -> list[tuple[str, str]]:
    """Which maps with which rescale mode; without depth there is one run for both maps."""
    return [("true", "without"), *((maps, mode) for maps in ("true", "spoiled") for mode in ("global", "local"))]


def chosen_views(source: Path, num_views: int) -> tuple[list[View], list[View]]:
    """The training and the held-out views, by name."""
    views = read_colmap_views(source)
    train, held_out = ([views[i] for i in split_indices([v.name for v in views], part)] for part in ("train", "test"))
    if not 2 <= num_views <= len(train):
        raise SceneError(f"{source}: {num_views} training views; give from 2 to {len(train)} with --views")
    if any(view.depth_path is None for view in views):
        raise SceneError(f"{source}: not every view has a depth map; use the demo scene")
    # In the middle of equal parts, so that the ends of the sweep are covered too.
    order = (np.arange(num_views) + 0.5) * len(train) / num_views
    return [train[index] for index in order.astype(int)], held_out


def spoil_depths(views: Sequence[View], destination: Path) -> None:
    """Writes the depth map of each view times its smooth factor."""
    from gaussian_splatting.rendering.picture_files import encode_tiff

    for number, view in enumerate(views):
        assert view.depth_path is not None
        depth = read_depth(view.depth_path)
        spoiled = depth * smooth_factor(depth.shape, number)
        write_atomically(spoiled_path(destination, view), encode_tiff(spoiled.astype(np.float32)))


def spoiled_path(destination: Path, view: View) -> Path:
    """Where the spoiled depth map of a view lies."""
    return destination / "spoiled_depths" / f"{Path(view.name).stem}.tiff"


def smooth_factor(shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    """A factor [H, W] around 1 that varies smoothly, the same for the same seed."""
    from scipy.ndimage import map_coordinates

    knots = SPREAD * np.random.default_rng(seed).standard_normal(GRID)
    axes = [np.linspace(0, count - 1, length) for count, length in zip(GRID, shape, strict=True)]
    return np.exp(map_coordinates(knots, np.meshgrid(*axes, indexing="ij"), order=3, mode="nearest"))


def train(job: Job) -> Figures:
    """Train one run and measure it."""
    import torch

    from gaussian_splatting.dataset.dataset import ViewDataset
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.prepare import prepare_trainer

    views, held_out = chosen_views(job.source, job.num_views)
    points, colors = seen_points(job.source, views, depth_scale(job.source))
    if job.maps == "spoiled":
        views = [replace(view, depth_path=spoiled_path(job.destination, view)) for view in views]
    cameras = ViewDataset(views)
    model = GaussianModel(3)
    model.create_from_pcd(torch.from_numpy(points).float(), torch.from_numpy(colors).float())
    options = {} if job.rescale == "without" else {"depth_rescale_mode": job.rescale}
    trainer = prepare_trainer(model, cameras, MODES[job.rescale], configs=options, iterations=job.steps, seed=job.seed)
    for _ in trainer.run(cameras, job.steps):
        pass
    return measured(model, ViewDataset(held_out), depth_scale(job.source))


def measured(model, held_out, scale: float) -> Figures:
    """The figures of a model on the held-out views, whose depth maps hold `scale` / depth."""
    import torch

    from gaussian_splatting.runs.results import picture_psnr

    qualities, errors = [], []
    with torch.no_grad():
        for camera in held_out:
            out = model(camera)
            qualities.append(picture_psnr(out["render"], camera))
            errors.append(float((out["depth"][0] * camera.ground_truth_depth / scale - 1).abs().mean()))
    return Figures(float(np.mean(qualities)), float(np.mean(errors)), len(model))


def depth_scale(source: Path) -> float:
    """The product of depth and the value of the depth maps."""
    return float(json.loads((source / "truth" / "truth.json").read_text())["depth"]["scale"])


def seen_points(source: Path, views: Sequence[View], scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sparse points [M, 3] with colours [M, 3] in [0, 1] that at least two of the views see."""
    points = read_points(find_model(source))
    if points is None:
        raise SceneError(f"{source}: no sparse points; use the demo scene")
    count = np.zeros(len(points.xyz), dtype=int)
    for view in views:
        assert view.depth_path is not None
        local = points.xyz @ view.R.T + view.T
        column = np.floor(view.fx * local[:, 0] / local[:, 2] + view.cx).astype(int)
        row = np.floor(view.fy * local[:, 1] / local[:, 2] + view.cy).astype(int)
        inside = (local[:, 2] > 0) & (column >= 0) & (row >= 0) & (column < view.width) & (row < view.height)
        surface = scale / read_depth(view.depth_path)[row[inside], column[inside]]
        count[inside] += np.abs(local[inside, 2] - surface) < AGREEMENT * surface
    seen = count >= 2
    return points.xyz[seen], points.rgb[seen] / 255.0


def as_table(jobs: Sequence[Job], found: dict[str, dict[str, float]]) -> str:
    """The medians over the seeds, least and most in brackets, in Markdown."""
    lines = ["| depth maps | rescale mode | held-out PSNR | depth error | Gaussians |", "|---|---|---|---|---|"]
    for maps, rescale in arms():
        runs = [found[job.name] for job in jobs if (job.maps, job.rescale) == (maps, rescale)]
        psnr, error = ([entry[key] for entry in runs] for key in ("psnr", "depth_error"))
        number = np.median([entry["num_gaussians"] for entry in runs])
        which = ("none", "none used") if rescale == "without" else (maps, rescale)
        lines.append(
            f"| {which[0]} | {which[1]} | {np.median(psnr):.2f} dB ({min(psnr):.2f} to {max(psnr):.2f}) | "
            f"{100 * np.median(error):.2f} % ({100 * min(error):.2f} to {100 * max(error):.2f}) | {number:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
