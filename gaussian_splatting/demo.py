"""`python -m gaussian_splatting.demo`: train the shipped scene in a few minutes; needs no download and no GPU."""

from __future__ import annotations

import argparse
import sys
import sysconfig
from pathlib import Path

from gaussian_splatting.cli import commands
from gaussian_splatting.cli.number_flags import positive_integer

ITERATIONS = 2_400
MAX_GAUSSIANS = 60_000


def build_parser() -> argparse.ArgumentParser:
    """The parser."""
    parser = argparse.ArgumentParser(prog="python -m gaussian_splatting.demo", description=__doc__, allow_abbrev=False)
    parser.add_argument("-d", "--destination", default="demo_output", help="run folder to write (default demo_output)")
    parser.add_argument("-i", "--iteration", type=positive_integer, default=ITERATIONS, help="training steps")
    parser.add_argument("--overwrite", action="store_true", help="move an earlier demo aside and start anew")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    commands.add_common_flags(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(demo, build_parser(), argv)


def demo(arguments: argparse.Namespace) -> None:
    """Train, render the held-out views, write report and turntable, and say where everything lies."""
    from gaussian_splatting import render, train
    from gaussian_splatting.errors import SplatError
    from gaussian_splatting.report import write_report

    scene, destination = scene_folder(), arguments.destination
    machine = ["--device", arguments.device, "--backend", arguments.backend]
    shared = ["-s", str(scene), "-d", destination, "--eval", *machine]
    extra = [flag for flag in ("overwrite", "quiet") if getattr(arguments, flag)]
    length = ["-i", str(arguments.iteration), "--max_gaussians", str(MAX_GAUSSIANS)]
    training = [*shared, "--mode", "densify", *length, *(f"--{flag}" for flag in extra)]
    for step, argv in ((train.main, training), (render.main, [*shared, "--overwrite"])):
        if step(argv):
            raise SplatError("the demo stopped; the reason stands above")
    turntable = write_turntable(destination, arguments)
    write_report(destination)  # with the turntable
    tell(destination, turntable)


def scene_folder() -> Path:
    """The shipped scene: beside the package in a source checkout, or among the data files of an installation."""
    from gaussian_splatting.errors import SceneError

    places = [Path(__file__).resolve().parents[1] / "assets" / "demo"]
    places.append(Path(sysconfig.get_path("data")) / "share" / "gaussian_splatting" / "demo")
    for place in places:
        if (place / "sparse").is_dir():
            return place
    raise SceneError(f"the demo scene is missing; looked in {', '.join(map(str, places))}; reinstall the package")


def write_turntable(destination: str, arguments: argparse.Namespace) -> Path:
    """A film of one turn around the scene."""
    import torch

    from gaussian_splatting import video
    from gaussian_splatting.prepare import prepare_dataset, prepare_gaussians
    from gaussian_splatting.rendering import camera_paths
    from gaussian_splatting.runs.folder import RunFolder

    folder, device = RunFolder(destination), commands.chosen_device(arguments)
    splat = folder.point_cloud(folder.newest_iteration())
    gaussians = prepare_gaussians(3, scene_folder(), device, load_ply=splat, backend=arguments.backend)
    path = camera_paths.orbit(list(prepare_dataset(scene_folder(), device)), frames=90)
    with torch.no_grad():
        frames = (gaussians(camera)["render"] for camera in path)
        return video.write_video(folder.path / "turntable.mp4", frames, fps=30)


def tell(destination: str, turntable: Path) -> None:
    """Print where everything lies."""
    from gaussian_splatting.runs.folder import RunFolder

    folder = RunFolder(destination)
    splat = folder.point_cloud(folder.newest_iteration())
    for what, path in (("splat", splat), ("report", folder.report), ("turntable", turntable)):
        commands.say(f"{what + ':':<11}{Path(path).resolve()}")


if __name__ == "__main__":
    sys.exit(main())
