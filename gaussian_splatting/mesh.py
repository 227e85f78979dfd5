"""Make a coloured triangle mesh of a trained run, or of any splat file and the cameras of its scene."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gaussian_splatting.cli import commands, number_flags
from gaussian_splatting.cli.scene_flags import add_scene_flags, fill_from_run
from gaussian_splatting.errors import SplatError

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.io.mesh_files import Mesh

_EXAMPLES = """examples:
  %(prog)s -d out                                   the newest iteration of a run; writes out/mesh_<iteration>.ply
  %(prog)s -d out --output table.glb --depth_max 4  nothing farther than 4 units from a camera
  %(prog)s --splat scene.spz -s data/truck --output truck.ply
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m gaussian_splatting.mesh", description=__doc__, epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-d", "--destination", help="the run folder that train wrote")
    what.add_argument("--splat", metavar="FILE", help="a splat file of any format, together with -s")
    parser.add_argument("-i", "--iteration", type=int, help="the iteration of the run (default: the newest)")
    parser.add_argument("--output", help="the file to write, .ply or .glb (default: <run>/mesh_<iteration>.ply)")
    parser.add_argument(
        "--split", choices=("train", "test", "all"), help="views (default: train with --eval, else all)"
    )
    fusion = parser.add_argument_group("surface, in the units of the scene (defaults are found from the views)")
    length = number_flags.positive_number
    fusion.add_argument("--voxel_size", type=length, help="side of a voxel (default: a pixel at the median depth)")
    fusion.add_argument("--truncation", type=length, help="half the width of the fused band (default: 5 voxels)")
    fusion.add_argument("--depth_max", type=length, help="leave out what is farther from a camera than this")
    fusion.add_argument("--min_views", type=number_flags.positive_integer, default=2,
        help="views that must have seen a point of the surface (default 2)")  # fmt: skip
    fusion.add_argument("--min_piece", type=number_flags.share, default=0.00002, metavar="SHARE",
        help="drop pieces with fewer triangles than this share of the largest piece (default 0.00002)")  # fmt: skip
    fusion.add_argument("--max_faces", type=number_flags.positive_integer, help="simplify to about this many triangles")
    parser.add_argument("--overwrite", action="store_true", help="replace a mesh that is there already")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_scene_flags(parser)
    commands.add_common_flags(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(mesh, build_parser(), argv)


def mesh(arguments: argparse.Namespace) -> None:
    """Everything the command does, as library calls."""
    from gaussian_splatting.io.mesh_files import check_mesh_name, write_mesh
    from gaussian_splatting.open3d_library import open3d_library

    output = _output(arguments)
    check_mesh_name(output)
    if output.exists() and not arguments.overwrite:
        raise SplatError(f"{output}: is there already; give --overwrite to replace it, or another --output")
    open3d_library()  # better refused before anything is rendered
    started = time.monotonic()
    gaussians, cameras = _scene(arguments)
    found = _surface(gaussians, cameras, arguments)
    write_mesh(output, found)
    size, seconds = output.stat().st_size / 1e6, time.monotonic() - started
    commands.say(f"written: {output} ({len(found.vertices)} vertices, {len(found)} triangles, {size:.1f} MB)")
    commands.say(f"{len(cameras)} views in {seconds:.1f} s")


def _output(arguments: argparse.Namespace) -> Path:
    from gaussian_splatting.runs.folder import RunFolder

    if arguments.output is not None:
        return Path(arguments.output)
    if arguments.destination is None:
        raise SplatError("--splat says what to mesh; give --output FILE.ply or FILE.glb too")
    folder = RunFolder(arguments.destination)
    return folder.path / f"mesh_{folder.resolve(arguments.iteration)}.ply"


def _scene(arguments: argparse.Namespace) -> tuple[GaussianModel, list[Camera]]:
    """The Gaussians and the cameras to look at them from; pictures are not needed."""
    from gaussian_splatting.errors import SceneError
    from gaussian_splatting.export import read_input
    from gaussian_splatting.prepare import prepare_dataset
    from gaussian_splatting.runs.folder import RunFolder
    from gaussian_splatting.splat_model import model_from_splats

    if arguments.destination is not None:
        folder = RunFolder(arguments.destination)
        fill_from_run(arguments, folder.settings(), folder.path)
    else:
        fill_from_run(arguments, {}, Path(arguments.splat))
    split = arguments.split or ("train" if arguments.eval else "all")
    device = commands.chosen_device(arguments)
    dataset = prepare_dataset(
        arguments.source, device, load_camera=arguments.load_camera, load_mask=False, load_depth=False,
        resolution=arguments.resolution, image_scale=arguments.image_scale, split=split,
        white_background=arguments.white_background, alpha=arguments.alpha,
    )  # fmt: skip
    if len(dataset) == 0:
        raise SceneError(f"{arguments.source}: no views in the split {split!r}; use --split all")
    splats = read_input(arguments.destination or arguments.splat, arguments.iteration)
    gaussians = model_from_splats(splats, device, arguments.backend, antialiased=arguments.antialiased)
    return gaussians, [dataset.geometry(index) for index in range(len(dataset))]


def _surface(gaussians: GaussianModel, cameras: list[Camera], arguments: argparse.Namespace) -> Mesh:
    from tqdm import tqdm

    from gaussian_splatting import surface_fusion as fusion

    settings = fusion.default_settings(
        gaussians, cameras, voxel_size=arguments.voxel_size, truncation=arguments.truncation,
        depth_max=arguments.depth_max,
    )  # fmt: skip
    commands.say(
        f"voxels of {settings.voxel_size:.4g}, truncated at {settings.truncation:.4g}, depths up to "
        f"{settings.depth_max:.4g}"
    )
    with tqdm(total=len(cameras), desc="fusing", unit="view", disable=arguments.quiet, mininterval=0.5) as bar:
        views = fusion.depth_views(gaussians, cameras, bar.update)
        found = fusion.fuse(views, settings, min_views=min(arguments.min_views, len(cameras)))
    found, num_dropped = fusion.without_fragments(found, arguments.min_piece)
    commands.say(f"{num_dropped} small pieces dropped, {len(found)} triangles left")
    return found if arguments.max_faces is None else fusion.simplified(found, arguments.max_faces)


if __name__ == "__main__":
    sys.exit(main())
