"""How fast every splat format is written and read, and how large its files are: `python tools/bench_formats.py`.

The Gaussians are made up, with the spreads of trained ones and SH degree 3, or those of `--splat FILE`, repeated with
small changes. Every figure is the best of `--rounds`: seconds on the clock and, in brackets, of the processor, which
other programs on the machine disturb less. `--markdown` prints the table of docs/formats.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gaussian_splatting.io.formats import read_splats, write_splats
from gaussian_splatting.io.gaussian_arrays import FIELDS, GaussianArrays, with_sh_degree

NAMES = ("a.ply", "a.compressed.ply", "a.splat", "a.spz", "a.sog", "a.glb")


class Times(NamedTuple):
    """Seconds on the clock and of the processor."""

    clock: float
    processor: float


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=1_000_000, help="Gaussians (default a million)")
    parser.add_argument("--sh_degree", type=int, default=3, choices=range(4), help="SH degree (default 3)")
    parser.add_argument("--splat", type=Path, help="Gaussians of this file instead of made-up ones")
    parser.add_argument("--rounds", type=int, default=3, help="the best of this many is printed (default 3)")
    parser.add_argument("--formats", nargs="+", default=NAMES, help="names of files that tell the formats")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args()
    gaussians = repeated(arguments.splat, arguments.num) if arguments.splat else made_up(arguments.num)
    gaussians = with_sh_degree(gaussians, arguments.sh_degree)
    print(f"{len(gaussians)} Gaussians, SH degree {gaussians.sh_degree}; times are clock (processor)")
    if arguments.markdown:
        print("| format | bytes per Gaussian | written, s | thousands per s | read, s | thousands per s |")
        print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.formats:
            print(line(name, Path(folder, name), gaussians, arguments.rounds, arguments.markdown), flush=True)


def line(name: str, path: Path, gaussians: GaussianArrays, rounds: int, markdown: bool) -> str:
    """Measure one format; its line of the table."""
    written = best(lambda: write_splats(path, gaussians), rounds)
    read = best(lambda: read_splats(path), rounds)
    number, size = len(gaussians), path.stat().st_size / len(gaussians)
    parts = [f"{name.partition('.')[2]:<14}", f"{size:6.1f}"]
    for times in (written, read):
        parts += [f"{times.clock:6.2f} ({times.processor:.2f})", f"{number / times.clock / 1000:6.0f}"]
    return f"| .{' | '.join(part.strip() for part in parts)} |" if markdown else "  ".join(parts)


def best(work: Callable[[], object], rounds: int) -> Times:
    """The shortest times of some rounds."""
    found = []
    for _ in range(rounds):
        clock, processor = time.perf_counter(), time.process_time()
        work()
        found.append(Times(time.perf_counter() - clock, time.process_time() - processor))
    return Times(min(times.clock for times in found), min(times.processor for times in found))


def made_up(number: int) -> GaussianArrays:
    """Gaussians with the spreads of a trained scene: most coefficients are near 0."""
    random = np.random.default_rng(0)
    shrinking = np.repeat(np.array([0.06, 0.04, 0.03]), (3, 5, 7))[:, None]
    return GaussianArrays(
        random.normal(0, 2, (number, 3)).astype(np.float32),
        random.normal(0, 0.8, (number, 1, 3)).astype(np.float32),
        random.laplace(0, shrinking, (number, 15, 3)).astype(np.float32),
        random.normal(0, 3, (number, 1)).astype(np.float32),
        random.normal(-5, 1, (number, 3)).astype(np.float32),
        random.normal(0, 1, (number, 4)).astype(np.float32),
    )


def repeated(path: Path, number: int) -> GaussianArrays:
    """The Gaussians of a file, as often as needed, each time with values changed by a twentieth of their spread."""
    gaussians = read_splats(path).gaussians
    random = np.random.default_rng(0)
    copies = []
    for name in FIELDS:
        values = getattr(gaussians, name)[np.arange(number) % len(gaussians)]
        noise = random.normal(0, 0.05, values.shape) * values.std(axis=0)
        noise[: len(gaussians)] = 0
        copies.append((values + noise).astype(np.float32))
    return GaussianArrays(*copies)


if __name__ == "__main__":
    main()
