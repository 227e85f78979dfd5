"""The table and the plot of `compare_recipes.py`: medians over seeds, and ratios to the first recipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from statistics import median
from typing import Any

from gaussian_splatting.report.charts import Axis, axis, short_number

Result = dict[str, Any]
HEADER = (
    "scene", "recipe", "steps", "seeds", "PSNR dB", "spread", "SSIM", "Gaussians", "train s", "of time",
    "processor s", "of it",
)  # fmt: skip
PANEL_WIDTH, PANEL_HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460.0, 300.0, 48.0, 24.0, 34.0, 40.0
COLORS = ("#667085", "#2f6fed", "#d9480f", "#0f9d74", "#9c36b5", "#c2255c", "#5c940d", "#e67700")


def names(results: Sequence[Result], key: str) -> list[str]:
    """The scenes or the recipes in the order in which they were given."""
    return list(dict.fromkeys(result[key] for result in results))


def of_cell(results: Sequence[Result], scene: str, recipe: str) -> list[Result]:
    """The results of all seeds of one recipe on one scene."""
    return [one for one in results if (one["scene"], one["recipe"]) == (scene, recipe)]


def middle(results: Sequence[Result], key: str) -> float:
    """The median of a value; not a number when no result has it."""
    values = [one[key] for one in results if one[key] is not None]
    return median(values) if values else math.nan


def table(results: Sequence[Result]) -> str:
    """A Markdown table with one line per scene and recipe."""
    recipes = names(results, "recipe")
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    for scene in names(results, "scene"):
        reference = of_cell(results, scene, recipes[0])
        for recipe in recipes:
            found = of_cell(results, scene, recipe)
            if found:
                lines.append("| " + " | ".join(row(scene, recipe, found, reference)) + " |")
    return "\n".join(lines)


def row(scene: str, recipe: str, found: Sequence[Result], reference: Sequence[Result]) -> list[str]:
    """The cells of one line; shares compare the seeds that the reference has too."""
    qualities = [one["psnr"] for one in found]
    spread = f"{min(qualities):.2f} to {max(qualities):.2f}" if len(found) > 1 else "-"
    return [
        scene, recipe, f"{middle(found, 'iterations'):.0f}", str(len(found)), f"{median(qualities):.2f}", spread,
        f"{middle(found, 'ssim'):.4f}", f"{middle(found, 'gaussians'):.0f}",
        f"{middle(found, 'seconds'):.1f}", share(found, reference, "seconds"),
        f"{middle(found, 'cpu_seconds'):.1f}", share(found, reference, "cpu_seconds"),
    ]  # fmt: skip


def share(found: Sequence[Result], reference: Sequence[Result], key: str) -> str:
    """The median over seeds of the value as a multiple of the reference's for the same seed."""
    known = {one["seed"]: one[key] for one in reference}
    ratios = [one[key] / known[one["seed"]] for one in found if known.get(one["seed"])]
    return f"{median(ratios):.2f}x" if ratios else "-"


def plot(results: Sequence[Result]) -> str:
    """An SVG with one panel per scene: PSNR over training time, the area of a dot is the number of Gaussians."""
    scenes, recipes = names(results, "scene"), names(results, "recipe")
    columns = min(2, len(scenes))
    rows = math.ceil(len(scenes) / columns)
    panels = []
    for index, scene in enumerate(scenes):
        left, top = index % columns * PANEL_WIDTH, index // columns * PANEL_HEIGHT
        own = [one for one in results if one["scene"] == scene]
        panels.append(f'<g transform="translate({left:g},{top:g})">{panel(scene, own, recipes)}</g>')
    width, height = columns * PANEL_WIDTH, rows * PANEL_HEIGHT
    style = "text{font:12px system-ui,sans-serif;fill:#475467}.title{font-weight:600;fill:#171a21}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}"><style>{style}</style><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(panels)}</svg>\n"
    )


