"""The flags that say how a scene is read: given to train, remembered in the run, and taken from there by the rest."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaussian_splatting.cli.number_flags import harmonics_degree, positive_integer
from gaussian_splatting.errors import SplatError

# Flag -> its value where neither the command line nor the run says anything.
REMEMBERED: dict[str, Any] = {
    "source": None,
    "mode": "base",
    "sh_degree": 3,
    "eval": False,
    "resolution": None,
    "image_scale": None,
    "white_background": False,
    "antialiased": False,
    "no_image_mask": False,
    "load_camera": None,
    "alpha": None,
    "max_pixels": None,
}


LARGEST_FILM = 16_384
ALPHA_USES = ("composite", "mask")
ALPHA_HELP = (
    "alpha channels: lay the picture over the background (default for transforms.json), or use them as image mask "
    "(default for COLMAP)"
)
MAX_PIXELS_HELP = "refuse pictures of more pixels before they are decoded (default 134217728)"


def add_scene_flags(parser: argparse.ArgumentParser, *, sizes: bool = False) -> None:
    """Add the flags of a scene. Every default is None, "not given", so that a run's own settings can fill in.

    With `sizes`, the resolution may be a WIDTHxHEIGHT, as a pair of integers.
    """
    group = parser.add_argument_group("scene (each defaults to what the run was trained with)")
    switch = argparse.BooleanOptionalAction
    group.add_argument("-s", "--source", help="scene folder")
    group.add_argument("--eval", action=switch, help="hold out every 8th view by sorted name")
    resolution = "1, 2, 4, 8: divide the size; larger: width in pixels"
    group.add_argument(
        "-r", "--resolution", type=resolution_or_size if sizes else int,
        help=f"{resolution}; films also WIDTHxHEIGHT" if sizes else resolution,
    )  # fmt: skip
    group.add_argument("--image_scale", type=float, help="multiply the size by this, for example 0.7")
    group.add_argument("-w", "--white_background", action=switch, help="white instead of black behind the scene")
    group.add_argument("--antialiased", action=switch, help="compensate the screen-space blur (Mip-Splatting)")
    group.add_argument("--no_image_mask", action="store_true", default=None, help="do not read image masks")
    group.add_argument("--alpha", choices=ALPHA_USES, help=ALPHA_HELP)
    group.add_argument("--max_pixels", type=positive_integer, metavar="N", help=MAX_PIXELS_HELP)
    group.add_argument("--load_camera", help="take the cameras from this cameras.json")
    group.add_argument("--sh_degree", type=harmonics_degree, metavar="0-4", help="degree of view dependence")
    group.add_argument("--mode", help="the mode it was trained with")


def resolution_or_size(text: str) -> int | tuple[int, int]:
    """An argparse type: the number that `-r` takes, or WIDTHxHEIGHT."""
    if "x" not in text.lower():
        return int(text)
    width, height = (int(number) for number in text.lower().split("x"))
    if not (1 <= width <= LARGEST_FILM and 1 <= height <= LARGEST_FILM):
        raise argparse.ArgumentTypeError(f"{text}: each side must be from 1 to {LARGEST_FILM} pixels")
    return width, height


def fill_from_run(arguments: argparse.Namespace, settings: Mapping[str, Any], folder: Path) -> None:
    """Give every scene flag that was not given the value of the run, else the default.

    A size given on the command line replaces both size settings of the run. A run that optimised its cameras is looked
    at through them, but for held-out views, which it did not have. A `cameras.json` has its own sizes and views: size
    and split of the run do not apply to it, those of the command line do. SplatError when nobody knows the source.
    """
    unsized = {name: value for name, value in settings.items() if name not in ("resolution", "image_scale")}
    from_file, unsplit = arguments.load_camera is not None, arguments.eval is None
    if from_file or arguments.resolution is not None or arguments.image_scale is not None:
        settings = unsized
    for name, default in REMEMBERED.items():
        if getattr(arguments, name) is None:
            value = settings.get(name)
            setattr(arguments, name, default if value is None else value)
    if getattr(arguments, "backend", None) == "auto" and str(settings.get("backend", "")).endswith("-2dgs"):
        arguments.backend = "auto-2dgs"  # surfels are looked at as surfels
    split = getattr(arguments, "split", None)
    if from_file and unsplit and split is None:
        arguments.split = "all"
    elif not from_file and _looks_through_trained(arguments, settings, split, folder / "cameras.json"):
        arguments.load_camera, arguments.split = str(folder / "cameras.json"), "all"
        if arguments.resolution == settings.get("resolution") and arguments.image_scale == settings.get("image_scale"):
            arguments.resolution = arguments.image_scale = None
    if arguments.source is None and arguments.load_camera is None:
        raise SplatError(f"{folder}: its settings name no scene; give the scene folder with -s")


def _looks_through_trained(
    arguments: argparse.Namespace, settings: Mapping[str, Any], split: str | None, cameras: Path
) -> bool:
    wanted = split or ("test" if arguments.eval else "all")
    return bool(settings.get("trains_cameras", "camera" in arguments.mode)) and wanted != "test" and cameras.is_file()
