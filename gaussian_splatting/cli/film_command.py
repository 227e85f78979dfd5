"""What `render --path/--video/--pictures` and the `video` command share: their flags, and films of runs and splats."""

from __future__ import annotations

import argparse
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaussian_splatting.cli import commands, number_flags
from gaussian_splatting.cli.scene_flags import fill_from_run
from gaussian_splatting.errors import SplatError

if TYPE_CHECKING:
    from gaussian_splatting.camera import Camera
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.rendering.films import Film, Size
    from gaussian_splatting.rendering.looks import Look

PATH_NAMES = ("orbit", "spiral", "interpolate")
LOOK_NAMES = ("color", "depth", "alpha", "normal")
FILM_SUFFIXES = (".mp4", ".webp")
DEFAULT_SIZE = (1280, 720)


def add_film_flags(parser: argparse.ArgumentParser, *, default_path: str | None = None) -> None:
    """Add the flags of films. Without `default_path` a film is made only when one of them asks for it."""
    group = parser.add_argument_group("films and camera paths")
    shown = f"default {default_path}" if default_path else "default: the views of the scene"
    group.add_argument(
        "--path", default=default_path, metavar="PATH",
        help=f"{', '.join(PATH_NAMES)}, or a .json file: a path of the viewer, or a list of cameras ({shown})",
    )  # fmt: skip
    group.add_argument(
        "--video", "--output", dest="video", metavar="FILE",
        help="the film to write: .mp4 (H.264) or .webp (default: <run>/<path>_<iteration>.mp4)",
    )  # fmt: skip
    group.add_argument("--pictures", metavar="FOLDER", help="write every frame as a PNG into this folder instead")
    group.add_argument(
        "--looks", type=look_names, default=("color",), metavar="LOOK,...",
        help=f"one film each of {', '.join(LOOK_NAMES)} (default color); further ones are called <name>_<look>",
    )  # fmt: skip
    number = number_flags.positive_integer
    group.add_argument("--frames", type=number, help="number of frames (default 120; a file of the viewer: its own)")
    group.add_argument("--fps", type=number, help="frames per second (default 30; a file of the viewer: its own)")


