"""The flags of the train command."""

from __future__ import annotations

import argparse

from gaussian_splatting.cli import commands, number_flags, option_flags
from gaussian_splatting.cli.scene_flags import ALPHA_HELP, ALPHA_USES, MAX_PIXELS_HELP
from gaussian_splatting.cli.server_flags import add_server_flags

DESCRIPTION = "Train a scene and leave a run folder with splat, cameras, checkpoints, logs and report."


def build_parser() -> argparse.ArgumentParser:
    """The parser with every flag; the options of all trainers are listed, those of other modes are refused by name."""
    table = option_flags.flag_table()
    parser = argparse.ArgumentParser(
        prog="python -m gaussian_splatting.train",
        usage="%(prog)s -s SCENE -d RUN [--mode MODE] [-i STEPS] [flags; --help lists them]",
        description=DESCRIPTION,
        allow_abbrev=False,
    )
    run = parser.add_argument_group("run")
    run.add_argument(
        "-s", "--source", required=True, help="scene: a folder (COLMAP, transforms.json, Blender) or a JSON file"
    )
    run.add_argument("--convert", action="store_true", help="make a scene of -s first when it is photos or a video")
    run.add_argument("-d", "--destination", required=True, help="run folder to write")
    kind = run.add_mutually_exclusive_group()
    kind.add_argument("--mode", default="base", choices=table["modes"], help="what is trained (default base)")
    kind.add_argument(
        "--preset", choices=table["presets"],
        help="a recipe with a length of its own instead: fast (seconds to minutes), default, best (highest quality); "
        "-i and --minutes change the length",
    )  # fmt: skip
    run.add_argument("--trainer", help="a trainer of your own, package.module:Class, instead of --mode's")
    run.add_argument(
        "--with", dest="features", metavar="FEATURE,...", default="",
        help=f"add features to the trainer: {', '.join(table['features'])}",
    )  # fmt: skip
    run.add_argument("--with_scale_reg", action="store_true", help="add scale regularisation, as --with scale_reg")
    length = run.add_mutually_exclusive_group()
    length.add_argument(
        "-i", "--iteration", "--iterations", type=int, default=None,
        help="steps (default 30000); step numbers of all schedules are scaled from a 30000-step run",
    )  # fmt: skip
    length.add_argument(
        "--minutes", type=number_flags.amount_of("minutes", above_zero=True), metavar="M",
        help="train for this time instead: the number of steps, and with it all schedules, follow; what was decided is "
        "in the checkpoints, but another run of the same time takes other steps",
    )  # fmt: skip
    length.add_argument("--epochs", type=int, default=None, help="length in passes over the training views instead")
    run.add_argument(
        "--save_iterations",
        type=number_flags.positive_integer,
        nargs="+",
        default=None,
        help="steps to save at, besides the last",
    )
    run.add_argument(
        "--shard", action="store_true",
        help="with torchrun: share out the Gaussians over the processes, where they are too many for each to hold all",
    )  # fmt: skip
    run.add_argument("--seed", type=int, default=0, help="all randomness follows from it (default 0)")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    run.add_argument("--empty_cache_every_step", action="store_true", help="kept for compatibility; has no effect")
    add_resume_flags(parser)
    add_scene_flags(parser)
    model = parser.add_argument_group("model")
    model.add_argument(
        "--sh_degree", type=number_flags.harmonics_degree, default=3, metavar="0-4",
        help="degree of view dependence (default 3)",
    )  # fmt: skip
    start = model.add_mutually_exclusive_group()
    start.add_argument("-l", "--load_ply", help="go on with the Gaussians of this splat file (all SH degrees at once)")
    start.add_argument(
        "--init", type=init_choice, metavar="HOW",
        help="start at the scene's points (default), at random ones (random:100000), or at depth maps (depth:100000)",
    )  # fmt: skip
    start.add_argument("--init_ply", metavar="FILE", help="start at this point cloud, or at the Gaussians of this file")
    model.add_argument("--max_gaussians", type=number_flags.positive_integer, help="never exceed this many Gaussians")
    add_raster_flags(parser)
    watching = parser.add_argument_group("viewer")
    watching.add_argument("--viewer", action="store_true", help="show the training in the browser; changes no result")
    add_server_flags(watching)
    run.add_argument("--tensorboard", action="store_true", help="log for TensorBoard too; changes no result")
    commands.add_common_flags(parser)
    option_flags.add_option_flags(parser, table)
    return parser


def add_resume_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say when the run is saved, and what happens when its folder holds one already."""
    safety = parser.add_argument_group("checkpoints and resuming")
    safety.add_argument(
        "--resume", default="auto", metavar="auto|never|PATH",
        help="go on with the unfinished run in -d if there is one (auto, the default), refuse it (never), "
        "or go on from this checkpoint file",
    )  # fmt: skip
    safety.add_argument("--overwrite", action="store_true", help="move an existing run aside and start anew")
    safety.add_argument(
        "--checkpoint_seconds", type=number_flags.amount_of("seconds"), default=60.0, metavar="S",
        help="write a checkpoint when the last is this old (default 60; 0: not by time)",
    )  # fmt: skip
    safety.add_argument(
        "--checkpoint_interval", type=number_flags.natural_number, default=0, metavar="N",
        help="write a checkpoint every N steps too (default 0: not by steps)",
    )  # fmt: skip


def init_choice(text: str) -> str:
    """An argparse type: points, random, random:COUNT, depth or depth:COUNT."""
    from gaussian_splatting.dataset.start import parse_init
    from gaussian_splatting.errors import SceneError

    try:
        parse_init(text)
    except SceneError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--init ")) from error
    return text


def add_raster_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the gsplat backend."""
    raster = parser.add_argument_group("gsplat")
    raster.add_argument(
        "--packed", action="store_true", help="less memory where a view shows a small part of the scene; same result"
    )
    raster.add_argument(
        "--sparse_grad", action="store_true",
        help="gradients and steps of the Gaussians in view only: less memory and time in large scenes, another result",
    )  # fmt: skip
    raster.add_argument(
        "--radius_clip", type=number_flags.amount_of("pixels"), default=0.0, metavar="PIXELS",
        help="leave out Gaussians of this radius on the screen, or less, while training (default 0)",
    )  # fmt: skip


def add_scene_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say how a scene is read, shared by train and render."""
    scene = parser.add_argument_group("scene")
    scene.add_argument("--eval", action="store_true", help="hold out every 8th view by sorted name")
    scene.add_argument(
        "-r", "--resolution", type=int, help="1, 2, 4, 8: divide the size; larger: target width in pixels"
    )
    scene.add_argument("--image_scale", type=float, help="multiply the size by this, for example 0.7")
    scene.add_argument("-w", "--white_background", action="store_true", help="white instead of black background")
    scene.add_argument("--antialiased", action="store_true", help="compensate the screen-space blur (Mip-Splatting)")
    scene.add_argument("--no_image_mask", action="store_true", help="do not read image masks")
    scene.add_argument("--alpha", choices=ALPHA_USES, help=ALPHA_HELP)
    scene.add_argument("--max_pixels", type=number_flags.positive_integer, metavar="N", help=MAX_PIXELS_HELP)
    scene.add_argument("--strict", action="store_true", help="refuse a scene of which pictures are missing")
    scene.add_argument("--no_depth_data", action="store_true", help="do not read depth maps")
    scene.add_argument("--load_camera", help="take the cameras from this cameras.json")
