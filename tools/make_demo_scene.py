"""Make the shipped demo scene with our own ray tracer: `python tools/make_demo_scene.py --out assets/demo`.

The same library versions give the same bytes, whatever the number of threads. Other sizes: `--width 800`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the scene; files in it are replaced")
    parser.add_argument(
        "--width", type=int, default=360, help="width of the pictures in pixels; the height is 3/4 of it"
    )
    parser.add_argument("--samples", type=int, default=6, help="sub-pixels along each side of a pixel")
    parser.add_argument("--quality", type=int, default=90, help="JPEG quality")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="views rendered at the same time")
    arguments = parser.parse_args()
    for name, least in (("width", 16), ("samples", 1), ("quality", 1), ("threads", 1)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name} is {getattr(arguments, name)}, expected at least {least}")

    from demo_scene.dataset import make_dataset

    make_dataset(arguments.out, arguments.width, arguments.samples, arguments.quality, arguments.threads, print)


if __name__ == "__main__":
    main()
