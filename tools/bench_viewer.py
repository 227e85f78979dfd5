"""Frame times of the viewer, as browsers see them: moving cameras over real websockets, then the full picture.

python tools/bench_viewer.py RUN_OR_SPLAT --clients 1 20 --size 1280x720
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "viewer"))

from browser import FakeBrowser, wait_until

from gaussian_splatting.rasterizer.cpu.threads import set_num_threads
from gaussian_splatting.viewer.scenes import open_scene
from gaussian_splatting.viewer.server import Viewer


def main() -> None:
    """Print one line for every number of clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    set_num_threads(arguments.threads)
    width, height = map(int, arguments.size.split("x"))
    with Viewer(open_scene(arguments.scene, "cpu", "cpu"), port=0) as viewer:
        print(f"{viewer.scene.name}: {len(viewer.scene.model(None))} Gaussians, window {width}x{height}")
        for count in arguments.clients:
            measure(viewer, count, width, height, arguments.seconds)


def measure(viewer: Viewer, count: int, width: int, height: int, seconds: float) -> None:
    """Move `count` cameras for some seconds, 60 times a second each."""
    browsers = [FakeBrowser(viewer.server.get_port(), width, height) for _ in range(count)]
    for browser in browsers:
        browser.picture()
    time.sleep(2.0)
    starts = [len(browser.picture_times) for browser in browsers]
    threads = [threading.Thread(target=move, args=(browser, seconds)) for browser in browsers]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 2)
    sizes = [session.last_size for session in viewer.sessions.values()]
    for thread in threads:
        thread.join()
    stopped = time.monotonic()
    frames = [len(browser.picture_times) - start for browser, start in zip(browsers, starts, strict=True)]
    gaps = np.concatenate([np.diff(b.picture_times[start:]) for b, start in zip(browsers, starts, strict=True)])
    wait_until(lambda: all(full(browser, width, height) for browser in browsers), "full pictures")
    settled = time.monotonic() - stopped
    rates = np.array(frames) / seconds
    print(
        f"{count:3d} clients: {np.median(rates):5.1f} frames/s each (least {rates.min():.1f}), "
        f"{rates.sum():.1f} in all; "
        f"between frames {np.median(gaps) * 1e3:.0f} ms, 95 %: {np.percentile(gaps, 95) * 1e3:.0f} ms; "
        f"picture while moving {sizes[0][0]}x{sizes[0][1]}; all full {settled:.2f} s after the stop"
    )
    for browser in browsers:
        browser.__exit__()
    wait_until(lambda: viewer.num_clients() == 0, "the end")


def move(browser: FakeBrowser, seconds: float) -> None:
    """Walk to and fro."""
    start, (x, y, z) = time.monotonic(), browser.pose["position"]
    while (now := time.monotonic() - start) < seconds:
        browser.send_camera(position=(x + 0.2 * math.sin(now), y, z + 0.05 * math.cos(now)))
        time.sleep(1 / 60)


def full(browser: FakeBrowser, width: int, height: int) -> bool:
    """Whether the full picture is there."""
    return browser.picture().shape[:2] == (height, width)


if __name__ == "__main__":
    main()