def panel(scene: str, results: Sequence[Result], recipes: Sequence[str]) -> str:
    """One scene: axes, and for each recipe its seeds as faint dots and its median as one with its name."""
    x = log_axis([one["seconds"] for one in results])
    y = padded([one["psnr"] for one in results])
    most = max(one["gaussians"] for one in results)
    parts = [f'<text class="title" x="{LEFT:g}" y="20">{escape(scene)}</text>', grid(x, y)]
    for recipe in recipes:
        found = [one for one in results if one["recipe"] == recipe]
        if not found:
            continue
        color = COLORS[recipes.index(recipe) % len(COLORS)]
        parts += [dot(one["seconds"], one["psnr"], one["gaussians"] / most, x, y, color, 0.25) for one in found]
        centre = middle(found, "seconds"), median(one["psnr"] for one in found)
        size = middle(found, "gaussians") / most
        parts.append(dot(*centre, size, x, y, color, 0.9))
        parts.append(label(recipe, *centre, size, x, y, color))
    return "".join(parts)


def log_axis(values: Sequence[float]) -> Axis:
    """An axis of logarithms with ticks at 1, 2 and 5 times powers of ten."""
    low, high = math.log10(max(min(values), 1e-3) / 1.3), math.log10(max(*values, 2e-3) * 1.3)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [math.log10(factor) + power for power in powers for factor in (1, 2, 5)]
    return Axis(low, high, [tick for tick in ticks if low <= tick <= high])


def padded(values: Sequence[float]) -> Axis:
    """A straight axis with some room above and below."""
    room = max(0.1, (max(values) - min(values)) * 0.15)
    return axis([min(values) - room, max(values) + room], 5)


def place(seconds: float, quality: float, x: Axis, y: Axis) -> tuple[float, float]:
    """Where a result lies in its panel."""
    column = x.place(math.log10(max(seconds, 1e-3)), LEFT, PANEL_WIDTH - RIGHT)
    return column, y.place(quality, PANEL_HEIGHT - BOTTOM, TOP)


def radius(size: float) -> float:
    """The radius of a dot whose area is in proportion to `size` in (0, 1]."""
    return 3 + 7 * math.sqrt(size)


def dot(seconds: float, quality: float, size: float, x: Axis, y: Axis, color: str, opacity: float) -> str:
    """One result."""
    column, line = place(seconds, quality, x, y)
    return f'<circle cx="{column:.1f}" cy="{line:.1f}" r="{radius(size):.1f}" fill="{color}" opacity="{opacity:g}"/>'


def label(name: str, seconds: float, quality: float, size: float, x: Axis, y: Axis, color: str) -> str:
    """The name of a recipe beside its dot, on the side where there is room."""
    column, line = place(seconds, quality, x, y)
    gap, late = radius(size) + 4, column > PANEL_WIDTH * 0.7
    side, anchor = (-gap, "end") if late else (gap, "start")
    return (
        f'<text x="{column + side:.1f}" y="{line + 4:.1f}" text-anchor="{anchor}" style="fill:{color}">'
        f"{escape(name)}</text>"
    )


def grid(x: Axis, y: Axis) -> str:
    """Lines at round PSNRs, ticks at round times, and what the axes are."""
    right, bottom = PANEL_WIDTH - RIGHT, PANEL_HEIGHT - BOTTOM
    parts = []
    for tick in y.ticks:
        line = y.place(tick, bottom, TOP)
        parts.append(f'<line x1="{LEFT:g}" x2="{right:g}" y1="{line:.1f}" y2="{line:.1f}" stroke="#eceff3"/>')
        parts.append(f'<text x="{LEFT - 6:g}" y="{line + 4:.1f}" text-anchor="end">{short_number(tick)}</text>')
    for tick in x.ticks:
        column = x.place(tick, LEFT, right)
        parts.append(
            f'<line x1="{column:.1f}" x2="{column:.1f}" y1="{bottom:g}" y2="{bottom + 4:g}" stroke="#98a2b3"/>'
        )
        parts.append(f'<text x="{column:.1f}" y="{bottom + 17:g}" text-anchor="middle">{short_number(10**tick)}</text>')
    parts.append(f'<line x1="{LEFT:g}" x2="{right:g}" y1="{bottom:g}" y2="{bottom:g}" stroke="#98a2b3"/>')
    parts.append(f'<text x="{right:g}" y="{bottom + 32:g}" text-anchor="end">training time in s</text>')
    parts.append(f'<text x="{right:g}" y="20" text-anchor="end">held-out PSNR in dB</text>')
    return "".join(parts)
