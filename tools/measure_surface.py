"""How true the surface of a run on the demo scene is: `tools/measure_surface.py -d out`.

Compares normals and depths of the rendered views with those of the ray tracer that made the scene, at every pixel
centre. Printed are, for all pixels and for those of the table and what stands on it: the mean and the median angle
between the true normal and the blended normal of the surfels, the mean angle of the normal of the rendered depth, and
the mean of |z - z*| / z* of the expected and of the median depth. `--pictures FOLDER` writes the normals to look at,
rendered, from depth and true, side by side (a colour channel is half of one plus the component in camera axes).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from demo_scene.cameras import camera_rig
from demo_scene.render import Geometry, render_geometry
from demo_scene.still_life import packed_scene
from numpy.typing import NDArray

from gaussian_splatting.cli import commands
from gaussian_splatting.errors import SplatError
from gaussian_splatting.io.storage import write_atomically
from gaussian_splatting.runs.folder import RunFolder

if TYPE_CHECKING:
    from gaussian_splatting.dataset.dataset import CameraDataset

DEMO = Path(__file__).resolve().parents[1] / "assets" / "demo"
COLUMNS = ("normal", "normal_median", "normal_of_depth", "depth", "median_depth")
HEADINGS = ("normal, mean", "median", "normal of depth, mean", "depth error", "of median depth")


def build_parser() -> argparse.ArgumentParser:
    """The parser."""
    parser = argparse.ArgumentParser(
        prog="python tools/measure_surface.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-d", "--destination", type=Path, required=True, help="run folder of a 2DGS run")
    parser.add_argument("-i", "--iteration", type=int, help="the iteration to measure (default: the newest)")
    parser.add_argument("-s", "--source", type=Path, default=DEMO, help="the demo scene (default assets/demo)")
    parser.add_argument("--split", choices=("train", "test", "all"), default="test", help="views (default test)")
    parser.add_argument("--backend", default="auto-2dgs", help="a 2DGS backend (default auto-2dgs)")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the normals")
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(run, build_parser(), argv)


def run(arguments: argparse.Namespace) -> None:
    """Everything the command does."""
    from gaussian_splatting.models import SurfelGaussianModel
    from gaussian_splatting.prepare import prepare_dataset

    folder = RunFolder(arguments.destination)
    degree = int(folder.settings().get("sh_degree", 3))
    model = SurfelGaussianModel(degree, arguments.backend)
    model.load_ply(folder.point_cloud(folder.resolve(arguments.iteration)))
    cameras = prepare_dataset(arguments.source, split=arguments.split)
    found = list(measured_views(model, cameras, arguments.pictures))
    commands.say(as_table({"all pixels": [whole for whole, _ in found], "table": [part for _, part in found]}))


def measured_views(
    model: Any, cameras: CameraDataset, pictures: Path | None
) -> Iterable[tuple[dict[str, float], dict[str, float]]]:
    """The figures of each view, over all its pixels and over those of the foreground."""
    import torch

    scene = packed_scene()
    rig = {view.name: view for view in camera_rig(cameras[0].image_width, cameras[0].image_height)}
    for name, camera in zip(cameras.names, cameras, strict=True):
        if name not in rig:
            raise SplatError(f"view {name!r} is none of the demo scene, whose views are called {min(rig)} and so on")
        truth = render_geometry(scene, rig[name])
        with torch.no_grad():
            out = {key: value for key, value in model(camera).items() if torch.is_tensor(value)}
        maps = {key: np.moveaxis(out[key].double().cpu().numpy(), 0, -1) for key in MAPS}
        if pictures is not None:
            rotation = camera.R.double().cpu().numpy()
            write_atomically(pictures / f"{Path(name).stem}.png", side_by_side(maps, truth, rotation))
        foreground = truth.solid != len(scene.solids) - 1
        yield figures(maps, truth, np.ones_like(foreground)), figures(maps, truth, foreground)


MAPS = ("render_normals", "normals_from_depth", "depth", "render_median")


def figures(maps: dict[str, NDArray[Any]], truth: Geometry, chosen: NDArray[np.bool_]) -> dict[str, float]:
    """Angles in degrees and relative depth errors over the `chosen` pixels [H, W]."""
    rendered = angle(maps["render_normals"], truth.normal)[chosen]
    inner = np.zeros_like(chosen)  # the normal of the depth has no border
    inner[1:-1, 1:-1] = chosen[1:-1, 1:-1]
    depth, median = (np.abs(maps[key][..., 0] / truth.depth - 1)[chosen].mean() for key in ("depth", "render_median"))
    return {
        "normal": float(rendered.mean()),
        "normal_median": float(np.median(rendered)),
        "normal_of_depth": float(angle(maps["normals_from_depth"], truth.normal)[inner].mean()),
        "depth": float(depth),
        "median_depth": float(median),
    }


def angle(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Degrees [H, W] between two maps of vectors [H, W, 3]; 90 where one of them is zero."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    cosine = np.divide((first * second).sum(-1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def side_by_side(maps: dict[str, NDArray[Any]], truth: Geometry, rotation: NDArray[Any]) -> bytes:
    """Rendered normals, those of the depth and the true ones as one PNG."""
    from gaussian_splatting.rendering.picture_files import encode_picture

    strips = [maps["render_normals"], maps["normals_from_depth"], truth.normal]
    values = np.concatenate(strips, axis=1) @ rotation.T  # x right, y down, z forward
    return encode_picture(np.rint(255 * np.clip(0.5 - 0.5 * values, 0, 1)).astype(np.uint8), "png")


def as_table(parts: dict[str, list[dict[str, float]]]) -> str:
    """The means over the views, in Markdown."""
    lines = [f"| pixels | {' | '.join(HEADINGS)} |", "|---" * (1 + len(HEADINGS)) + "|"]
    for title, views in parts.items():
        means = [float(np.mean([view[key] for view in views])) for key in COLUMNS]
        shown = [f"{value:.1f}°" for value in means[:3]] + [f"{100 * value:.2f} %" for value in means[3:]]
        lines.append(f"| {title} | {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
