"""Look at a trained run or at a splat file in the browser."""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Sequence

from gaussian_splatting.cli import commands
from gaussian_splatting.cli.number_flags import amount_of, positive_integer
from gaussian_splatting.cli.server_flags import add_server_flags, free_port, require_viser, warn_about_host
from gaussian_splatting.errors import SplatError


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m gaussian_splatting.viewer", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("splat", nargs="?", metavar="FILE", help="a splat file of any format, or a run folder")
    parser.add_argument("-d", "--destination", metavar="RUN", help="the run folder that train wrote, or a splat file")
    parser.add_argument("-i", "--iteration", type=int, help="the iteration to begin with (default: the newest)")
    parser.add_argument("--load_camera", metavar="FILE", help="cameras to jump to, from this cameras.json")
    parser.add_argument("--largest", type=positive_integer, default=1920, metavar="PIXELS",
        help="longer side of the picture at most (default 1920)")  # fmt: skip
    add_server_flags(parser.add_argument_group("server"))
    parser.add_argument("--open", action="store_true", help="open the page in the browser of this machine")
    parser.add_argument("--stop_after", type=amount_of("seconds", above_zero=True), metavar="SECONDS",
        help="end by itself after so many seconds")  # fmt: skip
    commands.add_common_flags(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(view, build_parser(), argv)


def view(arguments: argparse.Namespace) -> None:
    """Everything the command does, as library calls."""
    if (arguments.splat is None) == (arguments.destination is None):
        raise SplatError("give a run folder with -d, or a splat file")
    require_viser()
    free_port(arguments.host, arguments.port)
    from gaussian_splatting.viewer.scenes import RunScene, open_scene
    from gaussian_splatting.viewer.server import Viewer

    path = arguments.destination if arguments.splat is None else arguments.splat
    scene = open_scene(path, commands.chosen_device(arguments), arguments.backend, arguments.load_camera)
    if arguments.iteration is not None:
        if not isinstance(scene, RunScene):
            raise SplatError(f"{path}: a splat file has no iterations; leave -i out")
        scene.first = arguments.iteration
        scene.model(arguments.iteration)
    warn_about_host(arguments.host)
    with Viewer(scene, host=arguments.host, port=arguments.port, largest=arguments.largest) as viewer:
        commands.say(f"{scene.name}: {len(scene.model(None))} Gaussians, {len(scene.viewpoints())} cameras")
        commands.say(f"viewer: {viewer.url} (Ctrl-C ends it)")
        if arguments.open:
            webbrowser.open(viewer.url)
        viewer.wait(arguments.stop_after)