def look_names(text: str) -> tuple[str, ...]:
    """An argparse type: names of looks with commas between them."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in LOOK_NAMES]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'}: use some of {', '.join(LOOK_NAMES)}")
    return names


def asks_for_film(arguments: argparse.Namespace) -> bool:
    """Whether the flags ask for a film instead of the views of the scene beside their photos."""
    wanted = bool(arguments.path or arguments.video or arguments.pictures)
    if not wanted and (arguments.frames or arguments.fps or arguments.looks != ("color",)):
        raise SplatError("--frames, --fps and --looks are for films; give --path, --video or --pictures too")
    if not wanted and Path(arguments.destination).is_file():
        raise SplatError(
            f"{arguments.destination}: a file, and only the folder of a run has views to compare; for a film of a "
            "splat file give --path orbit"
        )
    return wanted


def make_film(arguments: argparse.Namespace) -> None:
    """Write the films, or the pictures, that the flags ask for, and say where they are."""
    from gaussian_splatting.rendering.films import film_names, plan_film, write_films, write_pictures

    if arguments.video and arguments.pictures:
        raise SplatError("--video and --pictures exclude each other; give one")
    if arguments.video and Path(arguments.video).suffix.lower() not in FILM_SUFFIXES:
        raise SplatError(f"{arguments.video}: the name is of no film; use one that ends with .mp4 or .webp")
    if arguments.frames and not arguments.path:
        raise SplatError("--frames is for --path; without it there is one frame for each view of the scene")
    looks: list[Look] = list(arguments.looks)
    size: Size = arguments.resolution
    iteration, output = _target(arguments)
    if arguments.pictures is None:
        outputs = film_names(output, looks)
        taken = [path for path in outputs.values() if path.exists() and not arguments.overwrite]
        if taken:
            raise SplatError(f"{taken[0]}: is there already; give --overwrite to replace it, or another --video")
        with _folder_of(None, arguments):
            gaussians, cameras = load(arguments, iteration)
            film = plan_film(arguments.path, cameras, frames=arguments.frames, fps=arguments.fps, size=size)
            started = time.monotonic()
            written = write_films(gaussians, film, outputs, show_progress=not arguments.quiet)
        _tell(film, started, written)
        return
    with _folder_of(output, arguments) as folder:
        gaussians, cameras = load(arguments, iteration)
        film = plan_film(arguments.path, cameras, frames=arguments.frames, fps=arguments.fps, size=size)
        started = time.monotonic()
        write_pictures(gaussians, film, folder, looks, show_progress=not arguments.quiet)
    _tell(film, started, [output])


def _folder_of(output: Path | None, arguments: argparse.Namespace) -> AbstractContextManager[Any]:
    from gaussian_splatting.rendering.views import replaced_folder

    return nullcontext() if output is None else replaced_folder(output, overwrite=arguments.overwrite)


def _tell(film: Film, started: float, written: list[Path]) -> None:
    seconds, number = max(time.monotonic() - started, 1e-9), len(film.cameras)
    where = ", ".join(map(str, written))
    commands.say(f"{number} frames in {seconds:.1f} s ({number / seconds:.1f} per second): {where}")


def _target(arguments: argparse.Namespace) -> tuple[int | None, Path]:
    """The iteration of the run (None for a splat file), and what will be written."""
    from gaussian_splatting.runs.folder import RunFolder

    named = arguments.video or arguments.pictures
    what = Path(arguments.path).stem if arguments.path else "views"
    source = Path(arguments.destination)
    if source.is_file():
        if arguments.iteration is not None:
            raise SplatError(f"{source}: a splat file has no iterations; leave -i out")
        return None, Path(named) if named else source.with_name(f"{source.name.partition('.')[0]}_{what}.mp4")
    folder = RunFolder(source)
    iteration = folder.resolve(arguments.iteration)
    return iteration, Path(named) if named else folder.path / f"{what}_{iteration}.mp4"


def load(arguments: argparse.Namespace, iteration: int | None) -> tuple[GaussianModel, list[Camera]]:
    """The Gaussians of the run or of the splat file, and the cameras that the film starts from."""
    return _load_splat(arguments) if iteration is None else _load_run(arguments, iteration)


def _load_splat(arguments: argparse.Namespace) -> tuple[GaussianModel, list[Camera]]:
    import torch

    from gaussian_splatting.io.formats import read_splats
    from gaussian_splatting.prepare import prepare_dataset
    from gaussian_splatting.splat_model import home_views, model_from_splats

    file, device = read_splats(arguments.destination), commands.chosen_device(arguments)
    model = model_from_splats(file, device, arguments.backend, antialiased=arguments.antialiased)
    given = arguments.resolution
    width, height = given if isinstance(given, tuple) else DEFAULT_SIZE
    if arguments.source is None and arguments.load_camera is None:
        cameras = [_moved(camera, device) for camera in home_views(file.gaussians, width, height)]
    else:
        dataset = prepare_dataset(
            arguments.source or "", device, load_camera=arguments.load_camera, load_mask=False, load_depth=False,
            resolution=None if isinstance(given, tuple) else given, image_scale=arguments.image_scale,
            split=getattr(arguments, "split", None) or "all", max_pixels=arguments.max_pixels,
        )  # fmt: skip
        cameras = [dataset.geometry(index) for index in range(len(dataset))]
    background = torch.full((3,), 1.0 if arguments.white_background else 0.0, device=device)
    return model, [camera._replace(bg_color=background) for camera in cameras]


def _moved(camera: Camera, device: Any) -> Camera:
    import torch

    tensors = {name: value.to(device) for name, value in camera._asdict().items() if isinstance(value, torch.Tensor)}
    return camera._replace(**tensors)


def _load_run(arguments: argparse.Namespace, iteration: int) -> tuple[GaussianModel, list[Camera]]:
    from gaussian_splatting.render import prepare_rendering
    from gaussian_splatting.runs.folder import RunFolder

    folder = RunFolder(arguments.destination)
    if isinstance(arguments.resolution, tuple):
        arguments.resolution = None  # the cameras as they were trained on; the film has the size
    fill_from_run(arguments, folder.settings(), folder.path)
    split = getattr(arguments, "split", None) or ("test" if arguments.eval and arguments.path is None else "all")
    dataset, gaussians = prepare_rendering(
        arguments.sh_degree,
        arguments.source,
        commands.chosen_device(arguments),
        load_ply=folder.point_cloud(iteration),
        load_camera=arguments.load_camera,
        load_mask=False,
        load_depth=False,
        backend=arguments.backend,
        resolution=arguments.resolution,
        image_scale=arguments.image_scale,
        max_pixels=arguments.max_pixels,
        split=split,
        white_background=arguments.white_background,
        antialiased=arguments.antialiased,
    )
    cameras = [dataset.geometry(index) for index in range(len(dataset))]
    return gaussians, cameras
