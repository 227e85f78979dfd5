"""Measure rendered views against the photos, and compare runs side by side."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaussian_splatting.cli import commands
from gaussian_splatting.cli.scene_flags import add_scene_flags
from gaussian_splatting.errors import SplatError

if TYPE_CHECKING:
    from gaussian_splatting.rendering.perceptual import Perceptual
    from gaussian_splatting.rendering.quality import ViewQuality
    from gaussian_splatting.runs.folder import RunFolder

_RENDERING_FLAGS = (
    "split", "source", "eval", "resolution", "image_scale", "white_background", "antialiased", "no_image_mask", "alpha",
    "load_camera", "sh_degree", "no_exposure",
)  # fmt: skip
_COLUMNS = (("psnr", "PSNR", "{:.3f}"), ("ssim", "SSIM", "{:.4f}"), ("lpips", "LPIPS", "{:.4f}"))


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    from gaussian_splatting.render import add_render_flags

    parser = argparse.ArgumentParser(
        prog="python -m gaussian_splatting.evaluate", description=__doc__, allow_abbrev=False
    )
    parser.add_argument(
        "-d", "--destination", action="append", required=True, help="a run folder; give -d again to compare runs"
    )
    parser.add_argument("-i", "--iteration", type=int, help="the iteration to measure (default: the newest)")
    parser.add_argument("--split", choices=("train", "test", "all"), help="views to render where none are rendered yet")
    parser.add_argument("--per_view", action="store_true", help="also list every view")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_render_flags(parser)
    add_scene_flags(parser)
    commands.add_common_flags(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the status for the shell."""
    return commands.run_command(evaluate, build_parser(), argv)


def evaluate(arguments: argparse.Namespace) -> None:
    """Everything the command does, as library calls."""
    from gaussian_splatting.runs.folder import RunFolder

    found = [evaluate_run(RunFolder(path), arguments) for path in arguments.destination]
    names = short_names(arguments.destination)
    if arguments.json:
        runs = [{"run": path} | results for path, (results, _) in zip(arguments.destination, found, strict=True)]
        commands.say(json.dumps(runs, indent=2))
        return
    commands.say(table(names, [results for results, _ in found]))
    for note in unlike([results for results, _ in found]):
        commands.say(note)
    if arguments.per_view:
        commands.say()
        commands.say(view_table(names, [views for _, views in found]))


def evaluate_run(folder: RunFolder, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[ViewQuality]]:
    """The results of a run and its views, measured from the pictures on disk; rendered first where there are none.

    `results.json`, `quality.csv` and `per_view.json` are written beside the pictures.
    """
    from gaussian_splatting.rendering.perceptual import find_lpips
    from gaussian_splatting.rendering.views import write_results

    target = rendered_folder(folder, arguments)
    metric, note = find_lpips(arguments.lpips, "cpu")
    views = measure_folder(target, metric)
    if not any(view.psnr is not None for view in views):
        raise SplatError(
            f"{target}: no render has a photo to compare with; expected renders/<name>.png and gt/<name>.png"
        )
    return write_results(target, views, kept_details(target), note), views


def rendered_folder(folder: RunFolder, arguments: argparse.Namespace) -> Path:
    """The folder of rendered views that the flags mean; it is made now if there is none."""
    from gaussian_splatting.render import render_run
    from gaussian_splatting.report import write_report

    rendered = folder.rendered_folders()
    wanted = arguments.iteration
    if wanted in (None, -1):
        wanted = max([*rendered, *folder.iterations()], default=None)
        if wanted is None:
            folder.newest_iteration()  # says what is missing
    if wanted in rendered:
        say_what_is_left_out(rendered[wanted], arguments)
        return rendered[wanted]
    iteration = folder.resolve(wanted)
    commands.log.info("%s: no views of iteration %d are rendered yet; rendering them", folder.path, iteration)
    given = argparse.Namespace(**vars(arguments), overwrite=False, save_depth_pcd=False, no_rescale_depth_gt=False)
    render_run(folder, iteration, given)
    if folder.report.is_file():
        write_report(folder)
    return folder.rendered(iteration)


def say_what_is_left_out(target: Path, arguments: argparse.Namespace) -> None:
    """Name the flags that would have changed the rendering, had the views not been rendered before."""
    given = [name for name in _RENDERING_FLAGS if getattr(arguments, name, None) not in (None, False)]
    if _known(target / "results.json").get("split") == arguments.split and "split" in given:
        given.remove("split")
    if given:
        commands.log.warning(
            "%s: was rendered before and is measured as it is, without %s; to change that: render ... --overwrite",
            target, ", ".join(f"--{name}" for name in given),
        )  # fmt: skip


