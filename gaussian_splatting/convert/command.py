"""The convert command: its flags, and how it ends."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gaussian_splatting.cli import commands
from gaussian_splatting.cli.number_flags import positive_integer
from gaussian_splatting.convert.options import CAMERA_MODELS, DEVICES, MAPPERS, MATCHERS, ConvertOptions
from gaussian_splatting.convert.pipeline import Conversion
from gaussian_splatting.convert.sources import default_destination
from gaussian_splatting.io.paths import quoted
from gaussian_splatting.runs.progress import say

_DESCRIPTION = (
    "Make a scene of photos or a video: find how the cameras stood, judge the result, and write straight pictures in "
    "images/ and a COLMAP model in sparse/0. A killed conversion goes on with the same command."
)
_EXAMPLES = """examples:
  %(prog)s -s photos -d data/mine                     a folder of photos
  %(prog)s -s walk.mp4 -d data/walk --frames 120      a video, of which 120 frames are taken
  %(prog)s -s photos -d data/mine --mapper global     several hundred photos
then:
  python -m gaussian_splatting.train -s data/mine -d out --mode densify
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m gaussian_splatting.convert", description=_DESCRIPTION, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    defaults = ConvertOptions()
    parser.add_argument("-s", "--source", required=True, help="folder of photos (also in its input/), or a video")
    parser.add_argument(
        "-d", "--destination", help="scene folder to write (default: SOURCE when it has input/, else SOURCE_scene)"
    )
    pictures = parser.add_argument_group("pictures")
    pictures.add_argument("--frames", type=int, metavar="N", help="frames per video (default: 2 per second, 40 to 300)")
    pictures.add_argument(
        "--max_size", type=int, default=defaults.max_size, metavar="PIXELS",
        help=f"longest side of the pictures of the scene (default {defaults.max_size}; 0: as they are)",
    )  # fmt: skip
    pictures.add_argument("--masks", metavar="FOLDER", help="masks by the names of the photos; 255 keeps, 0 hides "
                          "(default: masks/, <photo>_mask.png, or the alpha channel)")  # fmt: skip
    cameras = parser.add_argument_group("cameras")
    cameras.add_argument(
        "--camera_model", default=defaults.camera_model, choices=("auto", *CAMERA_MODELS), metavar="MODEL",
        help="COLMAP camera model (default auto: OPENCV from 30 photos on, else SIMPLE_RADIAL); "
        "OPENCV_FISHEYE for fisheyes",
    )  # fmt: skip
    shared = cameras.add_mutually_exclusive_group()
    shared.add_argument("--single_camera", action="store_true", help="all photos come from one camera and zoom")
    shared.add_argument("--camera_per_photo", action="store_true", help="no two photos share a camera")
    cameras.add_argument("--no_undistort", action="store_true", help="keep pictures and model distorted")
    solving = parser.add_argument_group("reconstruction")
    solving.add_argument("--matcher", choices=MATCHERS, default=defaults.matcher, help="which pairs are compared: all, "
                         "neighbours by name, those that look alike (default auto: by count)")  # fmt: skip
    solving.add_argument("--mapper", choices=MAPPERS, default=defaults.mapper,
                         help="incremental (default), or global: faster for hundreds of photos")  # fmt: skip
    solving.add_argument("--max_features", type=int, default=defaults.max_features, metavar="N",
                         help=f"most features per photo (default {defaults.max_features})")  # fmt: skip
    solving.add_argument("--seed", type=int, default=defaults.seed, help="of the random draws (default 0)")
    solving.add_argument("--device", choices=DEVICES, default="auto", help="where features are found and compared")
    solving.add_argument("--threads", dest="num_threads", type=positive_integer, metavar="N",
                         help="processor threads (default all)")  # fmt: skip
    solving.add_argument("--mapper_threads", type=positive_integer, default=1, metavar="N",
                         help="threads of the mapper (default 1; with more, the bytes differ by run)")  # fmt: skip
    parser.add_argument("--accept", action="store_true", help="write the scene even when its judgement is against it")
    parser.add_argument("--overwrite", action="store_true", help="move a scene that is there aside")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--verbose", action="store_true", help="show what pycolmap says")
    commands.add_common_flags(parser, device=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(convert, build_parser(), argv)


def convert(arguments: argparse.Namespace) -> None:
    """Everything the command does, as library calls."""
    destination = Path(arguments.destination or default_destination(arguments.source))
    options = ConvertOptions(
        camera_model=arguments.camera_model,
        cameras="single" if arguments.single_camera else "photo" if arguments.camera_per_photo else "auto",
        max_size=arguments.max_size,
        frames=arguments.frames,
        matcher=arguments.matcher,
        mapper=arguments.mapper,
        undistort=not arguments.no_undistort,
        max_features=arguments.max_features,
        seed=arguments.seed,
        threads=arguments.num_threads,
        mapper_threads=arguments.mapper_threads,
        device=arguments.device,
        accept=arguments.accept,
    )
    conversion = Conversion(
        Path(arguments.source), destination, options, arguments.masks, overwrite=arguments.overwrite,
        show_progress=not arguments.quiet and not arguments.verbose, verbose=arguments.verbose,
    )  # fmt: skip
    try:
        conversion.run()
    except KeyboardInterrupt:
        say("stopped; run the same command again to go on")
        raise
    say(f"next: python -m gaussian_splatting.train -s {quoted(destination)} -d out --mode densify")
