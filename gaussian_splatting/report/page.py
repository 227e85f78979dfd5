"""The report of a run as one HTML file: figures, curves, views, the scene from above, settings."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import Any

from gaussian_splatting.io import storage
from gaussian_splatting.io.paths import quoted
from gaussian_splatting.report import facts
from gaussian_splatting.report.charts import Series, line_chart
from gaussian_splatting.report.contact_sheet import contact_sheet
from gaussian_splatting.report.embed import picture_file, table
from gaussian_splatting.report.films import progress_film, turntable
from gaussian_splatting.report.splats import splat_sections
from gaussian_splatting.report.style import STYLE
from gaussian_splatting.report.top_view import legend, top_view
from gaussian_splatting.runs.folder import RunFolder

MOST_PROGRESS = 6
PROGRESS_WIDTH = 320  # pixels

_SETTINGS = {
    "source": "scene",
    "mode": "mode",
    "trainer": "trainer",
    "iterations": "steps planned",
    "seed": "seed",
    "sh_degree": "SH degree",
    "resolution": "resolution",
    "image_scale": "image scale",
    "eval": "views held out",
    "white_background": "white background",
    "antialiased": "antialiased",
    "backend": "backend",
    "device": "device",
}
_MACHINE = {
    "processor": "processor",
    "threads": "threads",
    "memory_gb": "memory, GB",
    "gpu": "graphics card",
    "system": "system",
}


def write_report(run_folder: RunFolder | str | os.PathLike[str]) -> Path:
    """Write `report.html` from whatever a run folder holds, and give its path. Missing parts are left out."""
    folder = run_folder if isinstance(run_folder, RunFolder) else RunFolder(run_folder)
    storage.write_text(folder.report, page(folder))
    return folder.report


def page(folder: RunFolder) -> str:
    """The whole HTML text. It asks for nothing from the network; only the viewer in its frame runs scripts."""
    settings = facts.settings(folder)
    title = Path(str(settings.get("source") or folder.path.resolve())).name or "run"
    parts = (
        _header(title, folder, settings),
        _figures(folder, settings),
        _progress(folder),
        _curves(folder),
        splat_sections(folder),
        _views(folder),
        _scene(folder),
        _details(folder, settings),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}: training report</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _header(title: str, folder: RunFolder, settings: dict[str, Any]) -> str:
    about = [str(settings["trainer"])] if settings.get("trainer") else []
    about += [facts.backend(settings)] if settings.get("backend") else []
    machine = settings.get("machine")
    if isinstance(machine, dict) and machine.get("processor"):
        about.append(f"{machine.get('gpu') or machine['processor']}, {machine.get('threads')} threads")
    line = " · ".join(dict.fromkeys(about))
    return f"<header><h1>{escape(title)}</h1><p>{escape(line)}</p></header>"


def _figures(folder: RunFolder, settings: dict[str, Any]) -> str:
    metrics, timing = folder.read_metrics(), folder.read_timing()
    cards = _quality_figures(folder, metrics)
    count = facts.column(metrics, "num_gaussians")
    if count:
        cards.append(_figure(f"{count[-1][1]:,.0f}", "Gaussians"))
    if metrics:
        planned, last = settings.get("iterations"), metrics[-1]["step"]
        cards.append(_figure(f"{last:,}", "steps" if planned in (None, last) else f"steps of {planned:,}"))
    seconds = facts.elapsed(timing)
    if seconds:
        value, _, unit = facts.duration(seconds).partition(" ")
        cards.append(_figure(value, "training time", unit))
    if folder.iterations():
        size = facts.file_size(folder.point_cloud(folder.newest_iteration()))
        if size is not None:
            value, _, unit = size.partition(" ")
            cards.append(_figure(value, "splat file", unit))
    if not cards:
        return f'<div class="card note">This folder holds no logs and no splat yet: {escape(str(folder.path))}</div>'
    return f'<div class="figures">{"".join(cards)}</div>'


def _quality_figures(folder: RunFolder, metrics: list[dict[str, Any]]) -> list[str]:
    """What was measured on whole views when there is that, else the last training steps, named as such."""
    found = facts.results(folder)
    if found is not None and isinstance(found[2].get("psnr"), (int, float)):
        values = found[2]
        views = f"{values.get('split', 'rendered')} views"
        cards = [_figure(f"{values['psnr']:.2f}", f"PSNR, {values.get('views')} {views}", "dB")]
        if isinstance(values.get("ssim"), (int, float)):
            cards.append(_figure(f"{values['ssim']:.4f}", f"SSIM, {views}"))
        if isinstance(values.get("lpips"), (int, float)):
            cards.append(_figure(f"{values['lpips']:.4f}", f"LPIPS ({values.get('lpips_network')})"))
        return cards
    held_out = facts.column(folder.read_evaluations(), "psnr")
    if held_out:
        return [_figure(f"{held_out[-1][1]:.2f}", "PSNR, held-out views", "dB")]
    recent = [value for _, value in facts.column(metrics, "psnr")][-20:]
    return [_figure(f"{sum(recent) / len(recent):.2f}", "PSNR, last training views", "dB")] if recent else []


def _figure(value: str, name: str, unit: str = "") -> str:
    small = f" <small>{escape(unit)}</small>" if unit else ""
    return f'<div class="card figure"><b>{escape(value)}{small}</b><span>{escape(name)}</span></div>'


def _progress(folder: RunFolder) -> str:
    every = list(folder.progress_pictures().items())
    turning = turntable(folder)
    if not every:
        return f'<h2>Turntable</h2><div class="pair films">{turning}</div>' if turning else ""
    count = min(MOST_PROGRESS, len(every))
    shown = [every[round(index * (len(every) - 1) / max(1, count - 1))] for index in range(count)]
    figures = "".join(
        f"<figure>{picture_file(path, f'step {step}', PROGRESS_WIDTH)}<figcaption>step {step:,}</figcaption></figure>"
        for step, path in shown
    )
    films = [film for film in (progress_film([path for _, path in every]), turning) if film]
    moving = f'<div class="pair films">{"".join(f"<div>{film}</div>" for film in films)}</div>' if films else ""
    return f'<h2>Progress</h2><p>One view while training.</p><div class="strip">{figures}</div>{moving}'


def _curves(folder: RunFolder) -> str:
    metrics, timing = folder.read_metrics(), folder.read_timing()
    if not metrics and not timing:
        return ""
    held_out = facts.column(folder.read_evaluations(), "psnr")
    quality = [Series("training views", facts.column(metrics, "psnr"))]
    if held_out:
        quality.append(Series("held-out views", held_out, "second", dots=True))
    speed = Series("steps per second", facts.rates(timing), "third")
    cards = (
        _chart(
            "PSNR",
            line_chart(quality, lambda value: f"{value:.1f} dB"),
            [("first", "training view"), ("second", "held-out views")][: len(quality)],
        ),
        _chart("Loss", line_chart([Series("loss", facts.column(metrics, "loss"))], from_zero=True)),
        _chart("Gaussians", line_chart([Series("Gaussians", facts.column(metrics, "num_gaussians"))])),
        _chart("Steps per second", line_chart([speed], from_zero=True)),
    )
    about = "Lines are means of neighbouring steps, the band is their spread; the horizontal axis counts steps."
    return f'<h2>Training</h2><p>{about}</p><div class="pair">{"".join(cards)}</div>'


def _chart(title: str, svg: str, names: list[tuple[str, str]] | None = None) -> str:
    marks = legend(names) if names and len(names) > 1 else ""
    return f'<div class="card"><div class="heading"><h3>{title}</h3>{marks}</div>{svg}</div>'


def _views(folder: RunFolder) -> str:
    found = facts.results(folder)
    sheet = contact_sheet(found[1]) if found is not None else ""
    if sheet:
        return sheet
    command = f"python -m gaussian_splatting.render -d {quoted(folder.path)}"
    return (
        '<h2>Views</h2><div class="card note">No rendered views yet. '
        f"<code>{escape(command)}</code> renders and measures them, and writes this report again.</div>"
    )


def _scene(folder: RunFolder) -> str:
    iterations, found = folder.iterations(), facts.results(folder)
    splat = folder.point_cloud(iterations[-1]) if iterations else None
    tested = found[1] / "cameras.json" if found is not None else None
    svg = top_view(folder.cameras, splat, tested)
    if not svg:
        return ""
    names = [("first", "training cameras")] + [("second", "other rendered cameras")] * ("frustum second" in svg)
    return (
        "<h2>Scene from above</h2><p>Gaussians and cameras along the up direction of the cameras.</p>"
        f'<div class="card" style="padding: 14px">{svg}{legend(names)}</div>'
    )


def _details(folder: RunFolder, settings: dict[str, Any]) -> str:
    machine, versions = settings.get("machine"), settings.get("versions")
    cards = [("Settings", facts.rows(settings, _SETTINGS))]
    if isinstance(machine, dict):
        cards.append(("Machine", facts.rows(machine, _MACHINE)))
    if isinstance(versions, dict):
        cards.append(("Versions", [(str(name), facts.shown(value)) for name, value in versions.items()]))
    blocks = "".join(f'<div class="card"><h3>{name}</h3>{table(rows)}</div>' for name, rows in cards if rows)
    options = settings.get("options")
    folded = ""
    if isinstance(options, dict) and options:
        lines = [(str(name), facts.shown(value)) for name, value in sorted(options.items())]
        folded = f'<details class="card"><summary>All {len(lines)} options</summary>{table(lines)}</details>'
    if not blocks and not folded:
        return _files(folder)
    return f'<h2>Details</h2><div class="pair">{blocks}</div>{folded}{_files(folder)}'


def _files(folder: RunFolder) -> str:
    """Links to the files of the run, relative to the report."""
    splats = [folder.point_cloud(iteration) for iteration in folder.iterations()]
    others = [folder.cameras, folder.settings_file, folder.metrics, folder.timing, folder.evaluations]
    rendered = [path / name for path in folder.rendered_folders().values() for name in ("results.json", "quality.csv")]
    lines = []
    for path in [*splats, *rendered, *others]:
        size = facts.file_size(path)
        if size is not None:
            name = path.relative_to(folder.path).as_posix()
            lines.append(f'<tr><td><a href="{escape(name)}">{escape(name)}</a></td><td>{size}</td></tr>')
    return (
        f'<h2>Files</h2><div class="card" style="padding: 8px 18px"><table>{"".join(lines)}</table></div>'
        if lines
        else ""
    )
