"""Render a trained run: its views with depth maps and metrics, in `ours_<iteration>`, or a film along a camera path."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gaussian_splatting.cli import commands
from gaussian_splatting.cli.film_command import add_film_flags, asks_for_film, make_film
from gaussian_splatting.cli.scene_flags import add_scene_flags, fill_from_run

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import torch

    from gaussian_splatting.dataset.dataset import CameraDataset
    from gaussian_splatting.dataset.split import Split
    from gaussian_splatting.dataset.view import AlphaUse
    from gaussian_splatting.gaussian_model import GaussianModel
    from gaussian_splatting.rendering.depth_points import build_pcd, build_pcd_rescale
    from gaussian_splatting.rendering.views import rendering
    from gaussian_splatting.runs.folder import RunFolder

__all__ = ["build_pcd", "build_pcd_rescale", "main", "prepare_rendering", "render", "render_run", "rendering"]

_LIBRARY = {"rendering": "views", "build_pcd": "depth_points", "build_pcd_rescale": "depth_points"}


def __getattr__(name: str) -> Any:
    """`rendering`, `build_pcd` and `build_pcd_rescale`, imported when asked for: `--help` must not wait for torch."""
    if name not in _LIBRARY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"gaussian_splatting.rendering.{_LIBRARY[name]}"), name)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m gaussian_splatting.render", description=__doc__, allow_abbrev=False
    )
    parser.add_argument(
        "-d", "--destination", required=True, help="the run folder that train wrote; films: or a splat file"
    )
    parser.add_argument("-i", "--iteration", type=int, help="the iteration to render (default: the newest)")
    add_film_flags(parser)
    add_scene_flags(parser, sizes=True)
    add_render_flags(parser)
    parser.add_argument("--split", choices=("train", "test", "all"), help="views (default: test with --eval, else all)")
    parser.add_argument("--overwrite", action="store_true", help="replace views rendered before, once these are whole")
    parser.add_argument("--save_depth_pcd", action="store_true", help="also write coloured points of every view (.ply)")
    parser.add_argument(
        "--no_rescale_depth_gt", action="store_true", help="with --save_depth_pcd: take depth maps in their own units"
    )
    commands.add_common_flags(parser)
    return parser


def add_render_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that rendering shares with evaluation."""
    parser.add_argument(
        "--lpips", choices=("auto", "alex", "vgg", "none"), default="auto",
        help="LPIPS network; auto: one whose weights are on this machine; alex and vgg may download theirs",
    )  # fmt: skip
    parser.add_argument(
        "--no_exposure", action="store_true",
        help="leave out the exposures that were trained: pictures as if all cameras were exposed alike",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(render, build_parser(), argv)


def render(arguments: argparse.Namespace) -> None:
    """Everything the command does, as library calls."""
    from gaussian_splatting.errors import SplatError
    from gaussian_splatting.runs.folder import RunFolder

    if asks_for_film(arguments):
        return make_film(arguments)
    if isinstance(arguments.resolution, tuple):
        raise SplatError("--resolution WIDTHxHEIGHT is for films (--path, --video); views are compared with photos")
    folder = RunFolder(arguments.destination)
    iteration = folder.resolve(arguments.iteration)
    results, seconds = render_run(folder, iteration, arguments)
    commands.say(spoken(results, seconds))
    commands.say(f"written: {folder.rendered(iteration)}")
    refresh_report(folder)


def refresh_report(folder: RunFolder) -> None:
    """Write the report of a run again when it has one, because its views are new."""
    if folder.report.is_file():
        from gaussian_splatting.report import write_report

        commands.say(f"report: {write_report(folder)}")


def render_run(folder: RunFolder, iteration: int, arguments: argparse.Namespace) -> tuple[dict[str, Any], float]:
    """Render a run as the flags say; the content of its `results.json`, and the seconds it took."""
    from gaussian_splatting.rendering.views import rendering, replaced_folder
    from gaussian_splatting.runs.folder import read_json

    fill_from_run(arguments, folder.settings(), folder.path)
    split = arguments.split or ("test" if arguments.eval else "all")
    with replaced_folder(folder.rendered(iteration), overwrite=arguments.overwrite) as target:
        dataset, gaussians = prepare_rendering(
            arguments.sh_degree,
            arguments.source,
            commands.chosen_device(arguments),
            trainable_camera="camera" in arguments.mode,
            load_ply=folder.point_cloud(iteration),
            load_camera=arguments.load_camera,
            load_mask=not arguments.no_image_mask,
            load_depth=arguments.save_depth_pcd,
            backend=arguments.backend,
            resolution=arguments.resolution,
            image_scale=arguments.image_scale,
            split=split,
            white_background=arguments.white_background,
            alpha=arguments.alpha,
            max_pixels=arguments.max_pixels,
            antialiased=arguments.antialiased,
            use_exposure=not arguments.no_exposure,
        )
        started = time.monotonic()
        rendering(
            dataset, gaussians, target, arguments.save_depth_pcd, not arguments.no_rescale_depth_gt,
            lpips=arguments.lpips, show_progress=not arguments.quiet, details=_details(arguments, iteration, split),
        )  # fmt: skip
        seconds = time.monotonic() - started
    return read_json(folder.rendered(iteration) / "results.json"), seconds


def prepare_rendering(
    sh_degree: int,
    source: str | os.PathLike[str],
    device: str | torch.device,
    trainable_camera: bool = False,
    load_ply: str | Path | None = None,
    load_camera: str | os.PathLike[str] | None = None,
    load_mask: bool = True,
    load_depth: bool = True,
    backend: str = "auto",
    *,
    resolution: int | None = None,
    image_scale: float | None = None,
    split: Split = "all",
    white_background: bool = False,
    alpha: AlphaUse | None = None,
    max_pixels: int | None = None,
    antialiased: bool = False,
    use_exposure: bool = True,
) -> tuple[CameraDataset, GaussianModel]:
    """The cameras to render, with their trained exposures or without, and the Gaussians to render them from."""
    from gaussian_splatting.dataset.trainable import FixedTrainableCameraDataset, TrainableCameraDataset
    from gaussian_splatting.errors import SceneError
    from gaussian_splatting.prepare import prepare_dataset, prepare_gaussians

    dataset = prepare_dataset(
        source, device, trainable_camera, load_camera, load_mask, load_depth,
        resolution=resolution, image_scale=image_scale, split=split, white_background=white_background,
        alpha=alpha, max_pixels=max_pixels,
    )  # fmt: skip
    if isinstance(dataset, (FixedTrainableCameraDataset, TrainableCameraDataset)):
        dataset.use_exposure = use_exposure
    if len(dataset) == 0:
        raise SceneError(f"{source}: no views in the split {split!r}; use --split all")
    gaussians = prepare_gaussians(sh_degree, source, device, trainable_camera, load_ply, backend)
    gaussians.antialiasing = antialiased
    return dataset, gaussians


def spoken(results: dict[str, Any], seconds: float) -> str:
    """The results in one or two lines."""
    rendered = results["rendered_views"]
    lines = [f"{rendered} views in {seconds:.1f} s ({rendered / max(seconds, 1e-9):.1f} per second)"]
    if results["views"]:
        lpips = results["lpips"]
        shown = f"- ({results['lpips_note']})" if lpips is None else f"{lpips:.4f} ({results['lpips_network']})"
        quality = [f"{results['psnr']:.3f} dB" if results["psnr"] is not None else "-"]
        quality += [f"{results['ssim']:.4f}" if results["ssim"] is not None else "-"]
        lines.append(f"{results['split']} views: PSNR {quality[0]}, SSIM {quality[1]}, LPIPS {shown}")
    return "\n".join(lines)


def _details(arguments: argparse.Namespace, iteration: int, split: str) -> dict[str, Any]:
    names = ("white_background", "antialiased", "backend")
    return {"iteration": iteration, "split": split} | {name: getattr(arguments, name) for name in names}


if __name__ == "__main__":
    sys.exit(main())
