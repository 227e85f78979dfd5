"""Times starts, each in a process of its own: imports, `--help`, and the first step with and without compiled kernels.

    python tools/bench_start.py [--threads 2] [--repeats 3] [--json]

`cold_s` is the first whole step (render, loss, backward, Adam on 200,000 Gaussians) where nothing has been compiled,
`warm_s` the same where the kernels lie in the cache; both begin after torch has been imported. Medians of wall times in
seconds; `cold_cpu_s` is processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

FIRST_STEP = """
import sys, time, torch
import bench_cpu, bench_scenes
scene = bench_scenes.load("synth200k")
wall, processor = time.perf_counter(), time.process_time()
from gaussian_splatting.rasterizer import cpu
cpu.set_num_threads(int(sys.argv[1]))
bench_cpu.step_of(scene)()
print(time.perf_counter() - wall, time.process_time() - processor)
"""


def run(*arguments: str, cache: str | None = None) -> tuple[float, str]:
    """Seconds that Python takes with these arguments, and what it prints."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tools")])
    environment = os.environ | {"PYTHONPATH": paths} | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done.stdout


def measure(threads: int) -> dict[str, float]:
    """All starts once."""
    row = {
        "import_torch_s": run("-c", "import torch")[0],
        "import_package_s": run("-c", "import torch, gaussian_splatting")[0],
        "help_s": run("-m", "gaussian_splatting.train", "--help")[0],
    }
    with tempfile.TemporaryDirectory() as cache:
        row["cold_s"], row["cold_cpu_s"] = map(float, run("-c", FIRST_STEP, str(threads), cache=cache)[1].split())
        row["warm_s"] = float(run("-c", FIRST_STEP, str(threads), cache=cache)[1].split()[0])
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    rows = [measure(options.threads) for _ in range(options.repeats)]
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    print(json.dumps(medians) if options.json else "  ".join(f"{name} {value:.2f}" for name, value in medians.items()))


if __name__ == "__main__":
    main()
