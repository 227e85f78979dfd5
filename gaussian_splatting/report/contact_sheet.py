"""Photo, render and error of the rendered views, the worst first."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from gaussian_splatting.errors import FormatError
from gaussian_splatting.rendering.picture_files import Bytes, decode_mask, decode_picture, glow, thumbnail
from gaussian_splatting.report.embed import data_uri, picture
from gaussian_splatting.runs.folder import read_json

MOST_VIEWS = 12
LANDSCAPE_WIDTH, PORTRAIT_WIDTH = 440, 280  # pixels of one thumbnail
LARGEST_ERROR = 0.25  # of full brightness; the top of the colour scale


@dataclass(frozen=True)
class Sample:
    """One rendered view: its files and what is known of its quality."""

    name: str
    render: Path
    truth: Path
    mask: Path
    psnr: float | None = None
    ssim: float | None = None
    image: str | None = None


def samples(folder: Path) -> list[Sample]:
    """The views rendered into a folder, by ascending PSNR; those without one last."""
    details = _per_view(folder)
    found = []
    for render in sorted((folder / "renders").glob("*.png")):
        if render.stem.endswith("_depth"):
            continue
        known = details.get(render.stem, {})
        found.append(
            Sample(
                render.stem,
                render,
                folder / "gt" / render.name,
                folder / "gt" / f"{render.stem}_mask.png",
                *(_number(known.get(key)) for key in ("psnr", "ssim")),
                image=known.get("image") if isinstance(known.get("image"), str) else None,
            )
        )
    return sorted(found, key=lambda sample: (sample.psnr is None, sample.psnr or 0.0))


def contact_sheet(folder: Path) -> str:
    """The HTML of the sheet; nothing when the folder holds no pictures."""
    every = samples(folder)
    shown = chosen(every)
    portrait = bool(shown) and _is_portrait(shown[0].render)
    rows = "".join(_row(sample, PORTRAIT_WIDTH if portrait else LANDSCAPE_WIDTH) for sample in shown)
    if not rows:
        return ""
    some = f" These are {len(shown)} of {len(every)}: the worst, and some from there up to the best."
    layout = "views portrait" if portrait else "views"
    return (
        f"<h2>Views</h2><p>Worst PSNR first.{some if len(every) > len(shown) else ''}</p>"
        f'<div class="{layout}">{_column_names() * (2 if portrait else 1)}{rows}</div>'
    )


def _column_names() -> str:
    ramp = glow(np.linspace(0, 1, 90, dtype=np.float32)[None].repeat(9, 0), 0, 1)
    scale = f'0 <img class="scale" alt="colour scale" src="{data_uri(ramp, lossless=True)}"> {LARGEST_ERROR:.0%}'
    return f'<div class="columns"><span>photo</span><span>render</span><span>error {scale}</span></div>'


def _is_portrait(path: Path) -> bool:
    try:
        height, width = decode_picture(path).shape[:2]
    except FormatError:
        return False
    return height > width


def chosen(every: list[Sample]) -> list[Sample]:
    """At most `MOST_VIEWS`: all, or the worst two thirds of that many, and then evenly up to the best."""
    if len(every) <= MOST_VIEWS:
        return every
    num_worst = MOST_VIEWS * 2 // 3
    rest = np.linspace(num_worst, len(every) - 1, MOST_VIEWS - num_worst + 1).round().astype(int)[1:]
    return every[:num_worst] + [every[index] for index in rest]


def error_picture(render: Bytes, truth: Bytes, mask: np.ndarray | None, width: int) -> Bytes:
    """The absolute error, averaged over channels, as colours on a fixed scale; grey where the mask says invalid."""
    error = np.abs(render.astype(np.float32) - truth).mean(axis=2) / 255
    levels = thumbnail((np.clip(error / LARGEST_ERROR, 0, 1) * 255).round().astype(np.uint8), width)
    colored = glow(levels.astype(np.float32), 0, 255)
    if mask is not None:
        valid = thumbnail((mask * 255).astype(np.uint8), width) > 127
        colored[~valid] = (128, 132, 140)
    return colored


def _row(sample: Sample, width: int) -> str:
    try:
        pictures = _pictures(sample, width)
    except FormatError:
        return ""
    facts = [] if sample.psnr is None else [f"{sample.psnr:.2f} dB"]
    facts += [] if sample.ssim is None else [f"SSIM {sample.ssim:.3f}"]
    name = escape(sample.image or sample.name)
    return (
        f'<div class="card view"><div class="heading"><span><b>{name}</b> &nbsp;view {sample.name}</span>'
        f'<span>{" · ".join(facts)}</span></div><div class="three">{"".join(pictures)}</div></div>'
    )


def _pictures(sample: Sample, width: int) -> list[str]:
    render = decode_picture(sample.render)
    small = picture(thumbnail(render, width), f"render of view {sample.name}")
    if not sample.truth.is_file():
        return ["<span></span>", small]
    truth = decode_picture(sample.truth)
    parts = [picture(thumbnail(truth, width), f"photo of view {sample.name}"), small]
    if truth.shape == render.shape:
        mask = decode_mask(sample.mask) if sample.mask.is_file() else None
        usable = mask if mask is not None and mask.shape == truth.shape[:2] else None
        error = error_picture(render, truth, usable, width)
        parts.append(picture(error, f"error of view {sample.name}"))
    return parts


def _per_view(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        found = read_json(folder / "per_view.json")
    except FormatError:
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, dict)}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