def measure_folder(target: Path, lpips: Perceptual | None = None) -> list[ViewQuality]:
    """The metrics of every render that has a photo, in the order of their names."""
    from gaussian_splatting.rendering.picture_files import decode_mask, decode_picture
    from gaussian_splatting.rendering.quality import measure

    images = _known(target / "per_view.json")
    found = []
    for render in sorted((target / "renders").glob("*.png")):
        truth, mask = target / "gt" / render.name, target / "gt" / f"{render.stem}_mask.png"
        if render.stem.endswith("_depth") or not truth.is_file():
            continue
        weights = decode_mask(mask) if mask.is_file() else None
        known = images.get(render.stem)
        image = known.get("image") if isinstance(known, dict) else None
        found.append(measure(render.stem, decode_picture(render), decode_picture(truth), weights, lpips, image))
    return found


def kept_details(target: Path) -> dict[str, Any]:
    """What rendering noted in `results.json` and the pictures alone do not tell."""
    names = ("iteration", "split", "rendered_views", "num_gaussians", "white_background", "antialiased", "backend")
    known = _known(target / "results.json")
    details = {name: known[name] for name in names if name in known}
    details.setdefault("iteration", int(target.name.removeprefix("ours_")))
    return details


def table(names: Sequence[str], runs: Sequence[dict[str, Any]]) -> str:
    """The means of every run, one line each; the best of a column is marked with a star."""
    header = ["run", "iteration", "views", *(title for _, title, _ in _COLUMNS), "Gaussians"]
    marks = {key: best(runs, key) for key, _, _ in _COLUMNS}
    lines = []
    for index, (name, results) in enumerate(zip(names, runs, strict=True)):
        metrics = [_cell(results.get(key), form, starred=marks[key] == index) for key, _, form in _COLUMNS]
        views = f"{results['views']} {results.get('split', '')}".strip()
        num = results.get("num_gaussians")
        shown = f"{num:,}" if isinstance(num, int) else "-"
        lines.append([name, str(results["iteration"]), views, *metrics, shown])
    return aligned([header, *lines])


def best(runs: Sequence[dict[str, Any]], key: str) -> int | None:
    """The run with the best mean, when there are several that have one; a low LPIPS is good."""
    values = {index: run[key] for index, run in enumerate(runs) if isinstance(run.get(key), (int, float))}
    if len(values) < 2:
        return None
    return (min if key == "lpips" else max)(values, key=lambda index: values[index])


def unlike(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Why the means of these runs may not be comparable, and why a metric is missing."""
    notes = []
    for key, what in (("views", "numbers of views"), ("split", "splits"), ("resolution", "resolutions")):
        if len({json.dumps(run.get(key)) for run in runs}) > 1:
            notes.append(f"note: these runs have different {what}; their means are not comparable")
    networks = {run["lpips_network"] for run in runs if run.get("lpips") is not None}
    notes += [f"LPIPS: {', '.join(sorted(networks))}, version 0.1"] if networks else []
    return notes + sorted({str(run["lpips_note"]) for run in runs if run.get("lpips_note")})


def view_table(names: Sequence[str], runs: Sequence[Iterable[ViewQuality]]) -> str:
    """PSNR of every view in every run."""
    values = [{view.name: view for view in views} for views in runs]
    every = sorted({name for views in values for name in views})
    rows = [["view", "image", *(f"PSNR {name}" for name in names)]]
    for name in every:
        image = next((views[name].image for views in values if name in views and views[name].image), None)
        cells = [_cell(views[name].psnr if name in views else None, "{:.3f}") for views in values]
        rows.append([name, image or "-", *cells])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as columns; numbers to the right of the first."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def short_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path, or the whole paths where those would not differ."""
    last = [Path(path).resolve().name for path in paths]
    return last if len(set(last)) == len(last) else [str(path) for path in paths]


def _cell(value: Any, form: str, *, starred: bool = False) -> str:
    text = form.format(value) if isinstance(value, (int, float)) else "-"
    return text + ("*" if starred else " ")


def _known(path: Path) -> dict[str, Any]:
    from gaussian_splatting.runs.folder import read_json

    try:
        found = read_json(path)
    except SplatError:
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.exit(main())
