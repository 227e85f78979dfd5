"""Scenes x recipes x seeds: held-out quality against training time and number of Gaussians, one table and one plot.

    python tools/compare_recipes.py --out out/recipes --threads 2 --seeds 0 1 2 \\
        --scene fox=../shared/data/fox_colmap --scene "lego=../shared/data/lego400_blender -w" \\
        --recipe "densify=--mode densify -i 2000" --recipe "fast=--preset fast"

A scene is a name, a folder and flags of `train`; a recipe is a name and flags of `train`. Without any, the demo
scene is compared under `densify -i 2000` and the presets. Every cell is one run of the command on its own, so that
times are those of users. The first recipe is the reference of the ratios. Stopped and called again, it goes on with
the cells that are missing; one that was cut short starts anew, since its time would be wrong. Results are in
`results.jsonl`, `table.md` and `plot.svg` in the folder. Call it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

Result = dict[str, Any]
DEMO = f"demo={shlex.quote(str(ROOT / 'assets' / 'demo'))}"
RECIPES = (
    "densify=--mode densify -i 2000",
    "fast=--preset fast",
    "default=--preset default",
    "best=--preset best",
)


@dataclass(frozen=True)
class Entry:
    """A scene or a recipe: a name and words of the command line."""

    name: str
    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Entry:
        """An argparse type: NAME=WORDS."""
        name, equals, rest = text.partition("=")
        words = tuple(shlex.split(rest))
        if not equals or not name or not words or not all(c.isalnum() or c in "._-" for c in name):
            raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=WORDS, the name of letters, digits, . _ and -")
        return cls(name, words)


@dataclass(frozen=True)
class Cell:
    """One run."""

    scene: Entry
    recipe: Entry
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from the others, in a result."""
        return self.scene.name, self.recipe.name, self.seed

    def folder(self, out: Path) -> Path:
        """Where the run is."""
        return out / f"{self.scene.name}-{self.recipe.name}-{self.seed}"

    def command(self, out: Path, threads: int) -> list[str]:
        """The words of the train command."""
        path, *flags = self.scene.words
        program = [sys.executable, "-m", "gaussian_splatting.train", "-s", path, "-d", str(self.folder(out))]
        common = ["--eval", "--quiet", "--overwrite", "--seed", str(self.seed), "--threads", str(threads)]
        return [*program, *common, *flags, *self.recipe.words]


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--out", required=True, type=Path, help="folder of runs and results")
    parser.add_argument("--scene", action="append", type=Entry.parse, metavar="NAME=PATH [FLAGS]")
    parser.add_argument("--recipe", action="append", type=Entry.parse, metavar="NAME=FLAGS")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="seeds (default 0)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of every run (default: all)")
    parser.add_argument("--table_only", action="store_true", help="run nothing; table and plot of what is there")
    return parser


def cells(arguments: argparse.Namespace) -> list[Cell]:
    """All runs; the recipes of one scene and seed follow each other, so that they meet the same machine."""
    scenes = arguments.scene or [Entry.parse(DEMO)]
    recipes = arguments.recipe or [Entry.parse(text) for text in RECIPES]
    for entries in (scenes, recipes):
        names = [entry.name for entry in entries]
        if len(set(names)) < len(names):
            raise SystemExit(f"two entries have one name: {', '.join(names)}")
    return [Cell(scene, recipe, seed) for seed, scene, recipe in product(arguments.seeds, scenes, recipes)]


def run_cell(cell: Cell, out: Path, threads: int) -> Result:
    """Train, measure, and say what it took. Raises SystemExit with the output when a command fails."""
    from gaussian_splatting.runs.folder import RunFolder

    command = cell.command(out, threads)
    load, before = os.getloadavg()[0], processor_seconds()
    called(command)
    spent = processor_seconds() - before
    measure = [sys.executable, "-m", "gaussian_splatting.evaluate", "-d", str(cell.folder(out)), "--json"]
    quality = json.loads(called([*measure, "--split", "test"]))[0]
    run = RunFolder(cell.folder(out))
    last = run.read_timing()[-1]
    scene, recipe, seed = cell.key
    return {
        "scene": scene, "recipe": recipe, "seed": seed, "psnr": quality["psnr"], "ssim": quality["ssim"],
        "lpips": quality.get("lpips"), "seconds": last["seconds"], "cpu_seconds": round(spent, 1),
        "gaussians": run.read_metrics()[-1]["num_gaussians"], "iterations": last["step"], "threads": threads,
        "load_before": round(load, 2), "command": shlex.join(command[1:]),
    }  # fmt: skip


def processor_seconds() -> float:
    """Processor time of the commands so far, all threads."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def called(command: list[str]) -> str:
    """What a command prints; SystemExit with its error when it fails."""
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}\nended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def stored(path: Path) -> Iterator[Result]:
    """The results of earlier calls; a torn last line is none."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    from recipe_table import plot, table

    from gaussian_splatting.io import storage

    arguments = build_parser().parse_args(argv)
    out, wanted = storage.make_folder(arguments.out), cells(arguments)
    log = out / "results.jsonl"
    found = {(one["scene"], one["recipe"], one["seed"]): one for one in stored(log)}
    missing = [] if arguments.table_only else [cell for cell in wanted if cell.key not in found]
    for number, cell in enumerate(missing, 1):
        result = found[cell.key] = run_cell(cell, out, arguments.threads)
        storage.append_line(log, json.dumps(result))
        shown = f"{result['psnr']:.2f} dB in {result['seconds']:.1f} s with {result['gaussians']} Gaussians"
        print(f"{number}/{len(missing)} {' '.join(map(str, cell.key))}: {shown}", flush=True)
        write(out, [found[cell.key] for cell in wanted if cell.key in found], table, plot)
    results = [found[cell.key] for cell in wanted if cell.key in found]
    if results:
        write(out, results, table, plot)
        print(table(results))
    return 0


def write(out: Path, results: list[Result], table: Any, plot: Any) -> None:
    """The table and the plot of what is there."""
    from gaussian_splatting.io import storage

    storage.write_text(out / "table.md", table(results) + "\n")
    storage.write_text(out / "plot.svg", plot(results))


if __name__ == "__main__":
    sys.exit(main())
